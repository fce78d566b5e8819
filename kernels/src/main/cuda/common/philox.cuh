/* philox.cuh - Philox4x32-10: a counter turned into 128 random bits under a key.
 * Salmon et al. 2011, Parallel Random Numbers: As Easy as 1, 2, 3, section 3.3. The same words as the
 * engine's other devices draw for the same seed and counter.
 */
#ifndef GATUN_COMMON_PHILOX_CUH_
#define GATUN_COMMON_PHILOX_CUH_

#include "common/portable.cuh"

__device__ __forceinline__ uint4 philox(unsigned long long seed, uint4 c) {
  unsigned k0 = (unsigned)seed;
  unsigned k1 = (unsigned)(seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const unsigned high0 = __umulhi(0xD2511F53u, c.x);
    const unsigned high1 = __umulhi(0xCD9E8D57u, c.z);
    const unsigned low0 = 0xD2511F53u * c.x;
    const unsigned low1 = 0xCD9E8D57u * c.z;
    c = make_uint4(high1 ^ c.y ^ k0, low1, high0 ^ c.w ^ k1, low0);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return c;
}

__device__ __forceinline__ unsigned word_of(uint4 words, int i) {
  return i == 0 ? words.x : i == 1 ? words.y : i == 2 ? words.z : words.w;
}

/* Uniform in [0,1), a multiple of 2^-24. */
__device__ __forceinline__ float uniform_of(unsigned word) { return (float)(word >> 8) * 0x1p-24f; }

#endif
