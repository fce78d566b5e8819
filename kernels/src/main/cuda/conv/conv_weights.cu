/* conv_weights.cu - the gradient of a convolution with respect to its weights.
 * dw[tap,s,k] = sum over positions m of x[source of m by tap, s] * dy[m,k]
 * x [N,SH,SW,SC], dy [N,TH,TW,TC] both f32 or both bf16; dw [T,SC,TC] f32. An implicit GEMM: rows are
 * (tap, source channel), columns k, the inner index runs over positions, split into gridDim.z parts. Each
 * block writes its part [rows,columns], both rounded up to whole tiles; conv_weights_finish adds them in order:
 * same bits every run. bf16: mma.sync m16n8k16, both tiles read transposed by ldmatrix; a row's 16-byte
 * chunks are exchanged by row % 8, so that the 8 rows read at once lie in different banks. cp.async, STAGES steps.
 * Compute bound. Arch sm_80+; emulator yes.
 * PTX: mma.sync.aligned.m16n8k16 ldmatrix.sync.aligned.m8n8.x4.trans cp.async.cg.shared.global cp.async.wait_group
 */
#include "common/async_copy.cuh"
#include "common/conv.cuh"
#include "common/mma.cuh"
#include "common/types.cuh"

#define BM 64
#define BN 64
#define STAGES 3

/* Tiles [PIXELS][64] of f32: a thread has 4 x 4 results. */
struct F32Weights {
  static constexpr int THREADS = 256;
  static constexpr int PIXELS = 16;
  float acc[4][4];

  static __device__ __forceinline__ int place(int pixel, int chunk) { return pixel * 64 + chunk * 4; }

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) acc[i][j] = 0.0f;
    }
  }

  __device__ __forceinline__ void multiply(const float* a, const float* b) {
    const int row = threadIdx.x / 16 * 4;
    const int column = threadIdx.x % 16 * 4;
#pragma unroll
    for (int p = 0; p < PIXELS; ++p) {
      const float4 x = *reinterpret_cast<const float4*>(a + p * 64 + row);
      const float4 d = *reinterpret_cast<const float4*>(b + p * 64 + column);
      const float v[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        acc[i][0] += v[i] * d.x;
        acc[i][1] += v[i] * d.y;
        acc[i][2] += v[i] * d.z;
        acc[i][3] += v[i] * d.w;
      }
    }
  }

  /* To the block's tile of part [..,columns]. */
  __device__ __forceinline__ void put(float* part, int columns) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float* to = part + (long long)(threadIdx.x / 16 * 4 + i) * columns + threadIdx.x % 16 * 4;
      *reinterpret_cast<float4*>(to) = make_float4(acc[i][0], acc[i][1], acc[i][2], acc[i][3]);
    }
  }
};

/* Tiles [PIXELS][64] of bf16: 2 x 2 warps, each with 2 x 4 products of 16x8. */
struct Bf16Weights {
  static constexpr int THREADS = 128;
  static constexpr int PIXELS = 32;
  float acc[2][4][4];

  static __device__ __forceinline__ int place(int pixel, int chunk) {
    return pixel * 64 + (chunk ^ pixel % 8) * 8;
  }

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) acc[i][j][e] = 0.0f;
      }
    }
  }

  __device__ __forceinline__ void multiply(const bf16* a, const bf16* b) {
    const int lane = threadIdx.x % WARP_SIZE;
    const int warp = threadIdx.x / WARP_SIZE;
    const int eighth = lane / 8;  // which 8x8 block this lane names a row of
#pragma unroll
    for (int p = 0; p < PIXELS; p += 16) {
      unsigned x[2][4];
      unsigned d[4][2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        ldmatrix_x4_trans(
            x[i], a + place(p + eighth / 2 * 8 + lane % 8, warp / 2 * 4 + i * 2 + eighth % 2));
      }
#pragma unroll
      for (int j = 0; j < 4; j += 2) {
        unsigned two[4];
        ldmatrix_x4_trans(two, b + place(p + eighth % 2 * 8 + lane % 8, warp % 2 * 4 + j + eighth / 2));
        d[j][0] = two[0];
        d[j][1] = two[1];
        d[j + 1][0] = two[2];
        d[j + 1][1] = two[3];
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
#pragma unroll
        for (int j = 0; j < 4; ++j) mma_m16n8k16_bf16(acc[i][j], x[i], d[j]);
      }
    }
  }

  __device__ __forceinline__ void put(float* part, int columns) const {
    const int lane = threadIdx.x % WARP_SIZE;
    const int warp = threadIdx.x / WARP_SIZE;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        float* to = part + (long long)(warp / 2 * 32 + i * 16 + lane / 4) * columns + warp % 2 * 32 + j * 8 +
                    lane % 4 * 2;
        *reinterpret_cast<float2*>(to) = make_float2(acc[i][j][0], acc[i][j][1]);
        *reinterpret_cast<float2*>(to + 8LL * columns) = make_float2(acc[i][j][2], acc[i][j][3]);
      }
    }
  }
};

/* To shared memory; two bytes are less than cp.async takes. */
template <int EACH, class T>
__device__ __forceinline__ void copy(T* to, const T* from, bool inside) {
  if (EACH * sizeof(T) >= 4) {
    copy_async<(EACH * sizeof(T) >= 4 ? EACH * sizeof(T) : 4)>(to, from, inside);
  } else {
    *to = inside ? *from : Convert<T>::from(0.0f);
  }
}

/* EACH elements at a time: 16 bytes where SC and TC allow it, else one. each: positions of a part. */
template <class T, class Product, int EACH>
__device__ __forceinline__ void conv_weights(const T* x, const T* dy, const ConvTap* taps, float* parts,
                                             const ConvShape& s, int tapCount, int each) {
  constexpr int THREADS = Product::THREADS;
  constexpr int PIXELS = Product::PIXELS;
  constexpr int CHUNK = 16 / sizeof(T);
  constexpr int ACROSS = 64 / EACH;
  constexpr int DOWN = THREADS / ACROSS;
  constexpr int ROWS = PIXELS / DOWN;
  constexpr int TILE = PIXELS * 64;
  SHARED(uint4, memory, [2 * STAGES * TILE * sizeof(T) / 16]);
  T* const a = reinterpret_cast<T*>(memory);
  T* const b = a + STAGES * TILE;

  const int all = s.N * s.TH * s.TW;
  const int from = blockIdx.z * each;
  const int to = all - from < each ? all : from + each;
  const int column = threadIdx.x % ACROSS * EACH;
  const int inner = blockIdx.x * BM + column;
  const bool exists = inner < tapCount * s.SC;
  const ConvTap tap = taps[exists ? inner / s.SC : 0];
  const int c = inner % s.SC;
  const int k = blockIdx.y * BN + column;
  const int down = threadIdx.x / ACROSS;

  auto begin = [&](int step) {
    if (from + step * PIXELS < to) {
      const int stage = step % STAGES * TILE;
#pragma unroll
      for (int r = 0; r < ROWS; ++r) {
        const int pixel = down + r * DOWN;
        const int m = from + step * PIXELS + pixel;
        const int row = m / s.TW;
        const int h = row % s.TH * s.inH + tap.dy;
        const int w = m % s.TW * s.inW + tap.dx;
        const bool inside = exists && m < to && h >= 0 && h < s.SH && w >= 0 && w < s.SW;
        const int at = Product::place(pixel, column / CHUNK) + column % CHUNK;
        copy<EACH>(a + stage + at,
                   x + (inside ? (((long long)(row / s.TH) * s.SH + h) * s.SW + w) * s.SC + c : 0), inside);
        const bool real = m < to && k < s.TC;
        copy<EACH>(b + stage + at, dy + (real ? (long long)m * s.TC + k : 0), real);
      }
    }
    copy_commit();
  };

  Product product;
  product.clear();
#pragma unroll
  for (int i = 0; i < STAGES - 1; ++i) begin(i);
  for (int step = 0; from + step * PIXELS < to; ++step) {
    copy_wait<STAGES - 2>();
    __syncthreads();  // this step has arrived, and nobody reads the one before it any more
    begin(step + STAGES - 1);
    product.multiply(a + step % STAGES * TILE, b + step % STAGES * TILE);
  }
  copy_wait<0>();
  const int columns = gridDim.y * BN;
  const long long first = ((long long)blockIdx.z * gridDim.x + blockIdx.x) * BM;
  product.put(parts + first * columns + blockIdx.y * BN, columns);
}

/* grid (ceil(taps*SC / 64), ceil(TC / 64), parts) */
#define EACH_WEIGHTS(name, T, Product, EACH)                                                          \
  extern "C" __global__ void __launch_bounds__(Product::THREADS)                                      \
      name(const T* RESTRICT x, const T* RESTRICT dy, const ConvTap* RESTRICT taps,                   \
           float* RESTRICT parts, ConvShape s, int tapCount, int each) {                              \
    conv_weights<T, Product, EACH>(x, dy, taps, parts, s, tapCount, each);                            \
  }                                                                                                   \
  KERNEL(name, Product::THREADS)

EACH_WEIGHTS(conv_weights_f32, float, F32Weights, 4)
EACH_WEIGHTS(conv_weights_f32_any, float, F32Weights, 1)
EACH_WEIGHTS(conv_weights_bf16, bf16, Bf16Weights, 8)
EACH_WEIGHTS(conv_weights_bf16_any, bf16, Bf16Weights, 1)

#define THREADS 256

/* dw [T,SC,TC] = the sum of parts [count][rows][columns]; rowOf [T]: the first row of a tap, -1 for none. */
extern "C" __global__ void __launch_bounds__(THREADS)
    conv_weights_finish(const float* RESTRICT parts, const int* RESTRICT rowOf, float* RESTRICT dw,
                        int count, long long rows, int columns, int T, int SC, int TC) {
  const long long at = (long long)blockIdx.x * THREADS + threadIdx.x;
  if (at >= (long long)T * SC * TC) return;
  const int k = (int)(at % TC);
  const int c = (int)(at / TC % SC);
  const int row = rowOf[at / TC / SC];
  float sum = 0.0f;
  if (row >= 0) {
    for (int i = 0; i < count; ++i) sum += parts[(i * rows + row + c) * columns + k];
  }
  dw[at] = sum;
}
KERNEL(conv_weights_finish, THREADS)
