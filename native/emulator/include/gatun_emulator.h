/* gatun_emulator.h - CUDA C++ for g++: what a .cu file needs to run on the host emulator.
 * Included by common/portable.cuh under -DGATUN_EMULATED. Every __global__ thread is a fibre; what
 * blocks (barriers, shuffles) goes through the table that libcuda.so.1 hands over at module load.
 * One kernel runs at a time, so the running thread is a plain global and shared arrays are looked up
 * by their place in the source.
 */
#ifndef GATUN_EMULATOR_H_
#define GATUN_EMULATOR_H_

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "gatun_emulator_abi.h"

/* ---- vector types ---- */

#define GATUN_EMU_VECTORS_2_4(T, N)                                              \
  struct alignas(2 * sizeof(T)) N##2 { T x, y; };                                \
  struct alignas(4 * sizeof(T) > 16 ? 16 : 4 * sizeof(T)) N##4 { T x, y, z, w; }; \
  inline N##2 make_##N##2(T x, T y) { return {x, y}; }                           \
  inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
#define GATUN_EMU_VECTORS(T, N)  \
  GATUN_EMU_VECTORS_2_4(T, N)    \
  struct N##3 { T x, y, z; };    \
  inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }
GATUN_EMU_VECTORS_2_4(unsigned, uint)
inline uint3 make_uint3(unsigned x, unsigned y, unsigned z) { return {x, y, z}; }
GATUN_EMU_VECTORS(float, float)
GATUN_EMU_VECTORS(double, double)
GATUN_EMU_VECTORS(int, int)
GATUN_EMU_VECTORS(short, short)
GATUN_EMU_VECTORS(unsigned short, ushort)
GATUN_EMU_VECTORS(signed char, char)
GATUN_EMU_VECTORS(unsigned char, uchar)
GATUN_EMU_VECTORS(long long, longlong)
#undef GATUN_EMU_VECTORS_2_4
#undef GATUN_EMU_VECTORS

/* ---- registration ---- */

#define GATUN_EMU_HIDDEN __attribute__((visibility("hidden")))
GATUN_EMU_HIDDEN inline GatunEmuThread* gatun_emu_self = nullptr;
GATUN_EMU_HIDDEN inline const GatunEmuRuntime* gatun_emu_rt = nullptr;
GATUN_EMU_HIDDEN inline const GatunEmuKernel* gatun_emu_kernels = nullptr;

extern "C" __attribute__((visibility("default"), used)) inline const GatunEmuModule*
gatun_emu_module(const GatunEmuRuntime* runtime) {
  static GatunEmuModule module;
  gatun_emu_rt = runtime;
  module = {GATUN_EMU_ABI, gatun_emu_kernels, &gatun_emu_self};
  return &module;
}

template <class Signature>
struct GatunEmuSignature;
template <class... A>
struct GatunEmuSignature<void (*)(A...)> {
  static constexpr unsigned count = sizeof...(A);
  static constexpr unsigned sizes[count + 1] = {unsigned(sizeof(A))..., 0u};
  static constexpr unsigned aligns[count + 1] = {unsigned(alignof(A))..., 0u};
  template <auto Fn, size_t... I>
  static void call(void* const* arguments, std::index_sequence<I...>) {
    (void)arguments;
    Fn(*static_cast<A*>(arguments[I])...);
  }
  template <auto Fn>
  static void thunk(void* const* arguments) {
    call<Fn>(arguments, std::index_sequence_for<A...>{});
  }
};

template <auto Fn>
struct GatunEmuRegister {
  GatunEmuKernel kernel;
  GatunEmuRegister(const char* name, unsigned maxThreads) {
    using S = GatunEmuSignature<decltype(Fn)>;
    kernel = {name, &S::template thunk<Fn>, S::sizes, S::aligns, S::count, maxThreads,
              gatun_emu_kernels};
    gatun_emu_kernels = &kernel;
  }
};

/* KERNEL(name, maxThreads), after the kernel: its name, parameter sizes and a thunk for the launcher. */
#define KERNEL(fn, maxThreads) static GatunEmuRegister<&fn> gatun_emu_register_##fn(#fn, maxThreads);

/* ---- qualifiers and built-in variables ---- */

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __grid_constant__
#define __cluster_dims__(...)
#define __align__(n) alignas(n)

#define threadIdx (gatun_emu_self->threadIdx)
#define blockIdx (gatun_emu_self->block->blockIdx)
#define blockDim (gatun_emu_self->block->blockDim)
#define gridDim (gatun_emu_self->block->gridDim)
constexpr int warpSize = 32;

/* SHARED(T, name, [N][M]); a static slot names the array, the runtime owns its memory: 0xFF bytes
 * at the start of each block, a guard page at each end. */
#define SHARED(T, name, dims)                                                                  \
  static const char gatun_emu_slot_##name = 0;                                                 \
  T(&name) dims = *static_cast<T(*) dims>(                                                     \
      gatun_emu_rt->sharedArray(&gatun_emu_slot_##name, #name, sizeof(T dims), alignof(T)))
#define EXTERN_SHARED(T, name) T* name = static_cast<T*>(gatun_emu_rt->dynamicShared(nullptr))

#define GATUN_EMU_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

/* ---- barriers, votes, shuffles ---- */

inline void __syncthreads(GATUN_EMU_SITE) {
  gatun_emu_rt->blockBarrier(GATUN_EMU_SYNC, 0, "__syncthreads", file, line);
}
inline int __syncthreads_count(int p, GATUN_EMU_SITE) {
  return gatun_emu_rt->blockBarrier(GATUN_EMU_COUNT, p, "__syncthreads_count", file, line);
}
inline int __syncthreads_and(int p, GATUN_EMU_SITE) {
  return gatun_emu_rt->blockBarrier(GATUN_EMU_AND, p, "__syncthreads_and", file, line);
}
inline int __syncthreads_or(int p, GATUN_EMU_SITE) {
  return gatun_emu_rt->blockBarrier(GATUN_EMU_OR, p, "__syncthreads_or", file, line);
}
inline void gatun_emu_grid_sync(GATUN_EMU_SITE) { gatun_emu_rt->gridBarrier(file, line); }
inline void __syncwarp(unsigned mask = 0xffffffffu, GATUN_EMU_SITE) {
  gatun_emu_rt->warpOp(GATUN_EMU_WARP_SYNC, mask, 0, 0, "__syncwarp", file, line);
}
inline unsigned __ballot_sync(unsigned mask, int p, GATUN_EMU_SITE) {
  return unsigned(
      gatun_emu_rt->warpOp(GATUN_EMU_WARP_BALLOT, mask, p != 0, 0, "__ballot_sync", file, line));
}
inline int __any_sync(unsigned mask, int p, GATUN_EMU_SITE) {
  return gatun_emu_rt->warpOp(GATUN_EMU_WARP_BALLOT, mask, p != 0, 0, "__any_sync", file, line) != 0;
}
inline int __all_sync(unsigned mask, int p, GATUN_EMU_SITE) {
  return gatun_emu_rt->warpOp(GATUN_EMU_WARP_BALLOT, mask, p == 0, 0, "__all_sync", file, line) == 0;
}
inline unsigned __activemask() { return gatun_emu_rt->activeMask(); }

template <class T>
inline T gatun_emu_shuffle(unsigned mask, T value, int source, const char* what, const char* file,
                           int line) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8, "shuffles move up to 8 bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  bits = gatun_emu_rt->warpOp(GATUN_EMU_WARP_SHUFFLE, mask, bits, source, what, file, line);
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}
template <class T>
inline T __shfl_sync(unsigned mask, T v, int source, int width = 32, GATUN_EMU_SITE) {
  int lane = int(gatun_emu_self->lane);
  return gatun_emu_shuffle(mask, v, (lane & ~(width - 1)) | (source & (width - 1)), "__shfl_sync",
                           file, line);
}
template <class T>
inline T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32, GATUN_EMU_SITE) {
  int lane = int(gatun_emu_self->lane);
  int from = (lane & (width - 1)) >= int(delta) ? lane - int(delta) : lane;
  return gatun_emu_shuffle(mask, v, from, "__shfl_up_sync", file, line);
}
template <class T>
inline T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32, GATUN_EMU_SITE) {
  int lane = int(gatun_emu_self->lane);
  int from = (lane & (width - 1)) + int(delta) < width ? lane + int(delta) : lane;
  return gatun_emu_shuffle(mask, v, from, "__shfl_down_sync", file, line);
}
template <class T>
inline T __shfl_xor_sync(unsigned mask, T v, int lanes, int width = 32, GATUN_EMU_SITE) {
  int lane = int(gatun_emu_self->lane);
  int from = lane ^ lanes;
  if (from > (lane | (width - 1))) from = lane;
  return gatun_emu_shuffle(mask, v, from, "__shfl_xor_sync", file, line);
}

/* ---- memory ---- */

inline void __threadfence() { asm volatile("" ::: "memory"); }
inline void __threadfence_block() { asm volatile("" ::: "memory"); }
inline void __threadfence_system() { asm volatile("" ::: "memory"); }
inline void __nanosleep(unsigned) { gatun_emu_rt->yield(); }
template <class T>
inline T __ldg(const T* p) {
  return *p;
}
template <class T>
inline T __ldcs(const T* p) {
  return *p;
}
template <class T>
inline void __stcs(T* p, T v) {
  *p = v;
}

/* cp.async: the bytes arrive at the wait, until then the destination holds 0xFF. */
inline void gatun_emu_cp_async(void* to, const void* from, unsigned bytes, GATUN_EMU_SITE) {
  gatun_emu_rt->copyAsync(to, from, bytes, bytes, file, line);
}
inline void gatun_emu_cp_async_zfill(void* to, const void* from, unsigned bytes, unsigned source,
                                     GATUN_EMU_SITE) {
  gatun_emu_rt->copyAsync(to, from, bytes, source, file, line);
}
inline void gatun_emu_cp_commit() { gatun_emu_rt->copyCommit(); }
inline void gatun_emu_cp_wait(unsigned groupsLeft) { gatun_emu_rt->copyWait(groupsLeft); }

/* A loop over an atomic is a spin-wait: let the others run now and then. */
inline void gatun_emu_spin() {
  if (++gatun_emu_self->spins >= 256) gatun_emu_rt->yield();
}
template <class T, class U, class F>
inline T gatun_emu_atomic(T* p, U v, F f) {
  gatun_emu_spin();
  volatile T* q = p;
  T old = *q;
  *q = f(old, T(v));
  return old;
}
template <class T, class U>
inline T atomicAdd(T* p, U v) {
  return gatun_emu_atomic(p, v, [](T a, T b) { return T(a + b); });
}
template <class T, class U>
inline T atomicSub(T* p, U v) {
  return gatun_emu_atomic(p, v, [](T a, T b) { return T(a - b); });
}
template <class T, class U>
inline T atomicMax(T* p, U v) {
  return gatun_emu_atomic(p, v, [](T a, T b) { return a < b ? b : a; });
}
template <class T, class U>
inline T atomicMin(T* p, U v) {
  return gatun_emu_atomic(p, v, [](T a, T b) { return b < a ? b : a; });
}
template <class T, class U>
inline T atomicOr(T* p, U v) {
  return gatun_emu_atomic(p, v, [](T a, T b) { return T(a | b); });
}
template <class T, class U>
inline T atomicAnd(T* p, U v) {
  return gatun_emu_atomic(p, v, [](T a, T b) { return T(a & b); });
}
template <class T, class U>
inline T atomicXor(T* p, U v) {
  return gatun_emu_atomic(p, v, [](T a, T b) { return T(a ^ b); });
}
template <class T, class U>
inline T atomicExch(T* p, U v) {
  return gatun_emu_atomic(p, v, [](T, T b) { return b; });
}
template <class T, class U, class V>
inline T atomicCAS(T* p, U expected, V v) {
  return gatun_emu_atomic(p, v, [expected](T a, T b) { return a == T(expected) ? b : a; });
}

/* Loads and stores that other threads wait for. A load in a loop is a spin-wait: every second one
 * lets the others run. */
template <class T>
inline T gatun_emu_load_acquire(const T* p) {
  if ((gatun_emu_self->spins += 128) >= 256) gatun_emu_rt->yield();
  T v = *static_cast<const volatile T*>(p);
  asm volatile("" ::: "memory");
  return v;
}
template <class T>
inline void gatun_emu_store_release(T* p, T v) {
  asm volatile("" ::: "memory");
  *static_cast<volatile T*>(p) = v;
}

/* ---- whole warps: mma and ldmatrix ---- */

struct GatunEmuMma {
  float* d;
  const unsigned* a;
  const unsigned* b;
};

/* d += a b for a tile of 16 x 8, k = 16: products of bf16 are exact in f32; the sum starts with d and
 * takes k in rising order, each addition rounded to nearest. Fragments as the PTX ISA's figures for
 * mma.m16n8k16 place them: g = lane / 4, t = lane % 4. */
inline void gatun_emu_mma_16_8_16(void* const* lanes) {
  typedef float Half __attribute__((vector_size(16)));
  union alignas(16) {
    float at[16][8];
    Half half[16][2];
  } b, d;
  alignas(16) float a[16][16];
  for (int lane = 0; lane < 32; ++lane) {
    const GatunEmuMma& own = *static_cast<const GatunEmuMma*>(lanes[lane]);
    const int g = lane / 4, t = lane % 4;
    for (int r = 0; r < 4; ++r) {
      float* to = &a[g + r % 2 * 8][2 * t + r / 2 * 8];
      const unsigned low = own.a[r] << 16, high = own.a[r] & 0xffff0000u;
      std::memcpy(to, &low, 4);
      std::memcpy(to + 1, &high, 4);
    }
    for (int r = 0; r < 2; ++r) {
      const unsigned low = own.b[r] << 16, high = own.b[r] & 0xffff0000u;
      std::memcpy(&b.at[2 * t + r * 8][g], &low, 4);
      std::memcpy(&b.at[2 * t + r * 8 + 1][g], &high, 4);
    }
    std::memcpy(&d.at[g][2 * t], own.d, 8);
    std::memcpy(&d.at[g + 8][2 * t], own.d + 2, 8);
  }
  for (int i = 0; i < 16; ++i) {
    Half left = d.half[i][0], right = d.half[i][1];
    for (int k = 0; k < 16; ++k) {
      left += a[i][k] * b.half[k][0];
      right += a[i][k] * b.half[k][1];
    }
    d.half[i][0] = left;
    d.half[i][1] = right;
  }
  for (int lane = 0; lane < 32; ++lane) {
    const GatunEmuMma& own = *static_cast<const GatunEmuMma*>(lanes[lane]);
    std::memcpy(own.d, &d.at[lane / 4][lane % 4 * 2], 8);
    std::memcpy(own.d + 2, &d.at[lane / 4 + 8][lane % 4 * 2], 8);
  }
}
inline void gatun_emu_mma_m16n8k16_bf16(float* d, const unsigned* a, const unsigned* b,
                                        GATUN_EMU_SITE) {
  GatunEmuMma own{d, a, b};
  gatun_emu_rt->warpCollective(&own, gatun_emu_mma_16_8_16, "mma.m16n8k16", file, line);
}

struct GatunEmuLdmatrix {
  unsigned* to;
  const unsigned char* row;
};

/* Matrix m is the 8 rows of 16 bytes that lanes 8m to 8m+7 name; register m of a lane gets elements
 * 2t and 2t+1 of row g, transposed column g of rows 2t and 2t+1. */
template <int COUNT, bool TRANSPOSED>
inline void gatun_emu_ldmatrix_run(void* const* lanes) {
  const GatunEmuLdmatrix* own[32];
  for (int lane = 0; lane < 32; ++lane) own[lane] = static_cast<const GatunEmuLdmatrix*>(lanes[lane]);
  for (int m = 0; m < COUNT; ++m) {
    for (int lane = 0; lane < 32; ++lane) {
      const int g = lane / 4, t = lane % 4;
      if (TRANSPOSED) {
        std::memcpy(&own[lane]->to[m], own[8 * m + 2 * t]->row + 2 * g, 2);
        std::memcpy(reinterpret_cast<char*>(&own[lane]->to[m]) + 2,
                    own[8 * m + 2 * t + 1]->row + 2 * g, 2);
      } else {
        std::memcpy(&own[lane]->to[m], own[8 * m + g]->row + 4 * t, 4);
      }
    }
  }
}
template <int COUNT, bool TRANSPOSED>
inline void gatun_emu_ldmatrix(unsigned* to, const void* row, GATUN_EMU_SITE) {
  static_assert(COUNT == 1 || COUNT == 2 || COUNT == 4, "ldmatrix loads 1, 2 or 4 matrices");
  const char* what = TRANSPOSED ? "ldmatrix.trans" : "ldmatrix";
  if (gatun_emu_self->lane < 8 * COUNT) gatun_emu_rt->requireShared(row, 16, 16, what, file, line);
  GatunEmuLdmatrix own{to, static_cast<const unsigned char*>(row)};
  gatun_emu_rt->warpCollective(&own, gatun_emu_ldmatrix_run<COUNT, TRANSPOSED>, what, file, line);
}

/* ---- clusters ---- */

inline unsigned gatun_emu_cluster_rank() { return gatun_emu_self->block->clusterRank; }
inline unsigned gatun_emu_cluster_size() { return gatun_emu_self->block->clusterSize; }
inline void gatun_emu_cluster_arrive(GATUN_EMU_SITE) { gatun_emu_rt->clusterArrive(file, line); }
inline void gatun_emu_cluster_wait(GATUN_EMU_SITE) { gatun_emu_rt->clusterWait(file, line); }
inline void* gatun_emu_cluster_map(const void* shared, unsigned rank, GATUN_EMU_SITE) {
  return gatun_emu_rt->clusterMap(shared, rank, file, line);
}
inline void gatun_emu_require_cooperative(GATUN_EMU_SITE) {
  gatun_emu_rt->requireCooperative(file, line);
}

/* ---- arithmetic ---- */

inline int min(int a, int b) { return b < a ? b : a; }
inline unsigned min(unsigned a, unsigned b) { return b < a ? b : a; }
inline unsigned min(int a, unsigned b) { return min(unsigned(a), b); }
inline unsigned min(unsigned a, int b) { return min(a, unsigned(b)); }
inline long long min(long long a, long long b) { return b < a ? b : a; }
inline float min(float a, float b) { return fminf(a, b); }
inline double min(double a, double b) { return fmin(a, b); }
inline int max(int a, int b) { return a < b ? b : a; }
inline unsigned max(unsigned a, unsigned b) { return a < b ? b : a; }
inline unsigned max(int a, unsigned b) { return max(unsigned(a), b); }
inline unsigned max(unsigned a, int b) { return max(a, unsigned(b)); }
inline long long max(long long a, long long b) { return a < b ? b : a; }
inline float max(float a, float b) { return fmaxf(a, b); }
inline double max(double a, double b) { return fmax(a, b); }

template <class To, class From>
inline To gatun_emu_bits(From v) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &v, sizeof(To));
  return to;
}
inline int __float_as_int(float v) { return gatun_emu_bits<int>(v); }
inline unsigned __float_as_uint(float v) { return gatun_emu_bits<unsigned>(v); }
inline float __int_as_float(int v) { return gatun_emu_bits<float>(v); }
inline float __uint_as_float(unsigned v) { return gatun_emu_bits<float>(v); }
inline long long __double_as_longlong(double v) { return gatun_emu_bits<long long>(v); }
inline double __longlong_as_double(long long v) { return gatun_emu_bits<double>(v); }
inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __clz(int v) { return v == 0 ? 32 : __builtin_clz(unsigned(v)); }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((uint64_t(a) * b) >> 32); }
inline int __mul24(int a, int b) { return a * b; }
inline float rsqrtf(float v) { return 1.0f / sqrtf(v); }
inline double rsqrt(double v) { return 1.0 / sqrt(v); }
inline float __saturatef(float v) { return v > 0 ? (v < 1 ? v : 1.0f) : 0.0f; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __frcp_rn(float a) { return 1.0f / a; }
inline float __fsqrt_rn(float a) { return sqrtf(a); }
inline float __fdividef(float a, float b) { return a / b; }
inline float __int2float_rn(int a) { return float(a); }
inline float __uint2float_rn(unsigned a) { return float(a); }
inline int __float2int_rn(float a) { return int(nearbyintf(a)); }
/* Macros: libm declares these names for itself. */
#define __expf(x) expf(x)
#define __exp10f(x) exp10f(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanf(x) tanf(x)
#define __powf(x, y) powf(x, y)

inline void __trap(GATUN_EMU_SITE) { gatun_emu_rt->trap(719, "__trap()", file, line); }
#undef assert
#define assert(c) \
  ((c) ? (void)0 : gatun_emu_rt->trap(710, "assertion failed: " #c, __FILE__, __LINE__))

#endif
