/* grid.cuh - a barrier over all blocks of a cooperative launch.
 * One zeroed word of global memory carries it, any number of times: each block adds 1, the first block
 * what takes the sum to 2^31, so that the top bit turns once all have come and the rest is 0 again
 * (the scheme of cooperative groups). Arch sm_80+; emulator yes, with the same atomics.
 */
#ifndef GATUN_COMMON_GRID_CUH_
#define GATUN_COMMON_GRID_CUH_

#include "common/acquire.cuh"
#include "common/portable.cuh"

/* Every thread of every block; barrier is the same word for all. */
__device__ __forceinline__ void grid_sync(unsigned* barrier) {
#ifdef GATUN_EMULATED
  gatun_emu_require_cooperative();
#endif
  const unsigned turned = 0x80000000u;
  __syncthreads();
  if (threadIdx.x == 0 && threadIdx.y == 0 && threadIdx.z == 0) {
    const unsigned blocks = gridDim.x * gridDim.y * gridDim.z;
    const bool first = blockIdx.x == 0 && blockIdx.y == 0 && blockIdx.z == 0;
    const unsigned before = atomic_add_release(barrier, first ? turned - (blocks - 1) : 1u);
    while (((ld_acquire(barrier) ^ before) & turned) == 0) {
    }
  }
  __syncthreads();
}

#endif
