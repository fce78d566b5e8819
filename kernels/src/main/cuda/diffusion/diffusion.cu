/* diffusion.cu - what a diffusion model's training and sampling need beside its network.
 * diffusion_times: a row of a table for each image                     Ho et al. 2020, algorithm 1
 * diffuse: x = a p + b e, target = c p + d e of images p and noise e    Ho et al. 2020, equation 4
 * diffuse_points: the same of points, f32 as they are
 * squared_error: mean over the images of weight * mean((prediction - target)^2), and its gradient
 * sinusoidal_embedding: sin and cos of times at many frequencies        Vaswani et al. 2017, section 3.5
 * denoise_step: a linear step of a sampler, in f64                      Karras et al. 2022, section 3
 * denoise_step_threshold: how far its denoised images are clipped       Saharia et al. 2022, section 2.3
 * images [N,E] u8; x, prediction [N,E] f32 or bf16; E elements an image. Normal numbers are those of the
 * engine's other devices, by Box and Muller from philox(seed, (index / 2, 0, image, stream)). Memory bound, but for
 * the f64 functions of diffuse and denoise_step. Arch sm_80+; emulator yes.
 */
#include "common/philox.cuh"
#include "common/reduce.cuh"
#include "common/refuse.cuh"
#include "common/types.cuh"
#include "common/window.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP_SIZE)
#define COLUMNS 10 /* of a sampler's table */

/* table [T,6]; coefficients [N,4], times [N], weights [N]; a thread an image. */
extern "C" __global__ void __launch_bounds__(THREADS)
    diffusion_times(const float* RESTRICT table, const double* RESTRICT step, float* RESTRICT coefficients,
                    float* RESTRICT times, float* RESTRICT weights, Refusal* RESTRICT refusal, int N, int T,
                    unsigned long long seed, int first, int stream) {
  const int n = blockIdx.x * THREADS + threadIdx.x;
  if (n >= N) return;
  const bool whole = is_step(*step);
  if (!whole) refuse(refusal, REFUSED_TIME, 0, 0, 0);
  const unsigned index = (unsigned)(first + n);
  const uint4 words =
      philox(seed, make_uint4(index / 4, 0u, whole ? (unsigned)*step : 0u, (unsigned)stream));
  // a multiple of 1 / 2^32, times T: the host's way to a whole number below T
  const float* const row = table + (long long)__umulhi(word_of(words, (int)(index % 4)), (unsigned)T) * 6;
#pragma unroll
  for (int i = 0; i < 4; ++i) coefficients[n * 4ll + i] = whole ? row[i] : NAN_F32;
  times[n] = whole ? row[4] : NAN_F32;
  weights[n] = whole ? row[5] : NAN_F32;
}
KERNEL(diffusion_times, THREADS)

__device__ __forceinline__ float value_of(u8 pixel) { return (float)pixel / 127.5f - 1.0f; }

__device__ __forceinline__ float value_of(float coordinate) { return coordinate; }

template <class T, class P>
__device__ __forceinline__ void diffuse(const P* images, const float* coefficients, const double* step,
                                        T* x, float* target, Refusal* refusal, long long elements, int E,
                                        unsigned long long seed, int first, int stream) {
  const double number = *step;
  const bool whole = is_step(number);
  if (!whole) refuse(refusal, REFUSED_NOISE, 0, 0, 0);
  for_elements<Chunk<T>::N>(elements, [&](long long at, int n) {
    Chunk<T> shown, told;
#pragma unroll
    for (int i = 0; i < Chunk<T>::N; ++i) {
      if (i < n) {
        const float* const c = coefficients + (at + i) / E * 4;
        const float p = value_of(images[at + i]);
        const float e = whole ? (float)normal(seed, (unsigned)stream, (unsigned)number,
                                              (long long)first * E + at + i)
                              : NAN_F32;
        shown.v[i] = c[0] * p + c[1] * e;
        told.v[i] = c[2] * p + c[3] * e;
      }
    }
    shown.store(x + at, n);
    told.store(target + at, n);
  });
}

/* A block an image. */
template <class T>
__device__ __forceinline__ void squared_error(const T* prediction, const float* target, float* errors,
                                              int E) {
  SHARED(double, partial, [WARPS]);
  const long long first = (long long)blockIdx.x * E;
  double sum = 0.0;
  for (int i = threadIdx.x; i < E; i += THREADS) {
    const double d = (double)to_float(prediction[first + i]) - target[first + i];
    sum += d * d;
  }
  sum = block_sum<WARPS>(sum, partial);
  if (threadIdx.x == 0) errors[blockIdx.x] = (float)(sum / E);
}

/* One block. */
extern "C" __global__ void __launch_bounds__(THREADS)
    squared_error_finish(const float* RESTRICT errors, const float* RESTRICT weights, float* RESTRICT mean,
                         int N) {
  SHARED(double, partial, [WARPS]);
  double sum = 0.0;
  for (int n = threadIdx.x; n < N; n += THREADS) sum += (double)weights[n] * errors[n];
  sum = block_sum<WARPS>(sum, partial);
  if (threadIdx.x == 0) *mean = (float)(sum / N);
}
KERNEL(squared_error_finish, THREADS)

template <class T>
__device__ __forceinline__ void squared_error_backward(const T* prediction, const float* target,
                                                       const float* weights, const float* dmean, T* d,
                                                       long long elements, int E) {
  const float scale = 2.0f * *dmean / (float)elements;
  for_elements<Chunk<T>::N>(elements, [&](long long at, int n) {
    Chunk<T> p, t;
    p.load(prediction + at, n);
    t.load(target + at, n);
#pragma unroll
    for (int i = 0; i < Chunk<T>::N; ++i) {
      if (i < n) p.v[i] = scale * weights[(at + i) / E] * (p.v[i] - t.v[i]);
    }
    p.store(d + at, n);
  });
}

/* times [N], y [N,2H]; a thread an angle. */
template <class T>
__device__ __forceinline__ void sinusoidal_embedding(const float* times, T* y, int N, int H, double decay,
                                                     int cosine_first) {
  const int at = blockIdx.x * THREADS + threadIdx.x;
  if (at >= N * H) return;
  const int n = at / H;
  const int i = at % H;
  const double angle = times[n] * exp(-i * decay);
  y[(long long)n * 2 * H + (cosine_first ? H : 0) + i] = Convert<T>::from((float)sin(angle));
  y[(long long)n * 2 * H + (cosine_first ? 0 : H) + i] = Convert<T>::from((float)cos(angle));
}

/* Where the prediction has element `at` of x; with a learned variance its v is C further on. */
__device__ __forceinline__ long long told(long long at, int C, int learned) {
  return learned ? at + at / C * C : at;
}

/* An element of D as the network says it. */
template <class T>
__device__ __forceinline__ double denoised_element(const double* row, double x, const T* prediction,
                                                   long long at, long long elements, int C, double guidance,
                                                   int guided, int learned) {
  double denoised = row[0] * x;
  if (row[1] != 0.0) {
    const T* const said = prediction + told(at, C, learned);
    double f = to_float(*said);
    if (guided) {
      const double plain = to_float(said[told(elements, C, learned)]);
      f = plain + guidance * (f - plain);
    }
    denoised += row[1] * f;
  }
  return denoised;
}

/* thresholds [N]: of each image the rank-th smallest |D| in f32; a block an image. As whole numbers the bits
 * of numbers that are not negative are in the same order (a NaN's last), so eight bits are found at a time:
 * of those that agree so far, how many go on with which eight. */
template <class T>
__device__ __forceinline__ void denoise_step_threshold(const double* x, const T* prediction,
                                                       const double* table, const int* state,
                                                       float* thresholds, long long elements, int E, int C,
                                                       int S, int rank, double guidance, int guided,
                                                       int learned) {
  SHARED(unsigned, counts, [THREADS]);
  static_assert(THREADS == 256, "a thread for each value of eight bits");
  const int step = state[3];
  const double* const row = table + (long long)(step >= 0 && step < S ? step : 0) * COLUMNS;
  const long long first = (long long)blockIdx.x * E;
  unsigned found = 0u;
  unsigned left = (unsigned)rank; /* among those that agree */
  for (int shift = 24; shift >= 0; shift -= 8) {
    counts[threadIdx.x] = 0u;
    __syncthreads();
    for (long long i = threadIdx.x; i < E; i += THREADS) {
      const double d = denoised_element(row, x[first + i], prediction, first + i, elements, C, guidance,
                                        guided, learned);
      const unsigned bits = __float_as_uint((float)d) & 0x7fffffffu;
      if (shift == 24 || bits >> (shift + 8) == found >> (shift + 8)) {
        atomicAdd(&counts[bits >> shift & 255u], 1u);
      }
    }
    __syncthreads();
    unsigned next = 0u;
    while (next < 255u && counts[next] < left) left -= counts[next++];
    found |= next << shift;
    __syncthreads();
  }
  if (threadIdx.x == 0) thresholds[blockIdx.x] = __uint_as_float(found);
}

/* x, previous [N,E] f64; prediction [N,E] or, with a learned variance, [N,2E]; guided, twice as many images;
 * table [S,10]; state: seed, first image, step; known [N,E] and mask [N,E/C], or null; thresholds [N], or null
 * for 1; input [N,E] or, guided, [2N,E]; times [N] or [2N]; blocks [1], zero before and after. The last block to
 * come takes the step on. */
template <class T>
__device__ __forceinline__ void denoise_step(double* x, double* previous, const T* prediction,
                                             const double* table, int* state, const u8* known,
                                             const u8* mask, const float* thresholds, T* input, float* times,
                                             unsigned* blocks, Refusal* refusal, long long elements, int E,
                                             int C, int S, double guidance, int guided, int learned, int clip,
                                             int stream) {
  const int step = state[3];
  const bool there = step >= 0 && step < S;
  if (!there) refuse(refusal, REFUSED_ROW, 0, step, S);
  const double* const row = table + (long long)(there ? step : 0) * COLUMNS;
  const unsigned long long seed =
      (unsigned long long)(unsigned)state[1] << 32 | (unsigned long long)(unsigned)state[0];
  const long long at = (long long)blockIdx.x * THREADS + threadIdx.x;
  if (at < elements) {
    const int image = (int)(at / E);
    const double old = x[at];
    double denoised = denoised_element(row, old, prediction, at, elements, C, guidance, guided, learned);
    if (clip) {
      const double s = !thresholds || thresholds[image] <= 1.0f ? 1.0 : thresholds[image];
      denoised = (denoised < -s ? -s : denoised > s ? s : denoised) / s;
    }
    if (mask && mask[at / C] != 0) denoised = known[at] / 127.5 - 1.0;
    double value = row[2] * old + row[3] * denoised + row[4] * previous[at];
    if (row[5] != 0.0) {
      double size = row[5];
      if (learned && row[1] != 0.0) {
        const double w = (to_float(prediction[told(at, C, learned) + C]) + 1.0) / 2.0;
        size *= exp(0.5 * (w * row[9] + (1.0 - w) * row[8]));
      }
      value += size * normal(seed, (unsigned)stream, (unsigned)(state[2] + image),
                             (long long)step * E + at % E);
    }
    if (!there) value = denoised = NAN_F32;
    x[at] = value;
    previous[at] = denoised;
    const T shown = Convert<T>::from((float)(row[6] * value));
    input[at] = shown;
    if (guided) input[elements + at] = shown;
    if (at % E == 0) {
      times[image] = (float)row[7];
      if (guided) times[elements / E + image] = (float)row[7];
    }
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    if (atomicAdd(blocks, 1u) == gridDim.x - 1) {
      *blocks = 0u;
      state[3] = step + 1;
    }
  }
}

#define EACH(T, suffix)                                                                                  \
  extern "C" __global__ void __launch_bounds__(THREADS) diffuse_##suffix(                                \
      const u8* RESTRICT images, const float* RESTRICT coefficients, const double* RESTRICT step,       \
      T* RESTRICT x, float* RESTRICT target, Refusal* RESTRICT refusal, long long elements, int E,       \
      unsigned long long seed, int first, int stream) {                                                  \
    diffuse(images, coefficients, step, x, target, refusal, elements, E, seed, first, stream);           \
  }                                                                                                      \
  KERNEL(diffuse_##suffix, THREADS)                                                                      \
  extern "C" __global__ void __launch_bounds__(THREADS) diffuse_points_##suffix(                         \
      const float* RESTRICT images, const float* RESTRICT coefficients, const double* RESTRICT step,    \
      T* RESTRICT x, float* RESTRICT target, Refusal* RESTRICT refusal, long long elements, int E,       \
      unsigned long long seed, int first, int stream) {                                                  \
    diffuse(images, coefficients, step, x, target, refusal, elements, E, seed, first, stream);           \
  }                                                                                                      \
  KERNEL(diffuse_points_##suffix, THREADS)                                                               \
  extern "C" __global__ void __launch_bounds__(THREADS) squared_error_##suffix(                          \
      const T* RESTRICT prediction, const float* RESTRICT target, float* RESTRICT errors, int E) {       \
    squared_error(prediction, target, errors, E);                                                        \
  }                                                                                                      \
  KERNEL(squared_error_##suffix, THREADS)                                                                \
  extern "C" __global__ void __launch_bounds__(THREADS) squared_error_backward_##suffix(                 \
      const T* RESTRICT prediction, const float* RESTRICT target, const float* RESTRICT weights,         \
      const float* RESTRICT dmean, T* RESTRICT d, long long elements, int E) {                           \
    squared_error_backward(prediction, target, weights, dmean, d, elements, E);                          \
  }                                                                                                      \
  KERNEL(squared_error_backward_##suffix, THREADS)                                                       \
  extern "C" __global__ void __launch_bounds__(THREADS) sinusoidal_embedding_##suffix(                   \
      const float* RESTRICT times, T* RESTRICT y, int N, int H, double decay, int cosine_first) {        \
    sinusoidal_embedding(times, y, N, H, decay, cosine_first);                                           \
  }                                                                                                      \
  KERNEL(sinusoidal_embedding_##suffix, THREADS)                                                         \
  extern "C" __global__ void __launch_bounds__(THREADS) denoise_step_threshold_##suffix(                 \
      const double* RESTRICT x, const T* RESTRICT prediction, const double* RESTRICT table,              \
      const int* RESTRICT state, float* RESTRICT thresholds, long long elements, int E, int C, int S,    \
      int rank, double guidance, int guided, int learned) {                                              \
    denoise_step_threshold(x, prediction, table, state, thresholds, elements, E, C, S, rank, guidance,   \
                           guided, learned);                                                             \
  }                                                                                                      \
  KERNEL(denoise_step_threshold_##suffix, THREADS)                                                       \
  extern "C" __global__ void __launch_bounds__(THREADS) denoise_step_##suffix(                           \
      double* RESTRICT x, double* RESTRICT previous, const T* RESTRICT prediction,                       \
      const double* RESTRICT table, int* RESTRICT state, const u8* RESTRICT known,                       \
      const u8* RESTRICT mask, const float* RESTRICT thresholds, T* RESTRICT input,                      \
      float* RESTRICT times, unsigned* RESTRICT blocks, Refusal* RESTRICT refusal,                       \
      long long elements, int E, int C, int S, double guidance, int guided, int learned, int clip,       \
      int stream) {                                                                                      \
    denoise_step(x, previous, prediction, table, state, known, mask, thresholds, input, times, blocks,   \
                 refusal, elements, E, C, S, guidance, guided, learned, clip, stream);                   \
  }                                                                                                      \
  KERNEL(denoise_step_##suffix, THREADS)

EACH(float, f32)
EACH(bf16, bf16)
