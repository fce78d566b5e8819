/* categorical.cu - categorical latent variables: their draws, relaxed or not, and what they cost in nats.
 * gumbel_softmax: softmax((logits + g) / tau), and its gradient          Jang et al. 2017, section 2
 * categorical_sample: one-hot of the largest of logits + g               Maddison et al. 2017, section 3.1
 * categorical_kl: of q = softmax(logits) sum_k q_k (log q_k + log K), and its gradient
 * categorical_log_probability: sum z * log softmax(logits)
 * logits [N,L,K] f32, L latents of an image, K at most 256; draws [S,N,L,K]. The Gumbel number g of element e of
 * sample s of image n is -log(-log(u)), u of a word of philox(seed, (index / 4, step, stream)), index
 * ((first + n) * S + s) * L * K + e. A warp a latent, in f64: compared and summed up as on the engine's other
 * devices, in a fixed order. Bound by f64 functions. Arch sm_80+; emulator yes.
 */
#include "common/philox.cuh"
#include "common/reduce.cuh"
#include "common/refuse.cuh"
#include "common/types.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP_SIZE)
#define PARTS (256 / WARP_SIZE)

/* A lane's part of a latent's K numbers: k = lane + 32 i. */
struct Own {
  double v[PARTS];

  /* Calls f(i, k) for each of them. */
  template <class F>
  static __device__ __forceinline__ void each(int K, F f) {
#pragma unroll
    for (int i = 0; i < PARTS; ++i) {
      const int k = i * WARP_SIZE + threadIdx.x % WARP_SIZE;
      if (k < K) f(i, k);
    }
  }

  __device__ __forceinline__ void load(const float* from, int K) {
    each(K, [&](int i, int k) { v[i] = from[k]; });
  }

  __device__ __forceinline__ void store(float* to, int K) const {
    each(K, [&](int i, int k) { to[k] = (float)v[i]; });
  }

  /* Of all K, in every lane. */
  __device__ __forceinline__ double sum(int K) const {
    double all = 0.0;
    each(K, [&](int i, int) { all += v[i]; });
    return warp_sum(all);
  }

  __device__ __forceinline__ double largest(int K) const {
    double most = -(double)INFINITY_F32;
    each(K, [&](int i, int) { most = v[i] > most ? v[i] : most; });
    return warp_max(most);
  }

  __device__ __forceinline__ double dot(const Own& other, int K) const {
    double all = 0.0;
    each(K, [&](int i, int) { all += v[i] * other.v[i]; });
    return warp_sum(all);
  }

  __device__ __forceinline__ void log_softmax(int K) {
    const double most = largest(K);
    double all = 0.0;
    each(K, [&](int i, int) { all += exp(v[i] - most); });
    const double log_sum = most + log(warp_sum(all));
    each(K, [&](int i, int) { v[i] -= log_sum; });
  }

  /* Of logarithms of probabilities, the mean under them. */
  __device__ __forceinline__ double negative_entropy(int K) const {
    double all = 0.0;
    each(K, [&](int i, int) { all += exp(v[i]) * v[i]; });
    return warp_sum(all);
  }
};

struct Draws {
  unsigned long long seed;
  int first;   // number of the first image
  int stream;
  int N, L, S;
};

struct Temperature {
  double start, least, rate;

  __device__ __forceinline__ double at(double step) const {
    const double tau = start * exp(-rate * step);
    return tau > least ? tau : least;
  }
};

/* Standard Gumbel number `index`; never infinite. */
__device__ __forceinline__ double gumbel(const Draws& d, unsigned step, long long index) {
  const unsigned long long block = (unsigned long long)index / 4;
  const uint4 words = philox(
      d.seed, make_uint4((unsigned)block, (unsigned)(block >> 32), step, (unsigned)d.stream));
  const double u = ((word_of(words, (int)(index % 4)) >> 8) + 0.5) * 0x1p-24;
  return -log(-log(u));
}

/* The number of this warp's latent. */
__device__ __forceinline__ long long row_of_warp() {
  return (long long)blockIdx.x * WARPS + threadIdx.x / WARP_SIZE;
}

/* logits + g of a row of [S,N,L]. */
__device__ __forceinline__ Own perturbed(const float* logits, const Draws& d, long long row, int K,
                                         unsigned step) {
  const long long latents = (long long)d.N * d.L;
  const long long image = row % latents / d.L;
  const long long drawn = (d.first + image) * d.S + row / latents;  // samples before this one
  const long long index = (drawn * d.L + row % d.L) * K;
  Own x;
  x.load(logits + row % latents * K, K);
  Own::each(K, [&](int i, int k) { x.v[i] += gumbel(d, step, index + k); });
  return x;
}

/* y [S,N,L,K] */
extern "C" __global__ void __launch_bounds__(THREADS)
    gumbel_softmax_f32(const float* RESTRICT logits, const double* RESTRICT step, float* RESTRICT y,
                       Refusal* RESTRICT refusal, long long rows, int K, Draws d, Temperature t) {
  const long long row = row_of_warp();
  if (row >= rows) return;
  const double number = *step;
  const bool whole = is_step(number);
  if (!whole) refuse(refusal, REFUSED_RELAXED, 0, 0, 0);
  const double tau = t.at(number);
  Own x = perturbed(logits, d, row, K, whole ? (unsigned)number : 0u);
  const double most = x.largest(K);
  Own::each(K, [&](int i, int) { x.v[i] = exp((x.v[i] - most) / tau); });
  const double sum = whole ? x.sum(K) : (double)NAN_F32;
  Own::each(K, [&](int i, int) { x.v[i] /= sum; });
  x.store(y + row * K, K);
}
KERNEL(gumbel_softmax_f32, THREADS)

/* y, dy [S,rows,K]; dlogits [rows,K] */
extern "C" __global__ void __launch_bounds__(THREADS)
    gumbel_softmax_backward_f32(const float* RESTRICT y, const float* RESTRICT dy,
                                const double* RESTRICT step, float* RESTRICT dlogits,
                                Refusal* RESTRICT refusal, long long rows, int K, int S, Temperature t) {
  const long long row = row_of_warp();
  if (row >= rows) return;
  const double number = *step;
  const bool whole = is_step(number);
  if (!whole) refuse(refusal, REFUSED_RELAXED, 0, 0, 0);
  const double tau = whole ? t.at(number) : (double)NAN_F32;
  Own sum;
  Own::each(K, [&](int i, int) { sum.v[i] = 0.0; });
  for (int s = 0; s < S; ++s) {
    Own value, slope;
    value.load(y + (s * rows + row) * K, K);
    slope.load(dy + (s * rows + row) * K, K);
    const double mean = value.dot(slope, K);
    Own::each(K, [&](int i, int) { sum.v[i] += value.v[i] * (slope.v[i] - mean) / tau; });
  }
  sum.store(dlogits + row * K, K);
}
KERNEL(gumbel_softmax_backward_f32, THREADS)

/* y [S,N,L,K], one-hot: the first of the largest; NaN where one is. */
extern "C" __global__ void __launch_bounds__(THREADS)
    categorical_sample_f32(const float* RESTRICT logits, const double* RESTRICT step, float* RESTRICT y,
                           Refusal* RESTRICT refusal, long long rows, int K, Draws d) {
  const long long row = row_of_warp();
  if (row >= rows) return;
  const double number = *step;
  const bool whole = is_step(number);
  if (!whole) refuse(refusal, REFUSED_DRAWN, 0, 0, 0);
  const Own x = perturbed(logits, d, row, K, whole ? (unsigned)number : 0u);
  double most = -(double)INFINITY_F32;
  int first = K;  // beyond all that there are
  bool nan = !whole;
  Own::each(K, [&](int i, int k) {
    nan = nan || x.v[i] != x.v[i];
    if (x.v[i] > most || first == K) {
      most = x.v[i];
      first = k;
    }
  });
#pragma unroll
  for (int lanes = WARP_SIZE / 2; lanes > 0; lanes /= 2) {
    const double other = __shfl_xor_sync(FULL_WARP, most, lanes);
    const int place = __shfl_xor_sync(FULL_WARP, first, lanes);
    if (other > most || (other == most && place < first)) {
      most = other;
      first = place;
    }
  }
  nan = __any_sync(FULL_WARP, nan);
  Own::each(K, [&](int, int k) { y[row * K + k] = nan ? NAN_F32 : k == first ? 1.0f : 0.0f; });
}
KERNEL(categorical_sample_f32, THREADS)

/* terms [rows] f64: of each latent. */
extern "C" __global__ void __launch_bounds__(THREADS)
    categorical_kl_f32(const float* RESTRICT logits, double* RESTRICT terms, long long rows, int K) {
  const long long row = row_of_warp();
  if (row >= rows) return;
  Own x;
  x.load(logits + row * K, K);
  x.log_softmax(K);
  const double term = x.negative_entropy(K) + log((double)K);
  if (threadIdx.x % WARP_SIZE == 0) terms[row] = term;
}
KERNEL(categorical_kl_f32, THREADS)

/* terms [N,L]; grid (N + L): kl [N] = their sums, then by_dimension [L] = their means. */
extern "C" __global__ void __launch_bounds__(THREADS)
    categorical_kl_finish(const double* RESTRICT terms, float* RESTRICT kl, float* RESTRICT by_dimension,
                          int N, int L) {
  SHARED(double, partial, [WARPS]);
  const bool image = (int)blockIdx.x < N;
  const int own = image ? blockIdx.x : blockIdx.x - N;
  double sum = 0.0;
  for (int i = threadIdx.x; i < (image ? L : N); i += THREADS) {
    sum += terms[image ? (long long)own * L + i : (long long)i * L + own];
  }
  sum = block_sum<WARPS>(sum, partial);
  if (threadIdx.x != 0) return;
  if (image) {
    kl[own] = (float)sum;
  } else {
    by_dimension[own] = (float)(sum / N);
  }
}
KERNEL(categorical_kl_finish, THREADS)

/* dlogits [N,L,K]; dkl [N], dby_dimension [L]: null where there is none. */
extern "C" __global__ void __launch_bounds__(THREADS)
    categorical_kl_backward_f32(const float* RESTRICT logits, const float* RESTRICT dkl,
                                const float* RESTRICT dby_dimension, float* RESTRICT dlogits, int N, int L,
                                int K) {
  const long long row = row_of_warp();
  if (row >= (long long)N * L) return;
  double slope = 0.0;
  if (dkl) slope += dkl[row / L];
  if (dby_dimension) slope += (double)dby_dimension[row % L] / N;
  Own x;
  x.load(logits + row * K, K);
  x.log_softmax(K);
  const double mean = x.negative_entropy(K);
  Own::each(K, [&](int i, int) { x.v[i] = slope * exp(x.v[i]) * (x.v[i] - mean); });
  x.store(dlogits + row * K, K);
}
KERNEL(categorical_kl_backward_f32, THREADS)

/* z [S,N,L,K]; y [S,N]; grid (S * N). */
extern "C" __global__ void __launch_bounds__(THREADS)
    categorical_log_probability_f32(const float* RESTRICT z, const float* RESTRICT logits, float* RESTRICT y,
                                    int N, int L, int K) {
  SHARED(double, partial, [WARPS]);
  double sum = 0.0;
  for (int l = threadIdx.x / WARP_SIZE; l < L; l += WARPS) {
    Own x;
    x.load(logits + ((long long)(blockIdx.x % N) * L + l) * K, K);
    x.log_softmax(K);
    const float* const drawn = z + ((long long)blockIdx.x * L + l) * K;
    Own::each(K, [&](int i, int k) { sum += drawn[k] * x.v[i]; });
  }
  sum = block_sum<WARPS>(sum, partial);
  if (threadIdx.x == 0) y[blockIdx.x] = (float)sum;
}
KERNEL(categorical_log_probability_f32, THREADS)
