/* weight_norm.cu - weights by direction and length, its gradient, and the order of colours in weights.
 * w = g * v / ||v||, ||v|| = sqrt(max(sum of squares, 1e-12)); dg = sum(dw * v) / ||v||,
 * dv = g / ||v|| * (dw - v * dg / ||v||)      Salimans & Kingma 2016, section 2, equation 3
 * v, w, dv, dw [T,C,K] f32; g, dg [K] (columns) or [C] (rows) f32. Sums in f64 over a fixed tree.
 * mask_channels: van den Oord et al. 2016, Pixel Recurrent Neural Networks, figure 2.
 * Memory bound: v is read twice. Arch sm_80+; emulator yes.
 */
#include "common/reduce.cuh"
#include "common/types.cuh"

#define THREADS 256
#define COLUMNS 8 /* 32 bytes of a row: what memory moves at least */
#define LANES (THREADS / COLUMNS)
#define WARPS (THREADS / WARP_SIZE)
#define LEAST 1e-12

/* The sums of two values over the block's threads of a column: all threads where there is one column. */
template <int COLS>
__device__ __forceinline__ double2 column_sum(double2 v, double2 (*partial)[COLS]) {
#pragma unroll
  for (int lanes = WARP_SIZE / 2; lanes >= COLS; lanes /= 2) {
    v.x += __shfl_xor_sync(FULL_WARP, v.x, lanes);
    v.y += __shfl_xor_sync(FULL_WARP, v.y, lanes);
  }
  const int column = threadIdx.x % COLS;
  if (threadIdx.x % WARP_SIZE < COLS) partial[threadIdx.x / WARP_SIZE][column] = v;
  __syncthreads();
  v = make_double2(0.0, 0.0);
#pragma unroll
  for (int i = 0; i < WARPS; ++i) {
    v.x += partial[i][column].x;
    v.y += partial[i][column].y;
  }
  return v;
}

/* Calls f(at) for each element that belongs to the thread's index i along the axis. [T,C,K]; the axis is K
 * where COLS > 1 (a block has COLS neighbouring columns), else C (a block has one). */
template <int COLS, class F>
__device__ __forceinline__ void for_index(int T, int C, int K, int i, F f) {
  const int lane = threadIdx.x / COLS;
  if (COLS > 1) {
    if (i < K) {
      for (long long row = lane; row < (long long)T * C; row += THREADS / COLS) f(row * K + i);
    }
  } else {
    for (int t = 0; t < T; ++t) {
      for (int k = lane; k < K; k += THREADS) f(((long long)t * C + i) * K + k);
    }
  }
}

template <int COLS>
__device__ __forceinline__ void weight_norm(const float* v, const float* g, float* w, int T, int C, int K) {
  SHARED(double2, partial, [WARPS][COLS]);
  const int i = blockIdx.x * COLS + threadIdx.x % COLS;
  double2 sums = make_double2(0.0, 0.0);
  for_index<COLS>(T, C, K, i, [&](long long at) { sums.x += (double)v[at] * v[at]; });
  sums = column_sum<COLS>(sums, partial);
  const bool own = COLS == 1 || i < K;
  const float factor = own ? (float)(g[i] / sqrt(sums.x > LEAST ? sums.x : LEAST)) : 0.0f;
  for_index<COLS>(T, C, K, i, [&](long long at) { w[at] = v[at] * factor; });
}

template <int COLS>
__device__ __forceinline__ void weight_norm_backward(const float* v, const float* g, const float* dw,
                                                     float* dv, float* dg, int T, int C, int K) {
  SHARED(double2, partial, [WARPS][COLS]);
  const int i = blockIdx.x * COLS + threadIdx.x % COLS;
  double2 sums = make_double2(0.0, 0.0);
  for_index<COLS>(T, C, K, i, [&](long long at) {
    sums.x += (double)v[at] * v[at];
    sums.y += (double)dw[at] * v[at];
  });
  sums = column_sum<COLS>(sums, partial);
  if (COLS > 1 && i >= K) return;
  const double norm = sqrt(sums.x > LEAST ? sums.x : LEAST);
  const double slope = sums.y / norm;
  const double scale = g[i] / norm;
  const float of_dw = (float)scale;
  const float of_v = sums.x > LEAST ? (float)(-scale * slope / norm) : 0.0f;
  for_index<COLS>(T, C, K, i, [&](long long at) { dv[at] = dw[at] * of_dw + v[at] * of_v; });
  if (threadIdx.x < COLS) dg[i] = (float)slope;
}

/* axis K: grid (ceil(K / 8)); axis C: grid (C) */
#define EACH(axis, COLS)                                                                             \
  extern "C" __global__ void __launch_bounds__(THREADS)                                              \
      weight_norm_##axis##_f32(const float* RESTRICT v, const float* RESTRICT g, float* RESTRICT w,  \
                               int T, int C, int K) {                                                \
    weight_norm<COLS>(v, g, w, T, C, K);                                                             \
  }                                                                                                  \
  KERNEL(weight_norm_##axis##_f32, THREADS)                                                          \
  extern "C" __global__ void __launch_bounds__(THREADS) weight_norm_backward_##axis##_f32(           \
      const float* RESTRICT v, const float* RESTRICT g, const float* RESTRICT dw,                    \
      float* RESTRICT dv, float* RESTRICT dg, int T, int C, int K) {                                 \
    weight_norm_backward<COLS>(v, g, dw, dv, dg, T, C, K);                                           \
  }                                                                                                  \
  KERNEL(weight_norm_backward_##axis##_f32, THREADS)

EACH(columns, COLUMNS)
EACH(rows, 1)

/* w, y [T,C,K] f32: at tap `centre` the first `hidden` outputs of input channel c become zero, hidden =
 * (c / inputsPerColour + strict) * outputsPerColour, for the first C - free channels. */
extern "C" __global__ void __launch_bounds__(THREADS)
    mask_channels_f32(const float* RESTRICT w, float* RESTRICT y, int T, int C, int K, int centre,
                      int colours, int strict, int free) {
  const long long at = (long long)blockIdx.x * THREADS + threadIdx.x;
  if (at >= (long long)T * C * K) return;
  const int k = (int)(at % K);
  const int c = (int)(at / K % C);
  const int t = (int)(at / K / C);
  const int hidden = (c / ((C - free) / colours) + strict) * (K / colours);
  y[at] = t == centre && c < C - free && k < hidden ? 0.0f : w[at];
}
KERNEL(mask_channels_f32, THREADS)
