/* types.cuh - bf16, and 16 bytes of elements at a time.
 * bf16 is the upper half of an f32; it is stored, never computed with. No toolkit header is needed.
 */
#ifndef GATUN_COMMON_TYPES_CUH_
#define GATUN_COMMON_TYPES_CUH_

#include "common/portable.cuh"

struct bf16 {
  unsigned short bits;
};

typedef unsigned char u8;

__device__ __forceinline__ float to_float(float v) { return v; }
__device__ __forceinline__ float to_float(bf16 v) {
  return __uint_as_float((unsigned)v.bits << 16);
}

/* Rounds to the nearest, ties to even; a NaN stays one. */
__device__ __forceinline__ bf16 to_bf16(float v) {
  bf16 r;
#ifdef GATUN_EMULATED
  const unsigned u = __float_as_uint(v);
  r.bits = (u & 0x7fffffffu) > 0x7f800000u ? 0x7fffu
                                            : (unsigned short)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
#else
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(r.bits) : "f"(v));
#endif
  return r;
}

/* Two at once, as a register of a product holds them: the first in the lower half. */
__device__ __forceinline__ unsigned to_bf16x2(float low, float high) {
#ifdef GATUN_EMULATED
  return (unsigned)to_bf16(high).bits << 16 | to_bf16(low).bits;
#else
  unsigned r;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(r) : "f"(high), "f"(low));
  return r;
#endif
}

template <class T>
struct Convert;
template <>
struct Convert<float> {
  static __device__ __forceinline__ float from(float v) { return v; }
};
template <>
struct Convert<bf16> {
  static __device__ __forceinline__ bf16 from(float v) { return to_bf16(v); }
};

/* Whether 16 bytes may be read or written there at once. */
__device__ __forceinline__ bool aligned(const void* p) { return ((unsigned long long)p & 15u) == 0; }

/* Neighbouring elements that one thread works on: 16 bytes of T, 4 f32 or 8 bf16; fewer at an end. They
 * may be read from and written to another type. */
template <class T>
struct Chunk {
  static constexpr int N = 16 / sizeof(T);
  float v[N];

  /* As many elements of G as are moved at once. */
  template <class G>
  struct __align__(16 / sizeof(G) < N ? 16 : N * sizeof(G)) Part {
    static constexpr int M = 16 / sizeof(G) < N ? 16 / sizeof(G) : N;
    G v[M];
  };

  /* n of N elements from p on; zeros for the rest. */
  template <class G>
  __device__ __forceinline__ void load(const G* p, int n) {
    if (n == N && aligned(p)) {
#pragma unroll
      for (int at = 0; at < N; at += Part<G>::M) {
        const Part<G> part = *reinterpret_cast<const Part<G>*>(p + at);
#pragma unroll
        for (int i = 0; i < Part<G>::M; ++i) v[at + i] = to_float(part.v[i]);
      }
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i) v[i] = i < n ? to_float(p[i]) : 0.0f;
    }
  }

  template <class G>
  __device__ __forceinline__ void store(G* p, int n) const {
    if (n == N && aligned(p)) {
#pragma unroll
      for (int at = 0; at < N; at += Part<G>::M) {
        Part<G> part;
#pragma unroll
        for (int i = 0; i < Part<G>::M; ++i) part.v[i] = Convert<G>::from(v[at + i]);
        *reinterpret_cast<Part<G>*>(p + at) = part;
      }
    } else {
#pragma unroll
      for (int i = 0; i < N; ++i) {
        if (i < n) p[i] = Convert<G>::from(v[i]);
      }
    }
  }
};

#endif
