/* conv_taps.cu - convolution as a list of taps, implicit GEMM, forward.
 * y[n,oh,ow,k] = bias[k] + sum_t sum_c x[n, oh*strideH + dy_t, ow*strideW + dx_t, c] * w[t,c,k]
 * x [N,H,W,C] f32; w [T,C,K] f32; bias [K] f32 or null; taps [T,2] i32 (dy, dx); y [N,OH,OW,K] f32
 * Zero outside the image, so a tap may point anywhere: padding, masks, shifts and dilation are lists.
 * Tile 64 pixels x 64 filters a block, 16 channels a step, 4x4 results a thread.
 * Sums in f32, tap by tap, channel by channel: same bits every run. Arch sm_80+; emulator yes.
 */
#include "common/portable.cuh"

#define TILE_P 64  // pixels
#define TILE_K 64  // filters
#define TILE_C 16  // channels a step
#define PER 4      // results a thread, each way
#define THREADS ((TILE_P / PER) * (TILE_K / PER))

/* grid (ceil(N*OH*OW / 64), ceil(K / 64)), block 256. */
extern "C" __global__ void __launch_bounds__(THREADS, 2)
    conv_taps_f32(const float* RESTRICT x,     // [N,H,W,C]
                  const float* RESTRICT w,     // [T,C,K]
                  const float* RESTRICT bias,  // [K] or null
                  const int* RESTRICT taps,    // [T,2]
                  float* RESTRICT y,           // [N,OH,OW,K]
                  int N, int H, int W, int C, int K, int T, int OH, int OW, int strideH,
                  int strideW) {
  // A column more than used: the threads of a warp write 16 rows at once.
  SHARED(float, xs, [TILE_C][TILE_P + 1]);
  SHARED(float, ws, [TILE_C][TILE_K]);
  const int tid = threadIdx.x;
  const long long pixels = (long long)N * OH * OW;
  const long long firstPixel = (long long)blockIdx.x * TILE_P;
  const int firstFilter = blockIdx.y * TILE_K;

  // The pixels that this thread loads: one channel of every 16th.
  const int loadC = tid % TILE_C;
  const int loadP = tid / TILE_C;
  int sample[PER];
  int row[PER], column[PER];
#pragma unroll
  for (int i = 0; i < PER; ++i) {
    const long long p = firstPixel + loadP + i * (TILE_P / PER);
    const bool inside = p < pixels;
    const long long q = inside ? p : 0;
    sample[i] = (int)(q / ((long long)OH * OW));
    // A pixel past the last reads nothing: no row of the image is this far away.
    row[i] = inside ? (int)(q / OW % OH) * strideH : -(1 << 30);
    column[i] = (int)(q % OW) * strideW;
  }

  const int outP = tid / (TILE_K / PER);
  const int outK = tid % (TILE_K / PER);
  float sum[PER][PER];
#pragma unroll
  for (int i = 0; i < PER; ++i) {
#pragma unroll
    for (int j = 0; j < PER; ++j) sum[i][j] = 0.0f;
  }

  for (int t = 0; t < T; ++t) {
    const int dy = taps[2 * t];
    const int dx = taps[2 * t + 1];
    for (int c0 = 0; c0 < C; c0 += TILE_C) {
      const int c = c0 + loadC;
#pragma unroll
      for (int i = 0; i < PER; ++i) {
        const int h = row[i] + dy;
        const int v = column[i] + dx;
        const bool inside = c < C && h >= 0 && h < H && v >= 0 && v < W;
        xs[loadC][loadP + i * (TILE_P / PER)] =
            inside ? x[(((long long)sample[i] * H + h) * W + v) * C + c] : 0.0f;
      }
#pragma unroll
      for (int i = 0; i < TILE_C * TILE_K / THREADS; ++i) {
        const int wc = tid / TILE_K + i * (THREADS / TILE_K);
        const int k = firstFilter + tid % TILE_K;
        ws[wc][tid % TILE_K] =
            c0 + wc < C && k < K ? w[((long long)t * C + c0 + wc) * K + k] : 0.0f;
      }
      __syncthreads();
#pragma unroll
      for (int s = 0; s < TILE_C; ++s) {
        float a[PER], b[PER];
#pragma unroll
        for (int i = 0; i < PER; ++i) a[i] = xs[s][outP + i * (TILE_P / PER)];
#pragma unroll
        for (int j = 0; j < PER; ++j) b[j] = ws[s][outK + j * (TILE_K / PER)];
#pragma unroll
        for (int i = 0; i < PER; ++i) {
#pragma unroll
          for (int j = 0; j < PER; ++j) sum[i][j] += a[i] * b[j];
        }
      }
      __syncthreads();
    }
  }

#pragma unroll
  for (int i = 0; i < PER; ++i) {
    const long long p = firstPixel + outP + i * (TILE_P / PER);
    if (p >= pixels) continue;
#pragma unroll
    for (int j = 0; j < PER; ++j) {
      const int k = firstFilter + outK + j * (TILE_K / PER);
      if (k < K) y[p * K + k] = sum[i][j] + (bias != nullptr ? bias[k] : 0.0f);
    }
  }
}
KERNEL(conv_taps_f32, THREADS)
