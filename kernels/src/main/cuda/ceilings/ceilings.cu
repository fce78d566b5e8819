/* ceilings.cu - what a machine can do at most: copies, launches, barriers over a grid and over a cluster.
 * copy: y = x. tick: count += 1. grid_rounds, cluster_rounds: in each round a block writes one more than
 * its right neighbour had, then all wait; after R rounds each has R, and what the R-th to its right began with. Only for measuring, but each has a
 * result that tells whether it was done. Arch sm_80+, clusters sm_90+; emulator yes.
 */
#include "common/cluster.cuh"
#include "common/grid.cuh"
#include "common/types.cuh"
#include "common/window.cuh"

#define THREADS 256

/* x, y [elements] f32, 16-byte aligned */
extern "C" __global__ void __launch_bounds__(THREADS)
    copy_f32(const float* RESTRICT x, float* RESTRICT y, long long elements) {
  for_elements<4>(elements, [&](long long at, int n) {
    Chunk<float> v;
    v.load(x + at, n);
    v.store(y + at, n);
  });
}
KERNEL(copy_f32, THREADS)

/* One thread. */
extern "C" __global__ void __launch_bounds__(1) tick(unsigned* count) { *count += 1u; }
KERNEL(tick, 1)

/* values [2][blocks] u32, zero before; barrier [1] u32, zero; cooperative */
extern "C" __global__ void __launch_bounds__(THREADS)
    grid_rounds(unsigned* values, unsigned* barrier, int rounds) {
  const unsigned blocks = gridDim.x;
  for (int r = 0; r < rounds; ++r) {
    if (threadIdx.x == 0) {
      const unsigned neighbour = (blockIdx.x + 1) % blocks;
      values[(r + 1) % 2 * blocks + blockIdx.x] = ld_acquire(values + r % 2 * blocks + neighbour) + 1u;
    }
    grid_sync(barrier);
  }
}
KERNEL(grid_rounds, THREADS)

/* out [blocks] u32; in clusters, in which each block begins with its number */
extern "C" __global__ void __launch_bounds__(THREADS) cluster_rounds(unsigned* out, int rounds) {
  SHARED(unsigned, box, [2]);
  if (threadIdx.x == 0) box[0] = cluster_rank();
  cluster_sync();
  unsigned* const neighbour = cluster_map(box, (cluster_rank() + 1) % cluster_size());
  for (int r = 0; r < rounds; ++r) {
    if (threadIdx.x == 0) box[(r + 1) % 2] = neighbour[r % 2] + 1u;
    cluster_sync();
  }
  if (threadIdx.x == 0) out[blockIdx.x] = box[rounds % 2];
}
KERNEL(cluster_rounds, THREADS)
