/* acquire.cuh - words in global memory that other blocks wait for.
 * What a thread wrote before it releases a word is seen by whoever acquires that word. Spin on nothing
 * but ld_acquire: a plain load may be read once for all, and on the emulator lets nobody else run.
 * Arch sm_80+; emulator yes.
 */
#ifndef GATUN_COMMON_ACQUIRE_CUH_
#define GATUN_COMMON_ACQUIRE_CUH_

#include "common/portable.cuh"

__device__ __forceinline__ unsigned ld_acquire(const unsigned* word) {
#ifdef GATUN_EMULATED
  return gatun_emu_load_acquire(word);
#else
  unsigned v;
  asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(v) : "l"(word) : "memory");
  return v;
#endif
}

__device__ __forceinline__ void st_release(unsigned* word, unsigned v) {
#ifdef GATUN_EMULATED
  gatun_emu_store_release(word, v);
#else
  asm volatile("st.release.gpu.u32 [%0], %1;" ::"l"(word), "r"(v) : "memory");
#endif
}

/* The word before the addition. */
__device__ __forceinline__ unsigned atomic_add_release(unsigned* word, unsigned v) {
#ifdef GATUN_EMULATED
  return atomicAdd(word, v);
#else
  unsigned before;
  asm volatile("atom.add.release.gpu.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(word), "r"(v)
               : "memory");
  return before;
#endif
}

#endif
