/* clusters.cu - the kernels' cluster, grid and acquire headers under test, with bugs to plant by
 * number. */
#include "common/cluster.cuh"
#include "common/grid.cuh"
#include "common/portable.cuh"

#define TEST_KERNEL(name) extern "C" __global__ void name

/* where [blocks][2]: rank and size, blocks numbered x fastest. */
TEST_KERNEL(cluster_places)(unsigned* where) {
  const unsigned b = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  where[2 * b] = cluster_rank();
  where[2 * b + 1] = cluster_size();
}
KERNEL(cluster_places, 0)

/* Each block gets the next one's tile, reversed: y [blocks][64]. */
TEST_KERNEL(cluster_rotate)(const float* x, float* y, int plant) {
  SHARED(float, one, [3]);
  SHARED(float, tile, [64]);
  const int t = threadIdx.x, b = blockIdx.x;
  one[0] = 1.0f;
  tile[t] = x[b * 64 + t];
  if (plant == 2) {
    __syncthreads();
  } else if (plant != 1) {
    cluster_sync();
  }
  const float* next = cluster_map(tile, (cluster_rank() + 1) % cluster_size());
  y[b * 64 + t] = next[63 - t] * one[0];
  if (plant != 3) cluster_sync();
}
KERNEL(cluster_rotate, 64)

/* Pushes into the next block's dynamic shared memory; y as above. */
TEST_KERNEL(cluster_push)(const float* x, float* y, int plant) {
  EXTERN_SHARED(float, inbox);
  const int t = threadIdx.x, b = blockIdx.x;
  if (plant != 1) cluster_sync();
  cluster_map(inbox, (cluster_rank() + 1) % cluster_size())[t] = x[b * 64 + t];
  if (plant == 2) {
    __syncthreads();
  } else {
    cluster_sync();
  }
  y[b * 64 + t] = inbox[t];
}
KERNEL(cluster_push, 64)

/* y [1]: the sum of x, added by all blocks to a word of the first one's shared memory, in two halves of
 * a barrier. */
TEST_KERNEL(cluster_total)(const int* x, int* y, int* other) {
  SHARED(int, sum, [1]);
  if (threadIdx.x == 0) sum[0] = 0;
  cluster_arrive();
  const int mine = x[blockIdx.x * blockDim.x + threadIdx.x];
  other[blockIdx.x * blockDim.x + threadIdx.x] = mine;
  cluster_wait();
  atomicAdd(cluster_map(&sum[0], 0), mine);
  cluster_arrive();
  cluster_wait();
  if (cluster_rank() == 0 && threadIdx.x == 0) y[0] = sum[0];
}
KERNEL(cluster_total, 0)

TEST_KERNEL(cluster_wrong)(float* x, int how) {
  SHARED(float, tile, [32]);
  const int t = threadIdx.x;
  tile[t % 32] = 1.0f;
  switch (how) {
    case 0: x[t] = *cluster_map(&tile[t % 32], 2); break;
    case 1: x[t] = *cluster_map(&x[0], 0); break;
    case 2: cluster_arrive(); cluster_arrive(); break;
    case 3: cluster_wait(); break;
    case 4:
      if (t < 16) {
        cluster_sync();
      } else {
        cluster_sync();
      }
      break;
    case 5:
      if (cluster_rank() == 0 && t == 3) {
        __syncthreads();
      } else {
        cluster_sync();
      }
      break;
    case 6: {
      float* other = cluster_map(&tile[0], (cluster_rank() + 1) % 2);
      cluster_sync();
      if (cluster_rank() == 1) x[t] = other[40];
      cluster_sync();
      break;
    }
    case 7: {  // an address that was taken while the block lived
      float* other = cluster_map(&tile[0], 0);
      cluster_sync();
      if (cluster_rank() == 0) return;
      cluster_sync();
      x[t] = other[0];
      break;
    }
    case 8:  // one thread of the other block ends without arriving: it counts as arrived
      if (cluster_rank() == 1 && t == 5) return;
      cluster_sync();
      x[t] = 8.0f;
      break;
  }
}
KERNEL(cluster_wrong, 64)

/* x [n] rotated by one a round. */
TEST_KERNEL(grid_header_rotate)(int* x, unsigned* barrier, int rounds, int plant) {
  const int n = gridDim.x * blockDim.x;
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  for (int r = 0; r < rounds; ++r) {
    const int v = x[(i + 1) % n];
    if (plant != 1) grid_sync(barrier);
    x[i] = v;
    if (plant != 2) grid_sync(barrier);
  }
}
KERNEL(grid_header_rotate, 256)

/* x [2 * blocks]: the block that mirrors each one in its cluster, then what its successor wrote. */
TEST_KERNEL(grid_of_clusters)(int* x, unsigned* barrier) {
  SHARED(int, word, [1]);
  if (threadIdx.x == 0) word[0] = int(blockIdx.x);
  cluster_sync();
  const int other = *cluster_map(&word[0], cluster_size() - 1 - cluster_rank());
  cluster_sync();
  if (threadIdx.x == 0) x[blockIdx.x] = other;
  grid_sync(barrier);
  if (threadIdx.x == 0) x[gridDim.x + blockIdx.x] = x[(blockIdx.x + 1) % gridDim.x];
}
KERNEL(grid_of_clusters, 0)

/* Whole warps and blocks that spin together, on a word that one block sets. */
TEST_KERNEL(spin_together)(unsigned* word, float* y, int whole, unsigned setter) {
  if (blockIdx.x == setter) {
    if (threadIdx.x == 0) st_release(word, 1u);
  } else if (whole) {
    while (!__syncthreads_or(int(ld_acquire(word)))) {
    }
  } else {
    while (!__any_sync(FULL_WARP, int(ld_acquire(word)))) {
    }
  }
  y[blockIdx.x * blockDim.x + threadIdx.x] = 1.0f;
}
KERNEL(spin_together, 0)

/* Block b waits for block b + 1 of a cooperative launch, so last in, first out and first in, first out
 * both spin. words [blocks + 1], the last one set by the host. */
TEST_KERNEL(pass_on)(unsigned* words, float* data, int plant) {
  if (threadIdx.x != 0) return;
  const unsigned b = blockIdx.x;
  if (plant == 0) {
    while (ld_acquire(&words[b + 1]) == 0) {
    }
  }
  data[b] = data[b + 1] + 1.0f;
  if (b % 2 == 0) {
    st_release(&words[b], 1u);
  } else {
    atomic_add_release(&words[b], 1u);
  }
}
KERNEL(pass_on, 0)
