/* image_likelihood.cu - negative log-likelihood of whole images, and its gradient.
 * Of each row of parameters [M,Q,P*C] (P blocks of C channels a pixel, Q pixels), against targets [N,Q,C] of image
 * m % N, u8 below `levels` or f32, x = 2 t - 1, t = level / (levels-1):
 * bernoulli: softplus(l) - t l                                       Kingma & Welling 2014, appendix C.1
 * gaussian: (log(2 pi) + v + (x - mean)^2 exp(-v)) / 2               appendix C.2
 * squared: (x - mean)^2 / 2
 * logistic: -log(S(a) - S(b)), the mass of x's bin, as in logistic_mixture.cu: S(a) S(-b) (1 - exp(-w)), w = a - b
 * A level that is not below `levels` is refused. Values in f32, an image's sum in f64 over a fixed tree: same bits
 * every run. nats: a block a row; the gradient: a thread a value. Memory bound. Arch sm_80+; emulator yes.
 */
#include "common/reduce.cuh"
#include "common/refuse.cuh"
#include "common/types.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP_SIZE)
#define LEAST_LOG_SCALE (-7.0f)
#define NARROW 0.5f /* below it 1 - exp(-w) would cancel, and is w times its series */

__device__ __forceinline__ float softplus(float x) {
  return (x < 0.0f ? 0.0f : x) + log1pf(expf(-fabsf(x)));
}

__device__ __forceinline__ float sigmoid(float x) {
  const float e = expf(-fabsf(x));
  return (x < 0.0f ? e : 1.0f) / (1.0f + e);
}

struct Bernoulli {
  static constexpr int P = 1;
  static constexpr bool OF_SHARES = true; /* t, not x */

  static __device__ __forceinline__ float nats(const float* p, int, float t, float) {
    return softplus(p[0]) - t * p[0];
  }

  static __device__ __forceinline__ void slopes(const float* p, int, float t, float, float* d) {
    d[0] = sigmoid(p[0]) - t;
  }
};

struct Gaussian {
  static constexpr int P = 2;
  static constexpr bool OF_SHARES = false;

  static __device__ __forceinline__ float nats(const float* p, int C, float x, float) {
    const float d = x - p[0];
    return 0.5f * (1.8378770664f + p[C] + d * d * expf(-p[C]));
  }

  static __device__ __forceinline__ void slopes(const float* p, int C, float x, float, float* d) {
    const float distance = p[0] - x;
    d[0] = distance * expf(-p[C]);
    d[1] = 0.5f - 0.5f * distance * d[0];
  }
};

struct Squared {
  static constexpr int P = 1;
  static constexpr bool OF_SHARES = false;

  static __device__ __forceinline__ float nats(const float* p, int, float x, float) {
    const float d = x - p[0];
    return 0.5f * d * d;
  }

  static __device__ __forceinline__ void slopes(const float* p, int, float x, float, float* d) {
    d[0] = p[0] - x;
  }
};

/* (1 - exp(-w)) / w for w below NARROW. */
__device__ __forceinline__ float narrow_share(float w) {
  float share = 1.0f;
#pragma unroll
  for (int k = 8; k > 1; --k) share = 1.0f - w / (float)k * share;
  return share;
}

struct Logistic {
  static constexpr int P = 2;
  static constexpr bool OF_SHARES = false;

  static __device__ __forceinline__ float nats(const float* p, int C, float x, float half) {
    const float s = p[C] < LEAST_LOG_SCALE ? LEAST_LOG_SCALE : p[C];
    const float inverse = expf(-s);
    float sum = 0.0f;
    if (x < 1.0f) sum += softplus(-inverse * (x - p[0] + half));
    if (x > -1.0f) sum += softplus(inverse * (x - p[0] - half));
    if (x < 1.0f && x > -1.0f) {
      const float w = 2.0f * half * inverse;
      // the logarithm of w without w, which may underflow
      sum -= w < NARROW ? logf(2.0f * half) - s + logf(narrow_share(w)) : log1pf(-expf(-w));
    }
    return sum;
  }

  static __device__ __forceinline__ void slopes(const float* p, int C, float x, float half, float* d) {
    const float inverse = expf(-(p[C] < LEAST_LOG_SCALE ? LEAST_LOG_SCALE : p[C]));
    float mean = 0.0f;
    float scale = 0.0f;
    if (x < 1.0f) {
      const float a = inverse * (x - p[0] + half);
      mean += sigmoid(-a);
      scale += a * sigmoid(-a);
    }
    if (x > -1.0f) {
      const float b = inverse * (x - p[0] - half);
      mean -= sigmoid(b);
      scale -= b * sigmoid(b);
    }
    if (x < 1.0f && x > -1.0f) {
      const float w = 2.0f * half * inverse;
      const float e = expf(-w);
      scale += w < NARROW ? e / narrow_share(w) : w * e / (1.0f - e);
    }
    d[0] = inverse * mean;
    d[1] = p[C] < LEAST_LOG_SCALE ? 0.0f * scale : scale;
  }
};

/* What a target is compared as; NaN where it is refused. The first and the last level are x = -1 and 1. */
template <class Kind>
__device__ __forceinline__ float compared(u8 level, int levels, int image, Refusal* refusal) {
  if (level >= levels) {
    refuse(refusal, REFUSED_PIXEL, image, level, levels);
    return NAN_F32;
  }
  return (float)(Kind::OF_SHARES ? level : 2 * level - (levels - 1)) / (float)(levels - 1);
}

template <class Kind>
__device__ __forceinline__ float compared(float x, int, int, Refusal*) {
  return x;
}

/* nats [M]; grid (M) */
template <class Kind, class X>
__device__ __forceinline__ void image_likelihood(const float* parameters, const X* targets, float* nats,
                                                 Refusal* refusal, int N, int E, int C, int levels) {
  SHARED(double, partial, [WARPS]);
  const int image = blockIdx.x % N;
  const float* const row = parameters + (long long)blockIdx.x * E * Kind::P;
  const float half = 1.0f / (float)(levels - 1);
  double sum = 0.0;
  for (int i = threadIdx.x; i < E; i += THREADS) {
    const float x = compared<Kind>(targets[(long long)image * E + i], levels, image, refusal);
    const float own = Kind::nats(row + (long long)(i / C) * Kind::P * C + i % C, C, x, half);
    sum += x == x ? own : x;
  }
  sum = block_sum<WARPS>(sum, partial);
  if (threadIdx.x == 0) nats[blockIdx.x] = (float)sum;
}

/* dnats [M]; gradient like the parameters; grid (ceil(M * E / THREADS)) */
template <class Kind, class X, class G>
__device__ __forceinline__ void image_likelihood_backward(const float* parameters, const X* targets,
                                                          const float* dnats, G* gradient,
                                                          Refusal* refusal, long long elements, int N,
                                                          int E, int C, int levels) {
  const long long at = (long long)blockIdx.x * THREADS + threadIdx.x;
  if (at >= elements) return;
  const int m = (int)(at / E);
  const int image = m % N;
  const float x = compared<Kind>(targets[(long long)image * E + at % E], levels, image, refusal);
  const long long first = at / C * Kind::P * C + at % C;
  float d[Kind::P];
  Kind::slopes(parameters + first, C, x, 1.0f / (float)(levels - 1), d);
#pragma unroll
  for (int k = 0; k < Kind::P; ++k) {
    gradient[first + k * C] = Convert<G>::from(x == x ? d[k] * dnats[m] : x);
  }
}

#define EACH(Kind, name, X, of)                                                                        \
  extern "C" __global__ void __launch_bounds__(THREADS) image_likelihood_##name##_##of##_f32(          \
      const float* RESTRICT parameters, const X* RESTRICT targets, float* RESTRICT nats,               \
      Refusal* RESTRICT refusal, int N, int E, int C, int levels) {                                    \
    image_likelihood<Kind>(parameters, targets, nats, refusal, N, E, C, levels);                       \
  }                                                                                                    \
  KERNEL(image_likelihood_##name##_##of##_f32, THREADS)                                                \
  EACH_BACKWARD(Kind, name, X, of, float, f32)                                                         \
  EACH_BACKWARD(Kind, name, X, of, bf16, bf16)

#define EACH_BACKWARD(Kind, name, X, of, G, to)                                                        \
  extern "C" __global__ void __launch_bounds__(THREADS) image_likelihood_backward_##name##_##of##_##to( \
      const float* RESTRICT parameters, const X* RESTRICT targets, const float* RESTRICT dnats,        \
      G* RESTRICT gradient, Refusal* RESTRICT refusal, long long elements, int N, int E, int C,        \
      int levels) {                                                                                    \
    image_likelihood_backward<Kind>(parameters, targets, dnats, gradient, refusal, elements, N, E, C,  \
                                    levels);                                                           \
  }                                                                                                    \
  KERNEL(image_likelihood_backward_##name##_##of##_##to, THREADS)

EACH(Bernoulli, bernoulli, u8, u8)
EACH(Gaussian, gaussian, u8, u8)
EACH(Gaussian, gaussian, float, f32)
EACH(Squared, squared, u8, u8)
EACH(Squared, squared, float, f32)
EACH(Logistic, logistic, u8, u8)
