/* group_norm.cu - GroupNorm and its gradient.
 * y = (x - mean) * rstd * gamma + beta    Wu & He 2018, section 3
 * x, y, dx, dy [N,HW,C] f32 or bf16; gamma, beta [C] f32; mean, rstd [N,G] f32
 * Needs C % G == 0 (the caller checks). Work: 3 reads + 1 write of x; memory bound.
 * The variance is of the differences from the mean, in a second pass: no cancellation.
 * Sums in f32 over a fixed tree: same bits every run. Arch sm_80+; emulator yes.
 */
#include "common/portable.cuh"
#include "common/reduce.cuh"
#include "common/types.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP_SIZE)
#define COLUMNS 32
#define LANES (THREADS / COLUMNS)

/* One block a group of one sample. */
template <class T>
__device__ __forceinline__ void group_norm(const T* x, const float* gamma, const float* beta, T* y,
                                           float* mean, float* rstd, int HW, int C, int G, float eps) {
  SHARED(float, partial, [2][WARPS]);
  const int g = blockIdx.x;
  const int n = blockIdx.y;
  const int D = C / G;  // channels in a group
  const long long count = (long long)HW * D;
  const long long start = (long long)n * HW * C + (long long)g * D;

  float sum = 0.0f;
  for (long long i = threadIdx.x; i < count; i += THREADS) {
    sum += to_float(x[start + i / D * C + i % D]);
  }
  const float mu = block_sum<WARPS>(sum, partial[0]) / (float)count;

  float squares = 0.0f;
  for (long long i = threadIdx.x; i < count; i += THREADS) {
    const float d = to_float(x[start + i / D * C + i % D]) - mu;
    squares += d * d;
  }
  // Its own row of partial: a slow warp may still read the first.
  const float variance = block_sum<WARPS>(squares, partial[1]) / (float)count;
  const float scale = 1.0f / sqrtf(variance + eps);

  for (long long i = threadIdx.x; i < count; i += THREADS) {
    const long long at = start + i / D * C + i % D;
    const int c = g * D + (int)(i % D);
    y[at] = Convert<T>::from((to_float(x[at]) - mu) * scale * gamma[c] + beta[c]);
  }
  if (threadIdx.x == 0) {
    mean[n * G + g] = mu;
    rstd[n * G + g] = scale;
  }
}

/* One block a group of one sample: dx = rstd * (s - mean(s) - z * mean(s * z)), s = dy * gamma,
 * z = (x - mean) * rstd. */
template <class T>
__device__ __forceinline__ void group_norm_backward(const T* x, const float* gamma, const float* mean,
                                                    const float* rstd, const T* dy, T* dx, int HW, int C,
                                                    int G) {
  SHARED(float, partial, [2][WARPS]);
  const int g = blockIdx.x;
  const int n = blockIdx.y;
  const int D = C / G;
  const long long count = (long long)HW * D;
  const long long start = (long long)n * HW * C + (long long)g * D;
  const float mu = mean[n * G + g];
  const float scale = rstd[n * G + g];

  float sum = 0.0f;
  float dot = 0.0f;
  for (long long i = threadIdx.x; i < count; i += THREADS) {
    const long long at = start + i / D * C + i % D;
    const float s = to_float(dy[at]) * gamma[g * D + (int)(i % D)];
    sum += s;
    dot += s * ((to_float(x[at]) - mu) * scale);
  }
  sum = block_sum<WARPS>(sum, partial[0]) / (float)count;
  dot = block_sum<WARPS>(dot, partial[1]) / (float)count;
  for (long long i = threadIdx.x; i < count; i += THREADS) {
    const long long at = start + i / D * C + i % D;
    const float s = to_float(dy[at]) * gamma[g * D + (int)(i % D)];
    const float z = (to_float(x[at]) - mu) * scale;
    dx[at] = Convert<T>::from(scale * (s - sum - z * dot));
  }
}

/* grid (N, ceil(C / 32)): parts [N,2,C]: of one sample the sums of dy * z, and of dy. column_sums_finish
 * adds the samples'. */
template <class T>
__device__ __forceinline__ void group_norm_affine(const T* x, const float* mean, const float* rstd,
                                                  const T* dy, float* parts, int HW, int C, int G) {
  SHARED(float, partial, [2][LANES][COLUMNS]);
  const long long n = blockIdx.x;
  const int column = threadIdx.x % COLUMNS;
  const int lane = threadIdx.x / COLUMNS;
  const int c = blockIdx.y * COLUMNS + column;
  float dot = 0.0f;
  float sum = 0.0f;
  if (c < C) {
    const int g = c / (C / G);
    const float mu = mean[n * G + g];
    const float scale = rstd[n * G + g];
    for (int p = lane; p < HW; p += LANES) {
      const long long at = (n * HW + p) * C + c;
      const float d = to_float(dy[at]);
      dot += d * ((to_float(x[at]) - mu) * scale);
      sum += d;
    }
  }
  partial[0][lane][column] = dot;
  partial[1][lane][column] = sum;
  __syncthreads();
  if (c < C && lane < 2) {
    float all = 0.0f;
#pragma unroll
    for (int i = 0; i < LANES; ++i) all += partial[lane][i][column];
    parts[(n * 2 + lane) * C + c] = all;
  }
}

/* group_norm, group_norm_backward: grid (G, N), block 256. */
#define EACH(T, suffix)                                                                               \
  extern "C" __global__ void __launch_bounds__(THREADS) group_norm_##suffix(                          \
      const T* RESTRICT x, const float* RESTRICT gamma, const float* RESTRICT beta, T* RESTRICT y,    \
      float* RESTRICT mean, float* RESTRICT rstd, int HW, int C, int G, float eps) {                  \
    group_norm(x, gamma, beta, y, mean, rstd, HW, C, G, eps);                                         \
  }                                                                                                   \
  KERNEL(group_norm_##suffix, THREADS)                                                                \
  extern "C" __global__ void __launch_bounds__(THREADS) group_norm_backward_##suffix(                 \
      const T* RESTRICT x, const float* RESTRICT gamma, const float* RESTRICT mean,                   \
      const float* RESTRICT rstd, const T* RESTRICT dy, T* RESTRICT dx, int HW, int C, int G) {       \
    group_norm_backward(x, gamma, mean, rstd, dy, dx, HW, C, G);                                      \
  }                                                                                                   \
  KERNEL(group_norm_backward_##suffix, THREADS)                                                       \
  extern "C" __global__ void __launch_bounds__(THREADS) group_norm_affine_##suffix(                   \
      const T* RESTRICT x, const float* RESTRICT mean, const float* RESTRICT rstd,                    \
      const T* RESTRICT dy, float* RESTRICT parts, int HW, int C, int G) {                            \
    group_norm_affine(x, mean, rstd, dy, parts, HW, C, G);                                            \
  }                                                                                                   \
  KERNEL(group_norm_affine_##suffix, THREADS)

EACH(float, f32)
EACH(bf16, bf16)
