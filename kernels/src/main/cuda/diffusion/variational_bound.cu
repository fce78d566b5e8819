/* variational_bound.cu - a term of a diffusion model's variational bound, and its gradient for the variance.
 * KL(q(x_{t-1} | x_t, p) || N(mean, exp(L))), or -log of the pixel's probability     Ho et al. 2020, equations 5, 13
 * L = w logMost + (1 - w) logLeast, w = (v + 1) / 2                   Nichol and Dhariwal 2021, sections 2.1, 3.1
 * prediction, v [N,E] f32 or bf16; x [N,E] f32; images [N,E] u8; times [N]; table [T,8]; E elements an image.
 * v may be null: w = 1. In f64, since bins far from the mean have next to no mass; sums over a fixed tree.
 * Bound by f64 arithmetic. Arch sm_80+; emulator yes.
 */
#include "common/reduce.cuh"
#include "common/refuse.cuh"
#include "common/types.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP_SIZE)
#define COLUMNS 8
#define ROOT_2 1.4142135623730951
#define ROOT_2_PI 2.5066282746310002

/* Quotient of two polynomials, the highest powers first. */
template <int N>
__device__ __forceinline__ double quotient(double x, const double (&over)[N], const double (&under)[N]) {
  double a = over[0];
  double b = under[0];
#pragma unroll
  for (int i = 1; i < N; ++i) {
    a = a * x + over[i];
    b = b * x + under[i];
  }
  return a / b;
}

/* erf below 0.46875                                 Cody 1969, Rational Chebyshev Approximations for the Error Function */
__device__ __forceinline__ double small_erf(double x) {
  const double over[] = {1.85777706184603153e-1, 3.16112374387056560e00, 1.13864154151050156e02,
                         3.77485237685302021e02, 3.20937758913846947e03};
  const double under[] = {1.0, 2.36012909523441209e01, 2.44024637934444173e02, 1.28261652607737228e03,
                          2.84423683343917062e03};
  return x * quotient(x * x, over, under);
}

/* exp(x^2) (1 - erf(x)) of x not negative: it does not underflow. */
__device__ __forceinline__ double scaled_erfc(double x) {
  if (x < 0.46875) return exp(x * x) * (1.0 - small_erf(x));
  if (x < 4.0) {
    const double over[] = {2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594e0,
                           6.61191906371416295e01, 2.98635138197400131e02, 8.81952221241769090e02,
                           1.71204761263407058e03, 2.05107837782607147e03, 1.23033935479799725e03};
    const double under[] = {1.0,
                            1.57449261107098347e01,
                            1.17693950891312499e02,
                            5.37181101862009858e02,
                            1.62138957456669019e03,
                            3.29079923573345963e03,
                            4.36261909014324716e03,
                            3.43936767414372164e03,
                            1.23033935480374942e03};
    return quotient(x, over, under);
  }
  const double over[] = {1.63153871373020978e-2, 3.05326634961232344e-1, 3.60344899949804439e-1,
                         1.25781726111229246e-1, 1.60837851487422766e-2, 6.58749161529837803e-4};
  const double under[] = {1.0,
                          2.56852019228982242e00,
                          1.87295284992346725e00,
                          5.27905102951428412e-1,
                          6.05183413124413191e-2,
                          2.33520497626869185e-3};
  const double z = 1.0 / (x * x);
  return (0.56418958354775628695 - z * quotient(z, over, under)) / x;
}

__device__ __forceinline__ double erfc_of(double x) { return exp(-x * x) * scaled_erfc(x); }

__device__ __forceinline__ double erf_of(double x) { return x < 0.46875 ? small_erf(x) : 1.0 - erfc_of(x); }

/* A bin of a normal distribution, from a to b deviations from its mean; mirrored so that b is the farther end.
 * It lacks b where it is the first or the last: D is no farther out than those. */
struct Bin {
  double a, b;
  bool open;
  double mass; /* over the density at a, where a is above 0: both may be next to nothing */
  double rest; /* what mass lacks to 1, where a is not */
  double fall; /* of the density from a to b */

  __device__ __forceinline__ Bin(double mean, double log_variance, int level) {
    const double inverse = exp(-0.5 * log_variance);
    open = level == 0 || level == 255;
    /* of whole numbers, so that neighbours have the same edge */
    const double lower = (2 * level - 256) / 255.0 - mean;
    const double upper = (2 * level - 254) / 255.0 - mean;
    const bool mirrored = level / 127.5 - 1.0 <= mean;
    a = (mirrored ? -upper : lower) * inverse;
    b = (mirrored ? -lower : upper) * inverse;
    const double near = fabs(a) / ROOT_2;
    const double far = b / ROOT_2;
    if (a > 0.0) {
      fall = open ? 0.0 : exp(-0.5 * (b - a) * (b + a));
      rest = 1.0;
      mass = 0.5 * ROOT_2_PI * (scaled_erfc(near) - (open ? 0.0 : fall * scaled_erfc(far)));
    } else {
      fall = 1.0;
      rest = 0.5 * (erfc_of(near) + (open ? 0.0 : erfc_of(far)));
      mass = 0.5 * (erf_of(near) + (open ? 1.0 : erf_of(far)));
    }
  }

  __device__ __forceinline__ double nats() const {
    if (a > 0.0) return 0.5 * a * a + log(ROOT_2_PI) - log(mass);
    return rest < 0.5 ? -log1p(-rest) : -log(mass);
  }

  __device__ __forceinline__ double by_log_variance() const {
    const double at_a = a > 0.0 ? 1.0 : exp(-0.5 * a * a) / ROOT_2_PI;
    const double at_b = open ? 0.0 : a > 0.0 ? fall : exp(-0.5 * b * b) / ROOT_2_PI;
    return -0.5 * (a * at_a - b * at_b) / mass;
  }
};

/* An element of a bound: what its term is made of. row: pX, pF, cD, logTrue, logLeast, logMost, decoder. */
struct Element {
  int level;
  double denoised;
  double log_variance;

  template <class T>
  __device__ __forceinline__ Element(const float* row, const T* prediction, const float* x, const u8* images,
                                     const T* v, long long at) {
    level = images[at];
    const double d = (double)row[0] * x[at] + (double)row[1] * to_float(prediction[at]);
    denoised = d < -1.0 ? -1.0 : d > 1.0 ? 1.0 : d;
    const double w = v ? (to_float(v[at]) + 1.0) / 2.0 : 1.0;
    log_variance = v ? w * row[5] + (1.0 - w) * row[4] : row[5];
  }
};

__device__ __forceinline__ double term(const float* row, const Element& e) {
  if (row[6] != 0.0f) return Bin(e.denoised, e.log_variance, e.level).nats();
  const double difference = row[2] * (e.level / 127.5 - 1.0 - e.denoised);
  const double ratio = row[3] - e.log_variance;
  return 0.5 * (expm1(ratio) - ratio + difference * difference * exp(-e.log_variance));
}

/* The derivative of a term by the logarithm of the variance. */
__device__ __forceinline__ double by_log_variance(const float* row, const Element& e) {
  if (row[6] != 0.0f) return Bin(e.denoised, e.log_variance, e.level).by_log_variance();
  const double difference = row[2] * (e.level / 127.5 - 1.0 - e.denoised);
  return 0.5 * (-expm1(row[3] - e.log_variance) - difference * difference * exp(-e.log_variance));
}

/* Of the table, that of an image's time; null where there is no such row. */
__device__ __forceinline__ const float* row_of(const float* times, const float* table, int n, int T,
                                               Refusal* refusal) {
  const float time = times[n];
  if (time >= 1.0f && time <= (float)T && time == floorf(time)) return table + ((long long)time - 1) * COLUMNS;
  refuse(refusal, REFUSED_BOUND, n, 0, T);
  return nullptr;
}

/* terms [N]; a block an image. */
template <class T>
__device__ __forceinline__ void variational_bound(const T* prediction, const float* x, const u8* images,
                                                  const float* times, const float* table, const T* v,
                                                  float* terms, Refusal* refusal, int E, int rows) {
  SHARED(double, partial, [WARPS]);
  const float* const row = row_of(times, table, blockIdx.x, rows, refusal);
  const long long first = (long long)blockIdx.x * E;
  double sum = 0.0;
  for (long long i = threadIdx.x; row && i < E; i += THREADS) {
    sum += term(row, Element(row, prediction, x, images, v, first + i));
  }
  sum = block_sum<WARPS>(sum, partial);
  if (threadIdx.x == 0) terms[blockIdx.x] = row ? (float)(sum / E) : NAN_F32;
}

/* d [N,E]; scale: of the mean, over all elements. */
template <class T>
__device__ __forceinline__ void variational_bound_backward(const T* prediction, const float* x,
                                                           const u8* images, const float* times,
                                                           const float* table, const T* v,
                                                           const float* dmean, T* d, Refusal* refusal,
                                                           long long elements, int E, int rows,
                                                           double scale) {
  const long long at = (long long)blockIdx.x * THREADS + threadIdx.x;
  if (at >= elements) return;
  const float* const row = row_of(times, table, (int)(at / E), rows, refusal);
  double slope = NAN_F32;
  if (row) {
    const double spread = 0.5 * ((double)row[5] - row[4]);
    slope = scale * *dmean * spread * by_log_variance(row, Element(row, prediction, x, images, v, at));
  }
  d[at] = Convert<T>::from((float)slope);
}

/* Of one block: for more of them ptxas would keep to 64 registers, and spill. */
#define EACH(T, suffix)                                                                                  \
  extern "C" __global__ void __launch_bounds__(THREADS, 1) variational_bound_##suffix(                   \
      const T* RESTRICT prediction, const float* RESTRICT x, const u8* RESTRICT images,                  \
      const float* RESTRICT times, const float* RESTRICT table, const T* RESTRICT v,                     \
      float* RESTRICT terms, Refusal* RESTRICT refusal, int E, int rows) {                               \
    variational_bound(prediction, x, images, times, table, v, terms, refusal, E, rows);                  \
  }                                                                                                      \
  KERNEL(variational_bound_##suffix, THREADS)                                                            \
  extern "C" __global__ void __launch_bounds__(THREADS) variational_bound_backward_##suffix(             \
      const T* RESTRICT prediction, const float* RESTRICT x, const u8* RESTRICT images,                  \
      const float* RESTRICT times, const float* RESTRICT table, const T* RESTRICT v,                     \
      const float* RESTRICT dmean, T* RESTRICT d, Refusal* RESTRICT refusal, long long elements, int E,  \
      int rows, double scale) {                                                                          \
    variational_bound_backward(prediction, x, images, times, table, v, dmean, d, refusal, elements, E,   \
                               rows, scale);                                                             \
  }                                                                                                      \
  KERNEL(variational_bound_backward_##suffix, THREADS)

EACH(float, f32)
EACH(bf16, bf16)
