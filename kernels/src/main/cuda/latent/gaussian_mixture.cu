/* gaussian_mixture.cu - log-density of vectors under mixtures of normal distributions, and its gradient.
 * log of the sum over k of w_k prod_d N(z_d; mean, exp(v)), v the log-variance    Tomczak & Welling 2018, section 3
 * z [M,D] f32; parameters [R,K,2,D] f32: of each component D means, then D log-variances; logits [R,K] f32 or null
 * for equal weights. R divides M: row m sees the components of row m % R.
 * gaussian_mixture_components prepares, for the others: inverses [R,K,D] f64 = exp(-v), most [R,K] f64 = log w - sum
 * of (v + log 2 pi) / 2, weights [R,K] f64. Computed in f64, over fixed trees: densities of many dimensions are very
 * large or very small. Arch sm_80+; emulator yes.
 */
#include "common/reduce.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP_SIZE)
#define LOG_2_PI 1.8378770664093453

/* exp(x) summed up, with x as large as it likes: sum * exp(most). */
struct LogSum {
  double most;
  double sum;

  __device__ __forceinline__ void add(double x, double times) {
    if (x > most) {
      sum = sum * exp(most - x) + times;
      most = x;
    } else {
      sum += times * exp(x - most);
    }
  }
};

#define NOTHING {-1.7976931348623157e308, 0.0}

/* The logarithm of the sum of what the block's threads, or one thread a warp, have; in every thread. shared [2 WARPS],
 * free again when the next barrier of the caller is passed by all. */
__device__ __forceinline__ double block_log_sum(LogSum own, double* shared) {
  const int warp = threadIdx.x / WARP_SIZE;
  const double most = warp_max(own.most);
  const double sum = warp_sum(own.sum * exp(own.most - most));
  if (threadIdx.x % WARP_SIZE == 0) {
    shared[warp] = most;
    shared[WARPS + warp] = sum;
  }
  __syncthreads();
  LogSum all = NOTHING;
  for (int w = 0; w < WARPS; ++w) all.add(shared[w], shared[WARPS + w]);
  return all.most + log(all.sum);
}

/* A block a component. */
extern "C" __global__ void __launch_bounds__(THREADS)
    gaussian_mixture_components_f32(const float* RESTRICT parameters, const float* RESTRICT logits,
                                    double* RESTRICT inverses, double* RESTRICT most, double* RESTRICT weights,
                                    int K, int D) {
  SHARED(double, shared, [2 * WARPS]);
  SHARED(double, partial, [WARPS]);
  const long long c = blockIdx.x;
  double log_weight = -log((double)K);
  if (logits) {
    const float* const row = logits + c / K * K;
    LogSum own = NOTHING;
    for (int k = threadIdx.x; k < K; k += THREADS) own.add(row[k], 1.0);
    log_weight = row[c % K] - block_log_sum(own, shared);
  }
  double logs = 0.0;
  for (int d = threadIdx.x; d < D; d += THREADS) {
    const double v = parameters[(c * 2 + 1) * D + d];
    inverses[c * D + d] = exp(-v);
    logs += v + LOG_2_PI;
  }
  logs = block_sum<WARPS>(logs, partial);
  if (threadIdx.x == 0) {
    most[c] = log_weight - 0.5 * logs;
    weights[c] = exp(log_weight);
  }
}
KERNEL(gaussian_mixture_components_f32, THREADS)

/* The logarithm of a component's weighted density at z [D]; in every lane of a warp. */
__device__ __forceinline__ double log_of(const float* z, long long c, const float* parameters,
                                         const double* inverses, const double* most, int D) {
  double sum = 0.0;
  for (int d = threadIdx.x % WARP_SIZE; d < D; d += WARP_SIZE) {
    const double difference = (double)z[d] - parameters[c * 2 * D + d];
    sum += difference * difference * inverses[c * D + d];
  }
  return most[c] - 0.5 * warp_sum(sum);
}

/* log_density [M]; a block a row, a warp every eighth component. */
extern "C" __global__ void __launch_bounds__(THREADS)
    gaussian_mixture_f32(const float* RESTRICT z, const float* RESTRICT parameters,
                         const double* RESTRICT inverses, const double* RESTRICT most,
                         float* RESTRICT log_density, int R, int K, int D) {
  SHARED(double, shared, [2 * WARPS]);
  const long long m = blockIdx.x;
  LogSum own = NOTHING;
  for (int k = threadIdx.x / WARP_SIZE; k < K; k += WARPS) {
    own.add(log_of(z + m * D, m % R * K + k, parameters, inverses, most, D), 1.0);
  }
  if (threadIdx.x % WARP_SIZE != 0) own.sum = 0.0; /* all lanes have the same */
  const double density = block_log_sum(own, shared);
  if (threadIdx.x == 0) log_density[m] = (float)density;
}
KERNEL(gaussian_mixture_f32, THREADS)

/* shares [M,K] f64: of each component, its posterior times ddensity [M]; dz [M,D]. A block a row. */
extern "C" __global__ void __launch_bounds__(THREADS)
    gaussian_mixture_backward_rows_f32(const float* RESTRICT z, const float* RESTRICT parameters,
                                       const double* RESTRICT inverses, const double* RESTRICT most,
                                       const float* RESTRICT log_density, const float* RESTRICT ddensity,
                                       double* shares, float* RESTRICT dz, int R, int K, int D) {
  SHARED(double, partial, [WARPS][WARP_SIZE]);
  const int lane = threadIdx.x % WARP_SIZE;
  const int warp = threadIdx.x / WARP_SIZE;
  const long long m = blockIdx.x;
  const long long first = m % R * K;
  for (int k = warp; k < K; k += WARPS) {
    const double x = log_of(z + m * D, first + k, parameters, inverses, most, D);
    if (lane == 0) shares[m * K + k] = ddensity[m] * exp(x - log_density[m]);
  }
  __syncthreads();
  for (int from = 0; from < D; from += WARP_SIZE) {
    const int d = from + lane;
    double sum = 0.0;
    for (int k = warp; d < D && k < K; k += WARPS) {
      const long long c = first + k;
      sum += shares[m * K + k] * ((double)parameters[c * 2 * D + d] - z[m * D + d]) * inverses[c * D + d];
    }
    partial[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && d < D) {
      for (int w = 1; w < WARPS; ++w) sum += partial[w][lane];
      dz[m * D + d] = (float)sum;
    }
    __syncthreads();
  }
}
KERNEL(gaussian_mixture_backward_rows_f32, THREADS)

/* dparameters [R,K,2,D]; dlogits [R,K] or null. A block a component, a warp every eighth row that sees it. */
extern "C" __global__ void __launch_bounds__(THREADS)
    gaussian_mixture_backward_components_f32(const float* RESTRICT z, const float* RESTRICT parameters,
                                             const double* RESTRICT inverses, const double* RESTRICT weights,
                                             const double* RESTRICT shares, const float* RESTRICT ddensity,
                                             float* RESTRICT dparameters, float* RESTRICT dlogits, int M, int R,
                                             int K, int D) {
  SHARED(double, by_mean, [WARPS][WARP_SIZE]);
  SHARED(double, by_log, [WARPS][WARP_SIZE]);
  SHARED(double, partial, [WARPS]);
  const int lane = threadIdx.x % WARP_SIZE;
  const int warp = threadIdx.x / WARP_SIZE;
  const long long c = blockIdx.x;
  const int r = (int)(c / K);
  const int k = (int)(c % K);
  for (int from = 0; from < D; from += WARP_SIZE) {
    const int d = from + lane;
    double means = 0.0;
    double logs = 0.0;
    for (long long m = r + (long long)warp * R; d < D && m < M; m += (long long)WARPS * R) {
      const double share = shares[m * K + k];
      const double difference = (double)z[m * D + d] - parameters[c * 2 * D + d];
      const double slope = difference * inverses[c * D + d];
      means += share * slope;
      logs += 0.5 * share * (difference * slope - 1.0);
    }
    by_mean[warp][lane] = means;
    by_log[warp][lane] = logs;
    __syncthreads();
    if (warp == 0 && d < D) {
      for (int w = 1; w < WARPS; ++w) {
        means += by_mean[w][lane];
        logs += by_log[w][lane];
      }
      dparameters[c * 2 * D + d] = (float)means;
      dparameters[(c * 2 + 1) * D + d] = (float)logs;
    }
    __syncthreads();
  }
  if (!dlogits) return;
  double sum = 0.0;
  for (long long m = r + (long long)threadIdx.x * R; m < M; m += (long long)THREADS * R) {
    sum += shares[m * K + k] - ddensity[m] * weights[c];
  }
  sum = block_sum<WARPS>(sum, partial);
  if (threadIdx.x == 0) dlogits[c] = (float)sum;
}
KERNEL(gaussian_mixture_backward_components_f32, THREADS)
