/* reduce.cuh - sums over a warp and over a block, always over the same tree.
 * The order of the additions depends on the thread's number alone: same bits every run.
 */
#ifndef GATUN_COMMON_REDUCE_CUH_
#define GATUN_COMMON_REDUCE_CUH_

#include "common/portable.cuh"

/* The sum over the 32 lanes, in every lane. T is float or double. */
template <class T>
__device__ __forceinline__ T warp_sum(T v) {
#pragma unroll
  for (int lanes = WARP_SIZE / 2; lanes > 0; lanes /= 2) v += __shfl_xor_sync(FULL_WARP, v, lanes);
  return v;
}

/* The largest of the 32 lanes' values, in every lane. */
template <class T>
__device__ __forceinline__ T warp_max(T v) {
#pragma unroll
  for (int lanes = WARP_SIZE / 2; lanes > 0; lanes /= 2) {
    const T other = __shfl_xor_sync(FULL_WARP, v, lanes);
    v = other > v ? other : v;
  }
  return v;
}

/* The sum over a block of WARPS full warps, in every thread. partial [WARPS] is shared memory, free
 * again when the next barrier of the caller is passed by all. */
template <int WARPS, class T>
__device__ __forceinline__ T block_sum(T v, T* partial) {
  static_assert(WARPS >= 1 && WARPS <= WARP_SIZE, "one lane reads each warp's sum");
  const int lane = threadIdx.x % WARP_SIZE;
  const int warp = threadIdx.x / WARP_SIZE;
  v = warp_sum(v);
  if (lane == 0) partial[warp] = v;
  __syncthreads();
  v = lane < WARPS ? partial[lane] : (T)0;
  return warp_sum(v);
}

#endif
