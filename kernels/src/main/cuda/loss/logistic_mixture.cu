/* logistic_mixture.cu - negative log-likelihood of pixels under discretized logistics, and its gradient.
 * Salimans et al. 2017, PixelCNN++, sections 2.1 and 2.2. p(x) = sum_m pi_m prod_c (S(a) - S(b)), S the
 * logistic function, a and b the ends of the value's bin in units of the scale; green's means depend on
 * red, blue's on both. S(a) - S(b) = S(a) * S(-b) * (1 - exp(b - a)): neither cancels nor underflows.
 * parameters, gradient [rows,P]: M mixture logits, then for each colour M means, M log-scales and, for
 * C = 3, M coefficients; P = 3M or 10M. images [rows,C] u8; a value that is not below `levels` is refused.
 * One warp a pixel, a lane a component, in f64: there are few of these pixels, and means and scales of
 * very different size. Arch sm_80+; emulator yes.
 */
#include "common/reduce.cuh"
#include "common/refuse.cuh"
#include "common/types.cuh"

#define THREADS 128
#define PIXELS (THREADS / WARP_SIZE)
#define LEAST_LOG_SCALE (-7.0)

/* factor * exp(x) summed up, with x as large as it likes: sum * exp(most). */
struct LogSum {
  double most;
  double sum;

  __device__ __forceinline__ void add(double x, double factor) {
    if (x > most) {
      sum = sum * exp(most - x) + factor;
      most = x;
    } else {
      sum += factor * exp(x - most);
    }
  }

  /* Over the lanes of a warp. */
  __device__ __forceinline__ double total() {
    const double all = warp_max(most);
    return all + log(warp_sum(sum == 0.0 ? 0.0 : sum * exp(most - all)));
  }
};

/* One component at one pixel. */
template <int C>
struct Component {
  double x;            // posterior's logarithm, less that of factor
  double factor;       // between 1 and a 10,000th
  double by_mean[C];   // the logarithm's slopes
  double by_scale[C];
  double tanh_of[3];

  /* What may underflow of a bin's mass goes to x, the rest to factor, which spares a logarithm. A bin at
   * an end of the range lacks the terms of its other side. */
  __device__ __forceinline__ void bin(int level, int levels, double half, double distance,
                                      double log_scale, int c) {
    const double clamped = log_scale > LEAST_LOG_SCALE ? log_scale : LEAST_LOG_SCALE;
    const double inverse = exp(-clamped);
    const double a = inverse * (distance + half);
    const double b = inverse * (distance - half);
    double mean, scale;
    if (level == 0) {
      const double e = exp(-fabs(a));
      const double r = 1.0 / (1.0 + e);
      x -= -a > 0.0 ? -a : 0.0;
      factor *= r;
      const double tail = a > 0.0 ? e * r : r;
      mean = -inverse * tail;
      scale = -a * tail;
    } else if (level == levels - 1) {
      const double e = exp(-fabs(b));
      const double r = 1.0 / (1.0 + e);
      x -= b > 0.0 ? b : 0.0;
      factor *= r;
      const double tail = b > 0.0 ? r : e * r;
      mean = inverse * tail;
      scale = b * tail;
    } else {
      const double width = 2.0 * half * inverse;
      const bool narrow = width < 1e-3;
      const double share = 1.0 - width * (0.5 - width * (1.0 / 6.0 - width * (1.0 / 24.0)));
      const double e = narrow ? 1.0 - width * share : exp(-width);
      const double ea = exp(-fabs(a));
      const double eb = exp(-fabs(b));
      const double r = 1.0 / ((1.0 + ea) * (1.0 + eb));
      // 1 - exp would cancel where it is narrow, and underflow where the scale is large
      factor *= r * (narrow ? share : 1.0 - e);
      x -= (-a > 0.0 ? -a : 0.0) + (b > 0.0 ? b : 0.0) - (narrow ? log(2.0 * half) - clamped : 0.0);
      const double upper = r * (1.0 + eb) * (a > 0.0 ? ea : 1.0);
      const double lower = r * (1.0 + ea) * (b > 0.0 ? 1.0 : eb);
      const double inside = narrow ? 1.0 - width * (0.5 - width * (1.0 / 12.0)) : width * e / (1.0 - e);
      mean = inverse * (lower - upper);
      scale = b * lower - a * upper - inside;
    }
    by_mean[c] = mean;
    by_scale[c] = log_scale < LEAST_LOG_SCALE ? 0.0 : scale;
  }

  /* p the pixel's parameters, values its colours in [-1,1]. */
  __device__ __forceinline__ void look(const float* p, int m, int M, const int* level, const double* values,
                                       int levels) {
    const int each = C == 3 ? 3 : 2;
    const double half = 1.0 / (levels - 1);
    x = p[m];
    factor = 1.0;
    if (C == 3) {
#pragma unroll
      for (int c = 0; c < 3; ++c) tanh_of[c] = tanh((double)p[M * (1 + c * each + 2) + m]);
    }
#pragma unroll
    for (int c = 0; c < C; ++c) {
      double mean = p[M * (1 + c * each) + m];
      if (c == 1) mean += tanh_of[0] * values[0];
      if (c == 2) mean += tanh_of[1] * values[0] + tanh_of[2] * values[1];
      bin(level[c], levels, half, values[c] - mean, p[M * (1 + c * each + 1) + m], c);
    }
  }
};

/* Returns whether all colours are below `levels`. */
template <int C>
__device__ __forceinline__ bool read_pixel(const u8* images, long long row, int levels, Refusal* refusal,
                                           int* level, double* values) {
  bool good = true;
#pragma unroll
  for (int c = 0; c < C; ++c) {
    level[c] = images[row * C + c];
    values[c] = level[c] * 2.0 / (levels - 1) - 1.0;
    if (level[c] >= levels) refuse(refusal, REFUSED_LEVEL, (int)row, level[c], levels);
    good = good && level[c] < levels;
  }
  return good;
}

/* The logarithms of the two sums over components: prior and posterior. */
template <int C>
__device__ __forceinline__ double2 log_sums(const float* p, int M, const int* level, const double* values,
                                            int levels) {
  LogSum prior = {-1e300, 0.0};
  LogSum posterior = {-1e300, 0.0};
  for (int m = threadIdx.x % WARP_SIZE; m < M; m += WARP_SIZE) {
    Component<C> one;
    one.look(p, m, M, level, values, levels);
    prior.add(p[m], 1.0);
    posterior.add(one.x, one.factor);
  }
  const double of_prior = prior.total();
  return make_double2(of_prior, posterior.total());
}

/* nats [rows] f32; grid (ceil(rows / 4)), block 128 */
template <int C>
__device__ __forceinline__ void logistic_mixture(const float* parameters, const u8* images, float* nats,
                                                 Refusal* refusal, int rows, int M, int levels) {
  const long long row = (long long)blockIdx.x * PIXELS + threadIdx.x / WARP_SIZE;
  if (row >= rows) return;
  const float* p = parameters + row * (C == 3 ? 10 : 3) * M;
  int level[C];
  double values[C];
  const bool good = read_pixel<C>(images, row, levels, refusal, level, values);
  const double2 sums = log_sums<C>(p, M, level, values, levels);
  if (threadIdx.x % WARP_SIZE == 0) nats[row] = good ? (float)(sums.x - sums.y) : NAN_F32;
}

template <int C, class G>
__device__ __forceinline__ void logistic_mixture_backward(const float* parameters, const u8* images,
                                                          const float* dmean, G* gradient, Refusal* refusal,
                                                          int rows, int M, int levels) {
  const long long row = (long long)blockIdx.x * PIXELS + threadIdx.x / WARP_SIZE;
  if (row >= rows) return;
  const int each = C == 3 ? 3 : 2;
  const float* p = parameters + row * (C == 3 ? 10 : 3) * M;
  G* d = gradient + row * (C == 3 ? 10 : 3) * M;
  int level[C];
  double values[C];
  const bool good = read_pixel<C>(images, row, levels, refusal, level, values);
  const double2 sums = log_sums<C>(p, M, level, values, levels);
  const double scale = good ? (double)*dmean / ((double)rows * C) : (double)NAN_F32;
  for (int m = threadIdx.x % WARP_SIZE; m < M; m += WARP_SIZE) {
    Component<C> one;
    one.look(p, m, M, level, values, levels);
    const double prior = exp(p[m] - sums.x);
    const double posterior = one.factor * exp(one.x - sums.y);
    const double share = -posterior * scale;
    d[m] = Convert<G>::from((float)((prior - posterior) * scale));
#pragma unroll
    for (int c = 0; c < C; ++c) {
      d[M * (1 + c * each) + m] = Convert<G>::from((float)(share * one.by_mean[c]));
      d[M * (1 + c * each + 1) + m] = Convert<G>::from((float)(share * one.by_scale[c]));
    }
    if (C == 3) {
      const double green = share * one.by_mean[C == 3 ? 1 : 0];
      const double blue = share * one.by_mean[C == 3 ? 2 : 0];
      const double by[3] = {green * values[0], blue * values[0], blue * values[C == 3 ? 1 : 0]};
#pragma unroll
      for (int c = 0; c < 3; ++c) {
        const double slope = 1.0 - one.tanh_of[c] * one.tanh_of[c];
        d[M * (1 + c * each + 2) + m] = Convert<G>::from((float)(by[c] * slope));
      }
    }
  }
}

#define EACH(C)                                                                                        \
  extern "C" __global__ void __launch_bounds__(THREADS, 3) logistic_mixture_##C##_f32(                    \
      const float* RESTRICT parameters, const u8* RESTRICT images, float* RESTRICT nats,               \
      Refusal* RESTRICT refusal, int rows, int M, int levels) {                                            \
    logistic_mixture<C>(parameters, images, nats, refusal, rows, M, levels);                           \
  }                                                                                                    \
  KERNEL(logistic_mixture_##C##_f32, THREADS)

EACH(1)
EACH(3)

#define EACH_BACKWARD(C, G, to)                                                                        \
  extern "C" __global__ void __launch_bounds__(THREADS, 3) logistic_mixture_backward_##C##_##to(          \
      const float* RESTRICT parameters, const u8* RESTRICT images, const float* RESTRICT dmean,        \
      G* RESTRICT gradient, Refusal* RESTRICT refusal, int rows, int M, int levels) {                      \
    logistic_mixture_backward<C>(parameters, images, dmean, gradient, refusal, rows, M, levels);       \
  }                                                                                                    \
  KERNEL(logistic_mixture_backward_##C##_##to, THREADS)

EACH_BACKWARD(1, float, f32)
EACH_BACKWARD(1, bf16, bf16)
EACH_BACKWARD(3, float, f32)
EACH_BACKWARD(3, bf16, bf16)
