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

/* Standard normal number `index` of a stream, by Box and Muller. */
__device__ __forceinline__ double normal(unsigned long long seed, unsigned stream, unsigned subsequence,
                                         long long index) {
  const unsigned long long block = (unsigned long long)index / 2;
  const uint4 words = philox(
      seed, make_uint4((unsigned)block, (unsigned)(block >> 32), subsequence, stream));
  const bool odd = (index & 1) != 0;
  const double u = ((odd ? words.z : words.x) >> 8) + 1u;
  const double v = (odd ? words.w : words.y) >> 8;
  return sqrt(-2.0 * log(u * 0x1p-24)) * cos(6.283185307179586 * (v * 0x1p-24));
}

/* What a subsequence is named by: a whole number below 2^31. */
__device__ __forceinline__ bool is_step(double number) {
  return number >= 0 && number <= 2147483647.0 && number == floor(number);
}

#endif
