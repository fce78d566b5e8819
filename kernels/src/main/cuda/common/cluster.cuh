/* cluster.cuh - thread-block clusters and their distributed shared memory.
 * Blocks of a cluster run at the same time and reach each other's shared memory. Not before a
 * cluster_sync has shown that all have begun, and only while the other block has not ended: end with
 * another one. Without a cluster launch each block is a cluster of one.
 * Arch sm_90+; code for older ones takes each block for a cluster of one. Emulator yes.
 */
#ifndef GATUN_COMMON_CLUSTER_CUH_
#define GATUN_COMMON_CLUSTER_CUH_

#include "common/portable.cuh"

#ifdef GATUN_EMULATED

__device__ __forceinline__ unsigned cluster_rank() { return gatun_emu_cluster_rank(); }
__device__ __forceinline__ unsigned cluster_size() { return gatun_emu_cluster_size(); }
__device__ __forceinline__ void cluster_arrive(GATUN_EMU_SITE) {
  gatun_emu_cluster_arrive(file, line);
}
__device__ __forceinline__ void cluster_wait(GATUN_EMU_SITE) { gatun_emu_cluster_wait(file, line); }
__device__ __forceinline__ void cluster_sync(GATUN_EMU_SITE) {
  gatun_emu_cluster_arrive(file, line);
  gatun_emu_cluster_wait(file, line);
}
template <class T>
__device__ __forceinline__ T* cluster_map(T* shared, unsigned rank, GATUN_EMU_SITE) {
  return static_cast<T*>(gatun_emu_cluster_map(shared, rank, file, line));
}

#else

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
#define GATUN_HAS_CLUSTERS 1
#else
#define GATUN_HAS_CLUSTERS 0
#endif

/* This block's number in its cluster, x fastest. */
__device__ __forceinline__ unsigned cluster_rank() {
#if GATUN_HAS_CLUSTERS
  unsigned v;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(v));
  return v;
#else
  return 0;
#endif
}

__device__ __forceinline__ unsigned cluster_size() {
#if GATUN_HAS_CLUSTERS
  unsigned v;
  asm("mov.u32 %0, %%cluster_nctarank;" : "=r"(v));
  return v;
#else
  return 1;
#endif
}

/* A barrier of the cluster in two halves: what was written before the arrival is seen by all after
 * their wait. Every thread of every block, the lanes of a warp together, each half once a turn. */
__device__ __forceinline__ void cluster_arrive() {
#if GATUN_HAS_CLUSTERS
  asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
#endif
}
__device__ __forceinline__ void cluster_wait() {
#if GATUN_HAS_CLUSTERS
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#else
  __syncthreads();
#endif
}
__device__ __forceinline__ void cluster_sync() {
  cluster_arrive();
  cluster_wait();
}

/* Where the block of that rank keeps what this block keeps at shared. */
template <class T>
__device__ __forceinline__ T* cluster_map(T* shared, unsigned rank) {
#if GATUN_HAS_CLUSTERS
  unsigned long long at;
  asm("mapa.u64 %0, %1, %2;" : "=l"(at) : "l"((unsigned long long)shared), "r"(rank));
  return reinterpret_cast<T*>(at);
#else
  (void)rank;
  return shared;
#endif
}

#endif
#endif
