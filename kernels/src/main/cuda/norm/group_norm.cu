/* group_norm.cu - GroupNorm with modulation and SiLU, and their gradients.
 * y = f(v), v = u * (1 + scale) + shift, u = z * gamma + beta, z = (x - mean) * rstd; f(v) = v * sigmoid(v) or v
 * Wu & He 2018, section 3; scale and shift of an image: Dhariwal & Nichol 2021, section 3.
 * x, y, dx, dy [N,HW,C] f32 or bf16; gamma, beta [C] f32; mean, rstd [N,G] f32; modulation [N,2C] like x, the
 * scales first, or null for zeros. Needs C % G == 0 (the caller checks).
 * Sums are split over blocks of ROWS rows and 32 channels; of each channel in one the mean and the squares of
 * the differences from it, put together as in Chan et al. 1979: nothing cancels. In f32 over a fixed tree: same
 * bits every run. Memory bound: x is read twice and written once, backward x and dy twice. Arch sm_80+;
 * emulator yes.
 */
#include "common/activation.cuh"
#include "common/reduce.cuh"
#include "common/types.cuh"
#include "common/window.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP_SIZE)
#define COLUMNS 32
#define LANES (THREADS / COLUMNS)
#define ROWS 128

/* What all of these kernels know of x. */
struct Sizes {
  int N, HW, C, G;
  int chunks;  // ceil(HW / ROWS)
  int silu;
};

/* A channel of an image: what its elements go through. */
struct Affine {
  float mean, rstd, gamma, beta, scale, shift;

  __device__ __forceinline__ float normal(float x) const { return (x - mean) * rstd; }
  __device__ __forceinline__ float value(float z) const { return (z * gamma + beta) * scale + shift; }
};

/* Of channel c, which is in group g; scale holds 1 + the image's. */
template <class T>
__device__ __forceinline__ Affine affine(const Sizes& s, const float* gamma, const float* beta,
                                         const float* mean, const float* rstd, const T* modulation,
                                         long long n, int g, int c) {
  Affine a;
  a.mean = mean[n * s.G + g];
  a.rstd = rstd[n * s.G + g];
  a.gamma = gamma[c];
  a.beta = beta[c];
  a.scale = modulation == nullptr ? 1.0f : 1.0f + to_float(modulation[n * 2 * s.C + c]);
  a.shift = modulation == nullptr ? 0.0f : to_float(modulation[(n * 2 + 1) * s.C + c]);
  return a;
}

/* Calls f(i, g) for each i below N, of n that are wanted: channel c + i is in group g. */
template <int N, class F>
__device__ __forceinline__ void for_channels(const Sizes& s, int c, int n, F f) {
  const int D = s.C / s.G;
  int g = c / D;
  int within = c % D;
#pragma unroll
  for (int i = 0; i < N; ++i) {
    if (i < n) f(i, g);
    if (++within == D) {
      within = 0;
      ++g;
    }
  }
}

/* The gradient of v, from that of y. */
__device__ __forceinline__ float through(const Sizes& s, float v, float dy) {
  return s.silu ? dy * silu_slope(v) : dy;
}

/* The sum over the block's lanes of a column, in every thread. */
__device__ __forceinline__ float lanes_sum(float v, float (*partial)[COLUMNS]) {
  const int column = threadIdx.x % COLUMNS;
  partial[threadIdx.x / COLUMNS][column] = v;
  __syncthreads();
  float all = 0.0f;
#pragma unroll
  for (int i = 0; i < LANES; ++i) all += partial[i][column];
  return all;
}

/* Calls f(at) for each element of the thread's channel in the block's rows of image n. */
template <class F>
__device__ __forceinline__ void for_rows(const Sizes& s, long long n, int c, F f) {
  const int first = blockIdx.x * ROWS;
  const int last = s.HW - first < ROWS ? s.HW : first + ROWS;
  if (c < s.C) {
    for (int p = first + threadIdx.x / COLUMNS; p < last; p += LANES) f((n * s.HW + p) * s.C + c);
  }
}

__device__ __forceinline__ int rows_of(const Sizes& s, int chunk) {
  return s.HW - chunk * ROWS < ROWS ? s.HW - chunk * ROWS : ROWS;
}

/* Where two numbers of a channel in a chunk lie: parts [N,chunks,2,C]. */
__device__ __forceinline__ long long part(const Sizes& s, long long n, int chunk, int which, int c) {
  return ((n * s.chunks + chunk) * 2 + which) * s.C + c;
}

/* parts: mean, and squares of the differences from it. */
template <class T>
__device__ __forceinline__ void group_norm_parts(const T* x, float* parts, const Sizes& s) {
  SHARED(float, partial, [2][LANES][COLUMNS]);
  const long long n = blockIdx.z;
  const int c = blockIdx.y * COLUMNS + threadIdx.x % COLUMNS;
  float sum = 0.0f;
  for_rows(s, n, c, [&](long long at) { sum += to_float(x[at]); });
  const float mean = lanes_sum(sum, partial[0]) / (float)rows_of(s, blockIdx.x);
  float squares = 0.0f;
  for_rows(s, n, c, [&](long long at) {
    const float d = to_float(x[at]) - mean;
    squares += d * d;
  });
  // its own rows of partial: a slow warp may still read the first
  squares = lanes_sum(squares, partial[1]);
  if (c < s.C && threadIdx.x < COLUMNS) {
    parts[part(s, n, blockIdx.x, 0, c)] = mean;
    parts[part(s, n, blockIdx.x, 1, c)] = squares;
  }
}

/* A warp a group of one image. */
extern "C" __global__ void __launch_bounds__(THREADS)
    group_norm_statistics(const float* RESTRICT parts, float* RESTRICT mean, float* RESTRICT rstd,
                          Sizes s, float eps) {
  const int group = blockIdx.x * WARPS + threadIdx.x / WARP_SIZE;
  if (group >= s.N * s.G) return;
  const long long n = group / s.G;
  const int D = s.C / s.G;
  const int first = group % s.G * D;
  const int lane = threadIdx.x % WARP_SIZE;
  const float count = (float)s.HW * (float)D;
  float sum = 0.0f;
  for (int i = lane; i < s.chunks * D; i += WARP_SIZE) {
    sum += (float)rows_of(s, i / D) * parts[part(s, n, i / D, 0, first + i % D)];
  }
  const float mu = warp_sum(sum) / count;
  float squares = 0.0f;
  for (int i = lane; i < s.chunks * D; i += WARP_SIZE) {
    const float d = parts[part(s, n, i / D, 0, first + i % D)] - mu;
    squares += parts[part(s, n, i / D, 1, first + i % D)] + (float)rows_of(s, i / D) * d * d;
  }
  const float variance = warp_sum(squares) / count;
  if (lane == 0) {
    mean[group] = mu;
    rstd[group] = 1.0f / sqrtf(variance + eps);
  }
}
KERNEL(group_norm_statistics, THREADS)

template <class T>
__device__ __forceinline__ void group_norm(const T* x, const float* gamma, const float* beta,
                                           const float* mean, const float* rstd, const T* modulation,
                                           T* y, const Sizes& s) {
  const Window w = {nullptr, nullptr, s.N * s.HW, 0, 0, 1, -1};
  for_chunks<Chunk<T>::N>(w, s.C, [&](long long row, int c, int count) {
    Chunk<T> v;
    v.load(x + row * s.C + c, count);
    const long long n = row / s.HW;
    for_channels<Chunk<T>::N>(s, c, count, [&](int i, int g) {
      const Affine a = affine(s, gamma, beta, mean, rstd, modulation, n, g, c + i);
      v.v[i] = a.value(a.normal(v.v[i]));
      if (s.silu) v.v[i] *= sigmoid(v.v[i]);
    });
    v.store(y + row * s.C + c, count);
  });
}

/* parts: the sums of v's gradient times z, and of v's gradient. */
template <class T>
__device__ __forceinline__ void group_norm_backward_parts(const T* x, const float* gamma,
                                                          const float* beta, const float* mean,
                                                          const float* rstd, const T* dy,
                                                          const T* modulation, float* parts,
                                                          const Sizes& s) {
  SHARED(float, partial, [2][LANES][COLUMNS]);
  const long long n = blockIdx.z;
  const int c = blockIdx.y * COLUMNS + threadIdx.x % COLUMNS;
  float dot = 0.0f, sum = 0.0f;
  if (c < s.C) {
    const Affine a = affine(s, gamma, beta, mean, rstd, modulation, n, c / (s.C / s.G), c);
    for_rows(s, n, c, [&](long long at) {
      const float z = a.normal(to_float(x[at]));
      const float dv = through(s, a.value(z), to_float(dy[at]));
      dot += dv * z;
      sum += dv;
    });
  }
  dot = lanes_sum(dot, partial[0]);
  sum = lanes_sum(sum, partial[1]);
  if (c < s.C && threadIdx.x < COLUMNS) {
    parts[part(s, n, blockIdx.x, 0, c)] = dot;
    parts[part(s, n, blockIdx.x, 1, c)] = sum;
  }
}

/* A warp a group of one image. means [N,G,2]: of u's gradient times gamma, and of that times z. sums [N,2,C]:
 * what gamma's and beta's gradients are the sums of, over the images. dmodulation [N,2C], or null. */
template <class T>
__device__ __forceinline__ void group_norm_backward_sums(const float* parts, const float* gamma,
                                                         const float* beta, const T* modulation,
                                                         float* means, float* sums, T* dmodulation,
                                                         const Sizes& s) {
  const int group = blockIdx.x * WARPS + threadIdx.x / WARP_SIZE;
  if (group >= s.N * s.G) return;
  const long long n = group / s.G;
  const int D = s.C / s.G;
  const int lane = threadIdx.x % WARP_SIZE;
  const float count = (float)s.HW * (float)D;
  float all = 0.0f, along = 0.0f;
  for (int c = group % s.G * D + lane; c < (group % s.G + 1) * D; c += WARP_SIZE) {
    float dot = 0.0f, sum = 0.0f;
    for (int chunk = 0; chunk < s.chunks; ++chunk) {
      dot += parts[part(s, n, chunk, 0, c)];
      sum += parts[part(s, n, chunk, 1, c)];
    }
    const float scale = modulation == nullptr ? 1.0f : 1.0f + to_float(modulation[n * 2 * s.C + c]);
    sums[n * 2 * s.C + c] = dot * scale;
    sums[(n * 2 + 1) * s.C + c] = sum * scale;
    all += sum * scale * gamma[c];
    along += dot * scale * gamma[c];
    if (dmodulation != nullptr) {
      dmodulation[n * 2 * s.C + c] = Convert<T>::from(gamma[c] * dot + beta[c] * sum);
      dmodulation[(n * 2 + 1) * s.C + c] = Convert<T>::from(sum);
    }
  }
  all = warp_sum(all);
  along = warp_sum(along);
  if (lane == 0) {
    means[group * 2] = all / count;
    means[group * 2 + 1] = along / count;
  }
}

/* dx = rstd * (d - mean(d) - z * mean(d * z)), d = gamma times the gradient of u. */
template <class T>
__device__ __forceinline__ void group_norm_backward(const T* x, const float* gamma, const float* beta,
                                                    const float* mean, const float* rstd, const T* dy,
                                                    const T* modulation, const float* means, T* dx,
                                                    const Sizes& s) {
  const Window w = {nullptr, nullptr, s.N * s.HW, 0, 0, 1, -1};
  for_chunks<Chunk<T>::N>(w, s.C, [&](long long row, int c, int count) {
    Chunk<T> v, d;
    v.load(x + row * s.C + c, count);
    d.load(dy + row * s.C + c, count);
    const long long n = row / s.HW;
    for_channels<Chunk<T>::N>(s, c, count, [&](int i, int g) {
      const Affine a = affine(s, gamma, beta, mean, rstd, modulation, n, g, c + i);
      const float* const m = means + (n * s.G + g) * 2;
      const float z = a.normal(v.v[i]);
      const float slope = through(s, a.value(z), d.v[i]) * a.scale * a.gamma;
      v.v[i] = a.rstd * (slope - m[0] - z * m[1]);
    });
    v.store(dx + row * s.C + c, count);
  });
}

/* *_parts: grid (chunks, ceil(C / 32), N); *_sums: a warp a group; the others: any grid. Block 256. */
#define EACH(T, suffix)                                                                                 \
  extern "C" __global__ void __launch_bounds__(THREADS)                                                 \
      group_norm_parts_##suffix(const T* RESTRICT x, float* RESTRICT parts, Sizes s) {                  \
    group_norm_parts(x, parts, s);                                                                      \
  }                                                                                                     \
  KERNEL(group_norm_parts_##suffix, THREADS)                                                            \
  extern "C" __global__ void __launch_bounds__(THREADS) group_norm_##suffix(                            \
      const T* RESTRICT x, const float* RESTRICT gamma, const float* RESTRICT beta,                     \
      const float* RESTRICT mean, const float* RESTRICT rstd, const T* RESTRICT modulation,             \
      T* RESTRICT y, Sizes s) {                                                                         \
    group_norm(x, gamma, beta, mean, rstd, modulation, y, s);                                           \
  }                                                                                                     \
  KERNEL(group_norm_##suffix, THREADS)                                                                  \
  extern "C" __global__ void __launch_bounds__(THREADS, 6) group_norm_backward_parts_##suffix(          \
      const T* RESTRICT x, const float* RESTRICT gamma, const float* RESTRICT beta,                     \
      const float* RESTRICT mean, const float* RESTRICT rstd, const T* RESTRICT dy,                     \
      const T* RESTRICT modulation, float* RESTRICT parts, Sizes s) {                                   \
    group_norm_backward_parts(x, gamma, beta, mean, rstd, dy, modulation, parts, s);                    \
  }                                                                                                     \
  KERNEL(group_norm_backward_parts_##suffix, THREADS)                                                   \
  extern "C" __global__ void __launch_bounds__(THREADS) group_norm_backward_sums_##suffix(              \
      const float* RESTRICT parts, const float* RESTRICT gamma, const float* RESTRICT beta,             \
      const T* RESTRICT modulation, float* RESTRICT means, float* RESTRICT sums,                        \
      T* RESTRICT dmodulation, Sizes s) {                                                               \
    group_norm_backward_sums(parts, gamma, beta, modulation, means, sums, dmodulation, s);              \
  }                                                                                                     \
  KERNEL(group_norm_backward_sums_##suffix, THREADS)                                                    \
  extern "C" __global__ void __launch_bounds__(THREADS) group_norm_backward_##suffix(                   \
      const T* RESTRICT x, const float* RESTRICT gamma, const float* RESTRICT beta,                     \
      const float* RESTRICT mean, const float* RESTRICT rstd, const T* RESTRICT dy,                     \
      const T* RESTRICT modulation, const float* RESTRICT means, T* RESTRICT dx, Sizes s) {             \
    group_norm_backward(x, gamma, beta, mean, rstd, dy, modulation, means, dx, s);                      \
  }                                                                                                     \
  KERNEL(group_norm_backward_##suffix, THREADS)

EACH(float, f32)
EACH(bf16, bf16)
