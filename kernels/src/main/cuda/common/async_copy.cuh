/* async_copy.cuh - copies from global to shared memory that need no registers and do not wait.
 * copy_async of each piece, copy_commit closes a group, copy_wait<N> waits until at most the N latest
 * groups of this thread are under way; a barrier then shows the bytes to the other threads.
 * Arch sm_80+; emulator yes (the destination holds 0xFF until the wait).
 */
#ifndef GATUN_COMMON_ASYNC_COPY_CUH_
#define GATUN_COMMON_ASYNC_COPY_CUH_

#include "common/portable.cuh"

#ifdef GATUN_EMULATED

template <int BYTES>
__device__ __forceinline__ void copy_async(void* shared, const void* global, bool valid,
                                           GATUN_EMU_SITE) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async moves 4, 8 or 16 bytes");
  gatun_emu_cp_async_zfill(shared, global, BYTES, valid ? BYTES : 0, file, line);
}
__device__ __forceinline__ void copy_commit() { gatun_emu_cp_commit(); }
template <int N>
__device__ __forceinline__ void copy_wait() {
  gatun_emu_cp_wait(N);
}

#else

/* BYTES from global to shared, both so aligned; zeros where !valid, then global is not read and may
 * point anywhere. 16 bytes pass by L1. */
template <int BYTES>
__device__ __forceinline__ void copy_async(void* shared, const void* global, bool valid) {
  static_assert(BYTES == 4 || BYTES == 8 || BYTES == 16, "cp.async moves 4, 8 or 16 bytes");
  const unsigned to = (unsigned)__cvta_generic_to_shared(shared);
  const int source = valid ? BYTES : 0;
  if constexpr (BYTES == 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to), "l"(global), "r"(source)
                 : "memory");
  } else {
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(to), "l"(global), "n"(BYTES),
                 "r"(source)
                 : "memory");
  }
}
__device__ __forceinline__ void copy_commit() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
template <int N>
__device__ __forceinline__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

#endif
#endif
