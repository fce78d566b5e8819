/* gaussian.cu - latent variables of normal distributions, and what they cost.
 * gaussian_sample: z = mean + exp(v / 2) eps, v the log-variance, and its gradient   Kingma & Welling 2014, section 2.4
 * gaussian_kl: (mean^2 + exp(v) - 1 - v) / 2, of images and of latents, and its gradient            there, appendix B
 * kl_objective: beta w (total - capacity), total = sum of max(free nats, kl), and its gradient
 *     Kingma et al. 2016, appendix C.8; Higgins et al. 2017; Burgess et al. 2018, section 5
 * parameters [N,P,2D] f32: of each position of an image D means, then D log-variances; E = P D latents an image.
 * Samples [S,N,E]. Computed in f64, over fixed trees: these tensors are small. Arch sm_80+; emulator yes.
 */
#include "common/philox.cuh"
#include "common/reduce.cuh"
#include "common/refuse.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP_SIZE)

/* Where latent e of image n has its mean; its log-variance is D further on. */
__device__ __forceinline__ long long mean_at(long long n, int e, int E, int D) {
  return (n * (E / D) + e / D) * 2 * D + e % D;
}

/* z, eps [S,N,E], a thread an element; step [1]. */
extern "C" __global__ void __launch_bounds__(THREADS)
    gaussian_sample_f32(const float* RESTRICT parameters, const double* RESTRICT step, float* RESTRICT z,
                        float* RESTRICT eps, Refusal* RESTRICT refusal, long long elements, int N, int E, int D,
                        unsigned long long seed, int first, int samples, int stream) {
  const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
  if (i >= elements) return;
  const bool whole = is_step(*step);
  if (!whole) refuse(refusal, REFUSED_LATENT, 0, 0, 0);
  const long long n = i / E % N;
  const int e = (int)(i % E);
  const long long number = ((long long)first + n) * samples + i / E / N;
  const float noise =
      whole ? (float)normal(seed, (unsigned)stream, (unsigned)*step, number * E + e) : NAN_F32;
  const float* const mean = parameters + mean_at(n, e, E, D);
  eps[i] = noise;
  z[i] = (float)(mean[0] + exp(0.5 * mean[D]) * noise);
}
KERNEL(gaussian_sample_f32, THREADS)

/* eps, dz [S,N,E]; a thread a latent of an image, of which there are `elements`. */
extern "C" __global__ void __launch_bounds__(THREADS)
    gaussian_sample_backward_f32(const float* RESTRICT parameters, const float* RESTRICT eps,
                                 const float* RESTRICT dz, float* RESTRICT dparameters, long long elements,
                                 int E, int D, int samples) {
  const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
  if (i >= elements) return;
  double mean = 0.0;
  double scaled = 0.0;
  for (int s = 0; s < samples; ++s) {
    const double slope = dz[s * elements + i];
    mean += slope;
    scaled += slope * eps[s * elements + i];
  }
  const long long at = mean_at(i / E, (int)(i % E), E, D);
  dparameters[at] = (float)mean;
  dparameters[at + D] = (float)(scaled * 0.5 * exp(0.5 * parameters[at + D]));
}
KERNEL(gaussian_sample_backward_f32, THREADS)

/* Near a log-variance of 0 exp(v) - 1 - v would cancel: there, by its series. */
__device__ __forceinline__ double nats(double mean, double v) {
  const double excess = fabs(v) < 1e-3 ? v * v * (1.0 / 2 + v * (1.0 / 6 + v * (1.0 / 24))) : expm1(v) - v;
  return 0.5 * (mean * mean + excess);
}

/* kl [N]; a block an image. */
extern "C" __global__ void __launch_bounds__(THREADS)
    gaussian_kl_f32(const float* RESTRICT parameters, float* RESTRICT kl, int E, int D) {
  SHARED(double, partial, [WARPS]);
  double sum = 0.0;
  for (int e = threadIdx.x; e < E; e += THREADS) {
    const float* const mean = parameters + mean_at(blockIdx.x, e, E, D);
    sum += nats(mean[0], mean[D]);
  }
  sum = block_sum<WARPS>(sum, partial);
  if (threadIdx.x == 0) kl[blockIdx.x] = (float)sum;
}
KERNEL(gaussian_kl_f32, THREADS)

/* by_dimension [E]; a block 32 latents, a warp every eighth image. */
extern "C" __global__ void __launch_bounds__(THREADS)
    gaussian_kl_by_dimension_f32(const float* RESTRICT parameters, float* RESTRICT by_dimension, int N, int E,
                                 int D) {
  SHARED(double, partial, [WARPS][WARP_SIZE]);
  const int lane = threadIdx.x % WARP_SIZE;
  const int warp = threadIdx.x / WARP_SIZE;
  const int e = blockIdx.x * WARP_SIZE + lane;
  double sum = 0.0;
  for (int n = warp; e < E && n < N; n += WARPS) {
    const float* const mean = parameters + mean_at(n, e, E, D);
    sum += nats(mean[0], mean[D]);
  }
  partial[warp][lane] = sum;
  __syncthreads();
  if (warp != 0 || e >= E) return;
  for (int w = 1; w < WARPS; ++w) sum += partial[w][lane];
  by_dimension[e] = (float)(sum / N);
}
KERNEL(gaussian_kl_by_dimension_f32, THREADS)

/* dkl [N], dby_dimension [E], either may be null; a thread a latent of an image. */
extern "C" __global__ void __launch_bounds__(THREADS)
    gaussian_kl_backward_f32(const float* RESTRICT parameters, const float* RESTRICT dkl,
                             const float* RESTRICT dby_dimension, float* RESTRICT dparameters,
                             long long elements, int N, int E, int D) {
  const long long i = (long long)blockIdx.x * THREADS + threadIdx.x;
  if (i >= elements) return;
  const long long n = i / E;
  const int e = (int)(i % E);
  double slope = dkl ? dkl[n] : 0.0;
  if (dby_dimension) slope += (double)dby_dimension[e] / N;
  const long long at = mean_at(n, e, E, D);
  dparameters[at] = (float)(slope * parameters[at]);
  dparameters[at + D] = (float)(slope * 0.5 * expm1((double)parameters[at + D]));
}
KERNEL(gaussian_kl_backward_f32, THREADS)

/* How much it costs, and how much of that at which step. */
struct Objective {
  double beta;
  double warmup_steps;
  double free_nats;
  double capacity;
  double capacity_steps;

  /* In every thread of a block. */
  __device__ __forceinline__ double total(const float* kl, int E, double* partial) const {
    double sum = 0.0;
    for (int e = threadIdx.x; e < E; e += THREADS) sum += kl[e] <= free_nats ? free_nats : kl[e];
    return block_sum<WARPS>(sum, partial);
  }
  __device__ __forceinline__ double weight(double step) const {
    return step + 1.0 >= warmup_steps ? beta : beta * ((step + 1.0) / warmup_steps);
  }
  __device__ __forceinline__ double target(double step) const {
    return step >= capacity_steps ? capacity : capacity * (step / capacity_steps);
  }
};

/* objective [1]; kl [E], step [1]. One block. */
extern "C" __global__ void __launch_bounds__(THREADS)
    kl_objective_f32(const float* RESTRICT kl, const double* RESTRICT step, float* RESTRICT objective,
                     Refusal* RESTRICT refusal, int E, Objective of) {
  SHARED(double, partial, [WARPS]);
  const double number = *step;
  const double total = of.total(kl, E, partial);
  if (threadIdx.x != 0) return;
  const bool whole = is_step(number);
  if (!whole) refuse(refusal, REFUSED_OBJECTIVE, 0, 0, 0);
  const double paid = of.capacity == 0.0 ? total : fabs(total - of.target(number));
  *objective = whole ? (float)(of.weight(number) * paid) : NAN_F32;
}
KERNEL(kl_objective_f32, THREADS)

/* dkl [E]; dobjective [1]. One block. */
extern "C" __global__ void __launch_bounds__(THREADS)
    kl_objective_backward_f32(const float* RESTRICT kl, const double* RESTRICT step,
                              const float* RESTRICT dobjective, float* RESTRICT dkl, Refusal* RESTRICT refusal,
                              int E, Objective of) {
  SHARED(double, partial, [WARPS]);
  const double number = *step;
  const double total = of.total(kl, E, partial);
  const bool whole = is_step(number);
  if (!whole) refuse(refusal, REFUSED_OBJECTIVE, 0, 0, 0);
  double slope = of.weight(number) * *dobjective;
  if (of.capacity != 0.0) {
    const double above = total - of.target(number);
    slope *= above > 0.0 ? 1.0 : above < 0.0 ? -1.0 : above;
  }
  for (int e = threadIdx.x; e < E; e += THREADS) {
    // a NaN is neither free nor paid for
    const double own = kl[e] <= of.free_nats ? 0.0 : kl[e] > of.free_nats ? slope : (double)kl[e];
    dkl[e] = whole ? (float)own : NAN_F32;
  }
}
KERNEL(kl_objective_backward_f32, THREADS)
