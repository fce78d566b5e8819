/* group_norm.cu - GroupNorm, forward.
 * y = (x - mean) * rstd * gamma + beta    Wu & He 2018, section 3
 * x, y [N,HW,C] f32; gamma, beta [C] f32; mean, rstd [N,G] f32 are written for the backward pass
 * Needs C % G == 0 (the caller checks). Work: 3 reads + 1 write of x; memory bound.
 * The variance is of the differences from the mean, in a second pass: no cancellation.
 * Sums in f32 over a fixed tree: same bits every run. Arch sm_80+; emulator yes.
 */
#include "common/portable.cuh"
#include "common/reduce.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP_SIZE)

/* grid (G, N), block 256: one block a group of one sample. */
extern "C" __global__ void __launch_bounds__(THREADS)
    group_norm_f32(const float* RESTRICT x,      // [N,HW,C]
                   const float* RESTRICT gamma,  // [C]
                   const float* RESTRICT beta,   // [C]
                   float* RESTRICT y,            // [N,HW,C]
                   float* RESTRICT mean,         // [N,G]
                   float* RESTRICT rstd,         // [N,G]
                   int HW, int C, int G, float eps) {
  SHARED(float, partial, [2][WARPS]);
  const int g = blockIdx.x;
  const int n = blockIdx.y;
  const int D = C / G;  // channels in a group
  const long long count = (long long)HW * D;
  const long long start = (long long)n * HW * C + (long long)g * D;

  float sum = 0.0f;
  for (long long i = threadIdx.x; i < count; i += THREADS) {
    sum += x[start + i / D * C + i % D];
  }
  const float mu = block_sum<WARPS>(sum, partial[0]) / (float)count;

  float squares = 0.0f;
  for (long long i = threadIdx.x; i < count; i += THREADS) {
    const float d = x[start + i / D * C + i % D] - mu;
    squares += d * d;
  }
  // Its own row of partial: a slow warp may still read the first.
  const float variance = block_sum<WARPS>(squares, partial[1]) / (float)count;
  const float scale = 1.0f / sqrtf(variance + eps);

  for (long long i = threadIdx.x; i < count; i += THREADS) {
    const long long at = start + i / D * C + i % D;
    const int c = g * D + (int)(i % D);
    y[at] = (x[at] - mu) * scale * gamma[c] + beta[c];
  }
  if (threadIdx.x == 0) {
    mean[n * G + g] = mu;
    rstd[n * G + g] = scale;
  }
}
KERNEL(group_norm_f32, THREADS)
