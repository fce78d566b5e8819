/* conv_pack.cu - a convolution's weights as its kernels read them.
 * w [T,C,K] f32 to tiles of BK inner indices (tap, source channel) by BN target channels, f32 or bf16,
 * padded with zeros; and for each tile whether it has anything but zeros: what masks made zero is skipped.
 * w's element of tap t, source channel s, target channel n is at t*stepT + s*stepS + n*stepN: forward and
 * data gradient differ in that alone. An f32 tile is [BK][BN]; a bf16 tile is [BN][BK], its 16-byte chunks
 * exchanged within a row as ldmatrix wants them (see conv_taps.cu).
 * With half > 0 the target channels are those of a gate, interleaved by eights: 8 of a, the 8 of b that
 * belong to them; each of its groups has `half` channels of a, then as many of b.
 * Memory bound: 1 read of w, 1 write. Arch sm_80+; emulator yes.
 */
#include "common/conv.cuh"
#include "common/types.cuh"

#define THREADS 256

/* The target channel of a packed column; TC or more where there is none. */
__device__ __forceinline__ int target_channel(int column, int TC, int half) {
  if (half == 0) return column;
  const int own = column / 16 * 8 + column % 8;  // among all channels of a, or of b
  return own < TC / 2 ? own / half * 2 * half + column / 8 % 2 * half + own % half : TC;
}

/* Where inner index k of column n lies in a tile. */
template <class T, int BN>
struct TilePlace;
template <int BN>
struct TilePlace<float, BN> {
  static constexpr int BK = 16;
  static __device__ __forceinline__ int of(int k, int n) { return k * BN + n; }
};
template <int BN>
struct TilePlace<bf16, BN> {
  static constexpr int BK = 32;
  static __device__ __forceinline__ int of(int k, int n) {
    return n * BK + ((k / 8) ^ (n / 2 % 4)) * 8 + k % 8;
  }
};

/* grid (blocks of all phases, ceil(TC / BN)): one tile a block. */
template <class T, int BN>
__device__ __forceinline__ void conv_pack(const float* w, const ConvPhase* phases, const ConvTap* taps,
                                          T* packed, int* used, int phaseCount, int SC, int TC,
                                          long long stepT, long long stepS, long long stepN, int half) {
  typedef TilePlace<T, BN> Place;
  const int block = blockIdx.x;
  int p = 0;
  while (p + 1 < phaseCount && phases[p + 1].block <= block) ++p;
  const ConvPhase phase = phases[p];
  const int first = (block - phase.block) * Place::BK;
  const long long tile = (long long)block * gridDim.y + blockIdx.y;
  int any = 0;
  for (int i = threadIdx.x; i < Place::BK * BN; i += THREADS) {
    // neighbouring threads read neighbouring elements of w
    const bool by_source = stepS == 1;
    const int k = by_source ? i % Place::BK : i / BN;
    const int n = by_source ? i / Place::BK : i % BN;
    const int inner = first + k;
    const int channel = target_channel(blockIdx.y * BN + n, TC, half);
    float v = 0.0f;
    if (inner < phase.taps * SC && channel < TC) {
      const int t = taps[phase.tap + inner / SC].index;
      v = w[t * stepT + inner % SC * stepS + channel * stepN];
    }
    any |= v != 0.0f;  // a NaN differs, too
    packed[tile * (Place::BK * BN) + Place::of(k, n)] = Convert<T>::from(v);
  }
  any = __syncthreads_or(any);
  if (threadIdx.x == 0) used[tile] = any;
}

#define EACH(T, suffix, BN)                                                                           \
  extern "C" __global__ void __launch_bounds__(THREADS) conv_pack_##suffix##_##BN(                    \
      const float* RESTRICT w, const ConvPhase* RESTRICT phases, const ConvTap* RESTRICT taps,        \
      T* RESTRICT packed, int* RESTRICT used, int phaseCount, int SC, int TC, long long stepT,        \
      long long stepS, long long stepN, int half) {                                                   \
    conv_pack<T, BN>(w, phases, taps, packed, used, phaseCount, SC, TC, stepT, stepS, stepN, half);   \
  }                                                                                                   \
  KERNEL(conv_pack_##suffix##_##BN, THREADS)

EACH(float, f32, 32)
EACH(float, f32, 64)
EACH(bf16, bf16, 32)
EACH(bf16, bf16, 64)
EACH(bf16, bf16, 128)
