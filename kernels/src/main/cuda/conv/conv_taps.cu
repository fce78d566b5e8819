/* conv_taps.cu - convolution as a list of taps, implicit GEMM: forward and data gradient.
 * y[n,h,w,:] = act(bias + addend[n,h,w,:] + sum over taps and source channels of x[n,source,s] * W[tap,s,:])
 * x [N,SH,SW,SC] f32 or bf16; W packed by conv_pack.cu; bias [TC] f32 or null; addend like the sum,
 * or [N,TC] for all pixels of an image, or null.
 * act: none, relu, elu, concat_elu (y [..,2TC]), a gate (y [..,TC/2], W's columns interleaved) plus
 * residual; with an activation the sum itself is written to `sum` unless that is null, for the gradient.
 * The activation takes the sum as it would be read again, rounded: the same bits as by two kernels.
 * Zero outside the image, so padding, masks, shifts, strides and dilation are lists of taps. Only taps that
 * exist are summed, and tiles of W that are all zero (colour masks) are skipped.
 * A block has BM positions by BN channels. 64 bytes of inner index a step, STAGES steps in flight by
 * cp.async. bf16: mma.sync m16n8k16; a row's four 16-byte chunks are exchanged by (row / 2) % 4, so that the
 * 8 rows that ldmatrix reads at once lie in different banks. f32: each thread a grid of results.
 * Sums in f32, in the order of the inner index: same bits every run. Compute bound where the product of
 * the tile's sides outweighs its edges. Arch sm_80+; emulator yes.
 * PTX: mma.sync.aligned.m16n8k16 ldmatrix.sync.aligned.m8n8.x4.shared cp.async.cg.shared.global cp.async.wait_group
 */
#include "common/activation.cuh"
#include "common/async_copy.cuh"
#include "common/conv.cuh"
#include "common/mma.cuh"
#include "common/types.cuh"
#include "common/window.cuh"

#define STEP_BYTES 64
#define FAR (-(1 << 30)) /* no row of an image is this far away */

enum Activation { NONE, RELU, ELU, CONCAT_ELU, GATE_TANH, GATE_LINEAR };

struct ConvOutput {
  const float* bias;
  const void* addend;
  void* sum;
  const void* residual;
  void* y;
  int f32;         // whether addend and y are f32; else they are in x's dtype
  int ofImages;    // whether the addend is [N,TC]
  int activation;
  int half;        // a gate's: channels of a in each group
  int from, to;    // channels of the sum that are wanted; all of them with a gate
};

/* ---- the product of two tiles ---- */

/* a [BM][BK], b [BK][BN]: a thread has PM x 4 results, rows apart by BM / PM, columns together. */
template <int BM, int BN, int THREADS>
struct F32Product {
  static constexpr int BK = STEP_BYTES / 4;
  static constexpr int ACROSS = BN / 4;
  static constexpr int DOWN = THREADS / ACROSS;
  static constexpr int PM = BM / DOWN;
  float acc[PM][4];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < PM; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) acc[i][j] = 0.0f;
    }
  }

  static __device__ __forceinline__ int place(int row, int chunk) { return row * BK + chunk * 4; }

  __device__ __forceinline__ void multiply(const float* a, const float* b) {
    const int row = threadIdx.x / ACROSS;
    const int column = threadIdx.x % ACROSS * 4;
#pragma unroll
    for (int k = 0; k < BK; k += 4) {
      float4 w[4];
#pragma unroll
      for (int s = 0; s < 4; ++s) w[s] = *reinterpret_cast<const float4*>(b + (k + s) * BN + column);
#pragma unroll
      for (int i = 0; i < PM; ++i) {
        const float4 x = *reinterpret_cast<const float4*>(a + (row + i * DOWN) * BK + k);
        const float v[4] = {x.x, x.y, x.z, x.w};
#pragma unroll
        for (int s = 0; s < 4; ++s) {
          acc[i][0] += v[s] * w[s].x;
          acc[i][1] += v[s] * w[s].y;
          acc[i][2] += v[s] * w[s].z;
          acc[i][3] += v[s] * w[s].w;
        }
      }
    }
  }

  /* Columns [from, from + columns) to c [BM][stride]. */
  __device__ __forceinline__ void put(float* c, int stride, int from, int columns) const {
    const int column = (int)threadIdx.x % ACROSS * 4 - from;
    if (column < 0 || column >= columns) return;
#pragma unroll
    for (int i = 0; i < PM; ++i) {
      float* to = c + (threadIdx.x / ACROSS + i * DOWN) * stride + column;
      *reinterpret_cast<float4*>(to) = make_float4(acc[i][0], acc[i][1], acc[i][2], acc[i][3]);
    }
  }
};

/* a [BM][32], b [BN][32]: WARPS_M x WARPS_N warps, each with MI x NI products of 16x8. */
template <int BM, int BN, int WARPS_M, int WARPS_N>
struct Bf16Product {
  static constexpr int BK = STEP_BYTES / 2;
  static constexpr int MI = BM / WARPS_M / 16;
  static constexpr int NI = BN / WARPS_N / 8;
  static_assert(NI % 2 == 0, "ldmatrix reads two blocks of columns at once");
  float acc[MI][NI][4];

  __device__ __forceinline__ void clear() {
#pragma unroll
    for (int i = 0; i < MI; ++i) {
#pragma unroll
      for (int j = 0; j < NI; ++j) {
#pragma unroll
        for (int e = 0; e < 4; ++e) acc[i][j][e] = 0.0f;
      }
    }
  }

  static __device__ __forceinline__ int place(int row, int chunk) {
    return row * BK + (chunk ^ (row / 2 % 4)) * 8;
  }

  __device__ __forceinline__ void multiply(const bf16* a, const bf16* b) {
    const int lane = threadIdx.x % WARP_SIZE;
    const int warp = threadIdx.x / WARP_SIZE;
    const int row = warp / WARPS_N * (MI * 16);
    const int column = warp % WARPS_N * (NI * 8);
#pragma unroll
    for (int k = 0; k < BK / 16; ++k) {
      unsigned x[MI][4];
      unsigned w[NI][2];
#pragma unroll
      for (int i = 0; i < MI; ++i) {
        // four 8x8 blocks: rows 0-7 and 8-15 of the first 8 inner indices, then of the second
        ldmatrix_x4(x[i], a + place(row + i * 16 + lane % 16, k * 2 + lane / 16));
      }
#pragma unroll
      for (int j = 0; j < NI; j += 2) {
        // both inner halves of one block of columns, then of the next
        unsigned two[4];
        ldmatrix_x4(two, b + place(column + j * 8 + lane / 16 * 8 + lane % 8, k * 2 + lane / 8 % 2));
        w[j][0] = two[0];
        w[j][1] = two[1];
        w[j + 1][0] = two[2];
        w[j + 1][1] = two[3];
      }
#pragma unroll
      for (int i = 0; i < MI; ++i) {
#pragma unroll
        for (int j = 0; j < NI; ++j) mma_m16n8k16_bf16(acc[i][j], x[i], w[j]);
      }
    }
  }

  __device__ __forceinline__ void put(float* c, int stride, int from, int columns) const {
    const int lane = threadIdx.x % WARP_SIZE;
    const int warp = threadIdx.x / WARP_SIZE;
#pragma unroll
    for (int j = 0; j < NI; ++j) {
      const int column = warp % WARPS_N * (NI * 8) + j * 8 + lane % 4 * 2 - from;
      if (column < 0 || column >= columns) continue;
#pragma unroll
      for (int i = 0; i < MI; ++i) {
        float* to = c + (warp / WARPS_N * (MI * 16) + i * 16 + lane / 4) * stride + column;
        *reinterpret_cast<float2*>(to) = make_float2(acc[i][j][0], acc[i][j][1]);
        *reinterpret_cast<float2*>(to + 8 * stride) = make_float2(acc[i][j][2], acc[i][j][3]);
      }
    }
  }
};

/* ---- which positions ---- */

/* The positions of a phase that a launch is about: m counts images, rows, columns. */
struct Positions {
  int ph, pw;
  int i0, rows;
  int j0, columns;
  int count;  // all together; 0 for none

  __device__ __forceinline__ Positions(const ConvShape& s, const Window& w, int phase) {
    ph = phase / s.outW;
    pw = phase % s.outW;
    i0 = 0;
    j0 = 0;
    rows = (s.TH - ph + s.outH - 1) / s.outH;
    columns = (s.TW - pw + s.outW - 1) / s.outW;
    if (w.first != nullptr) {
      const int first = w.first[*w.time];
      const int h = first / s.TW - ph;
      bool mine = first >= 0 && h % s.outH == 0;
      i0 = h / s.outH;
      rows = 1;
      if (w.count == 1) {
        const int v = first % s.TW - pw;
        mine = mine && v % s.outW == 0;
        j0 = v / s.outW;
        columns = 1;
      }
      if (!mine) columns = 0;
    }
    count = s.N * rows * columns;
  }

  __device__ __forceinline__ int image(int m) const { return m / (rows * columns); }
  __device__ __forceinline__ int row(int m) const { return i0 + m / columns % rows; }
  __device__ __forceinline__ int column(int m) const { return j0 + m % columns; }
};

/* ---- reading the source ---- */

/* What one thread copies of a step's source tile: a chunk of every few rows. EACH elements a chunk. */
template <class T, class Product, int BM, int THREADS, int EACH>
struct Gather {
  static constexpr int BK = Product::BK;
  static constexpr int ACROSS = BK / EACH;
  static constexpr int DOWN = THREADS / ACROSS;
  static constexpr int ROWS = BM / DOWN;
  int image[ROWS];  // first row of the image, counting rows of all images
  int h[ROWS], w[ROWS];

  __device__ __forceinline__ Gather(const ConvShape& s, const Positions& at, int first) {
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      const int m = first + threadIdx.x / ACROSS + r * DOWN;
      const bool inside = m < at.count;
      image[r] = inside ? at.image(m) * s.SH : 0;
      h[r] = inside ? at.row(m) * s.inH : FAR;
      w[r] = inside ? at.column(m) * s.inW : 0;
    }
  }

  /* Inner indices block*BK on, to the tile a. */
  __device__ __forceinline__ void copy(const ConvShape& s, const ConvPhase& phase, const ConvTap* taps,
                                       const T* x, T* a, int block) const {
    const int column = threadIdx.x % ACROSS;
    const int inner = block * BK + column * EACH;
    const int t = inner / s.SC;
    const int c = inner - t * s.SC;
    const bool exists = t < phase.taps;
    const int2 tap = *reinterpret_cast<const int2*>(taps + phase.tap + (exists ? t : 0));
#pragma unroll
    for (int r = 0; r < ROWS; ++r) {
      const int v = h[r] + tap.x;
      const int u = w[r] + tap.y;
      const bool inside = exists && v >= 0 && v < s.SH && u >= 0 && u < s.SW;
      const T* from = x + (inside ? ((long long)(image[r] + v) * s.SW + u) * s.SC + c : 0);
      T* to = a + Product::place(threadIdx.x / ACROSS + r * DOWN, column * EACH / (16 / (int)sizeof(T))) +
              column * EACH % (16 / (int)sizeof(T));
      put(to, from, inside);
    }
  }

  static __device__ __forceinline__ void put(T* to, const T* from, bool inside) {
    if (EACH * sizeof(T) >= 4) {
      copy_async<(EACH * sizeof(T) >= 4 ? EACH * sizeof(T) : 4)>(to, from, inside);
    } else {
      *to = inside ? *from : Convert<T>::from(0.0f);  // two bytes are less than cp.async takes
    }
  }
};

/* ---- writing the target ---- */

#define PASS_COLUMNS(BN) ((BN) < 64 ? (BN) : 64)
#define PASS_STRIDE(BN) (PASS_COLUMNS(BN) + 4)
#define EIGHT 8

/* Eight channels, f32 or bf16 in memory. */
struct Eight : Chunk<bf16> {
  __device__ __forceinline__ void read(const void* p, bool f32, long long at, int n) {
    if (f32) {
      load((const float*)p + at, n);
    } else {
      load((const bf16*)p + at, n);
    }
  }
  __device__ __forceinline__ void write(void* p, bool f32, long long at, int n) const {
    if (f32) {
      store((float*)p + at, n);
    } else {
      store((bf16*)p + at, n);
    }
  }
};

/* c [BM][stride], columns from `column` on of those of the launch, to memory. F32: the type of x. */
template <bool F32, int BM, int BN, int THREADS>
__device__ __forceinline__ void finish(const ConvShape& s, const ConvOutput& o, const Positions& at,
                                       const float* c, int firstRow, int column) {
  const bool f32 = F32 || o.f32 != 0;
  const bool gated = o.activation >= GATE_TANH;
  const int width = gated ? 2 * EIGHT : EIGHT;  // columns an item
  const int across = PASS_COLUMNS(BN) / width;
  for (int q = threadIdx.x; q < BM * across; q += THREADS) {
    const int m = firstRow + q / across;
    const int local = q % across * width;
    // among the channels of y, but for concat_elu
    const int k = gated ? (column + local) / 2 : column + local;
    const int most = gated ? s.TC / 2 : o.to;
    if (m >= at.count || k < o.from || k >= most) continue;
    const int n = most - k < EIGHT ? most - k : EIGHT;
    const long long pixel =
        ((long long)at.image(m) * s.TH + at.row(m) * s.outH + at.ph) * s.TW + at.column(m) * s.outW + at.pw;
    const long long added = o.ofImages != 0 ? at.image(m) : pixel;
    // among the channels of the sum
    const int ka = gated ? k / o.half * 2 * o.half + k % o.half : k;
    Eight v[2];
#pragma unroll
    for (int part = 0; part < 2; ++part) {
      if (part == 1 && !gated) break;
      const int channel = ka + part * o.half;
      const float* sums = c + q / across * PASS_STRIDE(BN) + local + part * EIGHT;
      v[part].read(o.addend, f32, added * s.TC + channel, o.addend == nullptr ? 0 : n);
#pragma unroll
      for (int e = 0; e < EIGHT; ++e) {
        v[part].v[e] += sums[e] + (o.bias != nullptr && e < n ? o.bias[channel + e] : 0.0f);
      }
      if (!f32 && o.activation != NONE) {
#pragma unroll
        for (int e = 0; e < EIGHT; ++e) v[part].v[e] = to_float(to_bf16(v[part].v[e]));
      }
      void* const to = o.activation == NONE ? o.y : o.sum;
      if (to != nullptr) v[part].write(to, f32, pixel * s.TC + channel, n);
    }
    if (gated) {
      Eight add;
      add.read(o.residual, f32, pixel * (s.TC / 2) + k, o.residual == nullptr ? 0 : n);
#pragma unroll
      for (int e = 0; e < EIGHT; ++e) {
        v[0].v[e] = gate(v[0].v[e], v[1].v[e], o.activation == GATE_LINEAR) + add.v[e];
      }
      v[0].write(o.y, f32, pixel * (s.TC / 2) + k, n);
    } else if (o.activation == CONCAT_ELU) {
#pragma unroll
      for (int e = 0; e < EIGHT; ++e) {
        v[1].v[e] = elu(-v[0].v[e]);
        v[0].v[e] = elu(v[0].v[e]);
      }
      v[0].write(o.y, f32, pixel * 2 * s.TC + k, n);
      v[1].write(o.y, f32, pixel * 2 * s.TC + s.TC + k, n);
    } else if (o.activation != NONE) {
#pragma unroll
      for (int e = 0; e < EIGHT; ++e) {
        v[0].v[e] = o.activation == RELU ? relu(v[0].v[e]) : elu(v[0].v[e]);
      }
      v[0].write(o.y, f32, pixel * s.TC + k, n);
    }
  }
}

/* ---- all of it ---- */

template <class T, class Product, int BM, int BN, int THREADS, int STAGES, int EACH>
__device__ __forceinline__ void conv_taps(const T* x, const T* packed, const int* used,
                                          const ConvPhase* phases, const ConvTap* taps, const ConvShape& s,
                                          const ConvOutput& o, const Window& window) {
  constexpr int A = BM * STEP_BYTES;
  constexpr int B = BN * STEP_BYTES;
  constexpr int LOOP = STAGES * (A + B);
  constexpr int END = BM * PASS_STRIDE(BN) * 4;
  SHARED(uint4, memory, [(LOOP > END ? LOOP : END) / 16]);
  T* const a = reinterpret_cast<T*>(memory);
  T* const b = a + STAGES * (A / sizeof(T));

  const Positions at(s, window, blockIdx.z);
  const int firstRow = blockIdx.x * BM;
  if (firstRow >= at.count) return;
  const ConvPhase phase = phases[blockIdx.z];
  const int tile = o.from / BN + blockIdx.y;                      // of columns
  const int tiles = (s.TC + BN - 1) / BN;                          // of columns, in all
  used += (long long)phase.block * tiles + tile;
  packed += ((long long)phase.block * tiles + tile) * (B / sizeof(T));
  const Gather<T, Product, BM, THREADS, EACH> gather(s, at, firstRow);

  Product product;
  product.clear();
  int next = 0;    // block to copy
  int begun = 0;   // steps copied, or on their way
  while (next < phase.blocks && !used[(long long)next * tiles]) ++next;
  auto begin = [&]() {
    if (next < phase.blocks) {
      const int stage = begun % STAGES;
      gather.copy(s, phase, taps, x, a + stage * (A / sizeof(T)), next);
      const T* from = packed + (long long)next * tiles * (B / sizeof(T));
#pragma unroll
      for (int i = threadIdx.x; i < B / 16; i += THREADS) {
        copy_async<16>(b + (stage * B + i * 16) / sizeof(T), from + i * (16 / sizeof(T)), true);
      }
      ++begun;
      do ++next;
      while (next < phase.blocks && !used[(long long)next * tiles]);
    }
    copy_commit();
  };
#pragma unroll
  for (int i = 0; i < STAGES - 1; ++i) begin();
  for (int done = 0; done < begun; ++done) {
    copy_wait<STAGES - 2>();
    __syncthreads();  // this step has arrived, and nobody reads the one before it any more
    begin();
    product.multiply(a + done % STAGES * (A / sizeof(T)), b + done % STAGES * (B / sizeof(T)));
  }
  copy_wait<0>();

  float* const c = reinterpret_cast<float*>(memory);
#pragma unroll
  for (int column = 0; column < BN; column += PASS_COLUMNS(BN)) {
    __syncthreads();  // the tiles, or the columns before, have been read
    product.put(c, PASS_STRIDE(BN), column, PASS_COLUMNS(BN));
    __syncthreads();
    finish<sizeof(T) == 4, BM, BN, THREADS>(s, o, at, c, firstRow, tile * BN + column);
  }
}

/* grid (ceil(positions / BM), ceil(columns / BN), phases) */
#define EACH_F32(name, BM, BN, THREADS, STAGES, EACH)                                                   \
  extern "C" __global__ void __launch_bounds__(THREADS)                                                 \
      name(const float* RESTRICT x, const float* RESTRICT packed, const int* RESTRICT used,             \
           const ConvPhase* RESTRICT phases, const ConvTap* RESTRICT taps, ConvShape s, ConvOutput o,   \
           Window window) {                                                                             \
    conv_taps<float, F32Product<BM, BN, THREADS>, BM, BN, THREADS, STAGES, EACH>(                       \
        x, packed, used, phases, taps, s, o, window);                                                   \
  }                                                                                                     \
  KERNEL(name, THREADS)

#define EACH_BF16(name, BM, BN, WARPS_M, WARPS_N, STAGES, EACH)                                         \
  extern "C" __global__ void __launch_bounds__(WARPS_M * WARPS_N * 32)                                  \
      name(const bf16* RESTRICT x, const bf16* RESTRICT packed, const int* RESTRICT used,               \
           const ConvPhase* RESTRICT phases, const ConvTap* RESTRICT taps, ConvShape s, ConvOutput o,   \
           Window window) {                                                                             \
    conv_taps<bf16, Bf16Product<BM, BN, WARPS_M, WARPS_N>, BM, BN, WARPS_M * WARPS_N * 32, STAGES, EACH>( \
        x, packed, used, phases, taps, s, o, window);                                                   \
  }                                                                                                     \
  KERNEL(name, WARPS_M* WARPS_N * 32)

EACH_F32(conv_taps_f32_128x64, 128, 64, 256, 3, 4)
EACH_F32(conv_taps_f32_64x32, 64, 32, 128, 4, 4)
EACH_F32(conv_taps_f32_64x32_any, 64, 32, 128, 3, 1)
EACH_BF16(conv_taps_bf16_128x128, 128, 128, 2, 4, 3, 8)
EACH_BF16(conv_taps_bf16_128x64, 128, 64, 4, 2, 4, 8)
EACH_BF16(conv_taps_bf16_64x32, 64, 32, 4, 1, 4, 8)
EACH_BF16(conv_taps_bf16_64x32_any, 64, 32, 4, 1, 3, 1)
