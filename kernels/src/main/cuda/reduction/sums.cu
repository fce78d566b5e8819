/* sums.cu - sums over many elements, in two passes: each block its part, then the parts in a fixed order.
 * column_sums: out[l,c] = sum of x[n,p,c] over p and the images n with label l. sum_pixels: y[n,c] = sum of
 * x[n,p,c] over p, in one pass. squared_norm: the sum of squares. mean: sum / divisor. Sums of f32 and bf16
 * in f32 (column_sums, sum_pixels) or f64; always over the same tree: same bits every run. Memory bound:
 * 1 read of x. Arch sm_80+; emulator yes.
 */
#include "common/reduce.cuh"
#include "common/types.cuh"

#define THREADS 256
#define COLUMNS 32
#define LANES (THREADS / COLUMNS)
#define NORM_ELEMENTS 4096

/* The sum over the LANES threads of one column, in all of them. partial [LANES][COLUMNS] is shared. */
__device__ __forceinline__ float lanes_sum(float v, float (*partial)[COLUMNS]) {
  const int column = threadIdx.x % COLUMNS;
  partial[threadIdx.x / COLUMNS][column] = v;
  __syncthreads();
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < LANES; ++i) sum += partial[i][column];
  return sum;
}

/* x [images,P,C]; grid (parts, ceil(C / 32)): a block sums `rows` rows of an image, or what is left of it,
 * to parts [parts,C]. */
template <class T>
__device__ __forceinline__ void column_sums(const T* x, float* parts, int P, int C, int rows) {
  SHARED(float, partial, [LANES][COLUMNS]);
  const int each = (P + rows - 1) / rows;  // parts of an image
  const long long image = blockIdx.x / each;
  const int from = blockIdx.x % each * rows;
  const int to = P - from < rows ? P : from + rows;
  const int c = blockIdx.y * COLUMNS + threadIdx.x % COLUMNS;
  float sum = 0.0f;
  if (c < C) {
    for (int p = from + threadIdx.x / COLUMNS; p < to; p += LANES) {
      sum += to_float(x[(image * P + p) * C + c]);
    }
  }
  sum = lanes_sum(sum, partial);
  if (c < C && threadIdx.x < COLUMNS) parts[(long long)blockIdx.x * C + c] = sum;
}

#define EACH(T, suffix)                                                                              \
  extern "C" __global__ void __launch_bounds__(THREADS)                                              \
      column_sums_##suffix(const T* RESTRICT x, float* RESTRICT parts, int P, int C, int rows) {     \
    column_sums(x, parts, P, C, rows);                                                               \
  }                                                                                                  \
  KERNEL(column_sums_##suffix, THREADS)

EACH(float, f32)
EACH(bf16, bf16)

/* grid (ceil(C / 32), L): out[l,c] = the sum of parts[i,offset+c] over the parts of images labelled l.
 * parts [images*each,stride] f32; labels [images] u8 or null for all; out [L,C] f32. */
extern "C" __global__ void __launch_bounds__(THREADS)
    column_sums_finish(const float* RESTRICT parts, const u8* RESTRICT labels, float* RESTRICT out,
                       int count, int each, int C, int stride, int offset) {
  SHARED(float, partial, [LANES][COLUMNS]);
  const int c = blockIdx.x * COLUMNS + threadIdx.x % COLUMNS;
  float sum = 0.0f;
  if (c < C) {
    for (int i = threadIdx.x / COLUMNS; i < count; i += LANES) {
      if (labels == nullptr || labels[i / each] == (int)blockIdx.y) {
        sum += parts[(long long)i * stride + offset + c];
      }
    }
  }
  sum = lanes_sum(sum, partial);
  if (c < C && threadIdx.x < COLUMNS) out[(long long)blockIdx.y * C + c] = sum;
}
KERNEL(column_sums_finish, THREADS)

#define PIXEL_CHUNKS 4
#define PIXEL_LANES (THREADS / PIXEL_CHUNKS)

/* x [N,P,C], y [N,C]; grid (N * ceil(C / tile)), tile = 4 chunks of 16 bytes. A thread sums a chunk of every
 * 64th pixel; then one thread a channel adds up the 64 sums. */
template <class T>
__device__ __forceinline__ void sum_pixels(const T* x, T* y, int P, int C) {
  constexpr int N = Chunk<T>::N;
  constexpr int TILE = PIXEL_CHUNKS * N;
  SHARED(float, partial, [PIXEL_LANES][TILE]);
  const int tiles = (C + TILE - 1) / TILE;
  const long long image = blockIdx.x / tiles;
  const int first = blockIdx.x % tiles * TILE;
  const int own = threadIdx.x % PIXEL_CHUNKS * N;
  const int lane = threadIdx.x / PIXEL_CHUNKS;
  const int left = C - first - own;
  const int n = left < 0 ? 0 : left < N ? left : N;
  float sum[N];
#pragma unroll
  for (int i = 0; i < N; ++i) sum[i] = 0.0f;
  if (n > 0) {
    for (int p = lane; p < P; p += PIXEL_LANES) {
      Chunk<T> v;
      v.load(x + (image * P + p) * C + first + own, n);
#pragma unroll
      for (int i = 0; i < N; ++i) sum[i] += v.v[i];
    }
  }
#pragma unroll
  for (int i = 0; i < N; ++i) partial[lane][own + i] = sum[i];
  __syncthreads();
  if (threadIdx.x < TILE && first + (int)threadIdx.x < C) {
    float all = 0.0f;
#pragma unroll
    for (int i = 0; i < PIXEL_LANES; ++i) all += partial[i][threadIdx.x];
    y[image * C + first + threadIdx.x] = Convert<T>::from(all);
  }
}

#define EACH_PIXELS(T, suffix)                                                           \
  extern "C" __global__ void __launch_bounds__(THREADS)                                  \
      sum_pixels_##suffix(const T* RESTRICT x, T* RESTRICT y, int P, int C) {            \
    sum_pixels(x, y, P, C);                                                              \
  }                                                                                      \
  KERNEL(sum_pixels_##suffix, THREADS)

EACH_PIXELS(float, f32)
EACH_PIXELS(bf16, bf16)

/* grid (ceil(elements / 4096)): parts [grid] f64 */
extern "C" __global__ void __launch_bounds__(THREADS)
    squared_norm_f32(const float* RESTRICT x, double* RESTRICT parts, long long elements) {
  SHARED(double, partial, [THREADS / WARP_SIZE]);
  const long long from = (long long)blockIdx.x * NORM_ELEMENTS;
  double sum = 0.0;
#pragma unroll
  for (int k = 0; k < NORM_ELEMENTS / (THREADS * Chunk<float>::N); ++k) {
    const long long at = from + (long long)(k * THREADS + threadIdx.x) * Chunk<float>::N;
    Chunk<float> v;
    v.load(x + at, at >= elements ? 0 : elements - at < v.N ? (int)(elements - at) : v.N);
#pragma unroll
    for (int i = 0; i < Chunk<float>::N; ++i) sum += (double)v.v[i] * v.v[i];
  }
  sum = block_sum<THREADS / WARP_SIZE>(sum, partial);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}
KERNEL(squared_norm_f32, THREADS)

/* One block: out [1] f64 = the sum of parts [count] f64. */
extern "C" __global__ void __launch_bounds__(THREADS)
    squared_norm_finish(const double* RESTRICT parts, double* RESTRICT out, int count) {
  SHARED(double, partial, [THREADS / WARP_SIZE]);
  double sum = 0.0;
  for (int i = threadIdx.x; i < count; i += THREADS) sum += parts[i];
  sum = block_sum<THREADS / WARP_SIZE>(sum, partial);
  if (threadIdx.x == 0) *out = sum;
}
KERNEL(squared_norm_finish, THREADS)

/* One block: out [1] f32 = the sum of x [count] f32 / divisor, summed in f64. */
extern "C" __global__ void __launch_bounds__(THREADS)
    mean_f32(const float* RESTRICT x, float* RESTRICT out, int count, double divisor) {
  SHARED(double, partial, [THREADS / WARP_SIZE]);
  double sum = 0.0;
  for (int i = threadIdx.x; i < count; i += THREADS) sum += x[i];
  sum = block_sum<THREADS / WARP_SIZE>(sum, partial);
  if (threadIdx.x == 0) *out = (float)(sum / divisor);
}
KERNEL(mean_f32, THREADS)
