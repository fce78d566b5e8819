/* iaf_step.cu - one step of an inverse autoregressive flow, and its gradient.
 * y = g z + (1 - g) m, g = sigmoid(s); log_determinant [M] = the sum of log g over a row
 * Kingma et al. 2016, Improved Variational Inference with Inverse Autoregressive Flow, section 4
 * z, y [M,E] f32; said [M,2E]: along the last axis D values m, then D values s. Values in f32, a row's sum in f64
 * over a fixed tree: same bits every run. The step: a block a row; the gradient: a thread a value. Memory bound.
 * Arch sm_80+; emulator yes.
 */
#include "common/reduce.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP_SIZE)

/* g and 1 - g, either to its last bits; small = exp(-|s|) */
struct Gate {
  float kept;
  float rest;
  float small;

  __device__ __forceinline__ Gate(float s) {
    small = expf(-fabsf(s));
    const float large = 1.0f / (1.0f + small);
    kept = s < 0.0f ? small * large : large;
    rest = s < 0.0f ? large : small * large;
  }
};

/* grid (M) */
extern "C" __global__ void __launch_bounds__(THREADS)
    iaf_step(const float* RESTRICT z, const float* RESTRICT said, float* RESTRICT y,
             float* RESTRICT log_determinant, int E, int D) {
  SHARED(double, partial, [WARPS]);
  double sum = 0.0;
  for (int i = threadIdx.x; i < E; i += THREADS) {
    const long long at = (long long)blockIdx.x * E + i;
    const float* const told = said + at + at / D * D;
    const float s = told[D];
    const Gate gate(s);
    y[at] = gate.kept * z[at] + gate.rest * told[0];
    sum += (s > 0.0f ? 0.0f : s) - log1pf(gate.small);
  }
  sum = block_sum<WARPS>(sum, partial);
  if (threadIdx.x == 0) log_determinant[blockIdx.x] = (float)sum;
}
KERNEL(iaf_step, THREADS)

/* dy, dz [M,E]; dlog_determinant [M]; dsaid [M,2E]; grid (ceil(M * E / THREADS)) */
extern "C" __global__ void __launch_bounds__(THREADS)
    iaf_step_backward(const float* RESTRICT z, const float* RESTRICT said, const float* RESTRICT dy,
                      const float* RESTRICT dlog_determinant, float* RESTRICT dz, float* RESTRICT dsaid,
                      long long elements, int E, int D) {
  const long long at = (long long)blockIdx.x * THREADS + threadIdx.x;
  if (at >= elements) return;
  const long long told = at + at / D * D;
  const Gate gate(said[told + D]);
  dz[at] = gate.kept * dy[at];
  dsaid[told] = gate.rest * dy[at];
  dsaid[told + D] =
      gate.rest * (gate.kept * (z[at] - said[told]) * dy[at] + dlog_determinant[at / E]);
}
KERNEL(iaf_step_backward, THREADS)
