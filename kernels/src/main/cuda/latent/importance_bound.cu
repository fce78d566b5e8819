/* importance_bound.cu - the importance-weighted bound of each image, and the gradient of their mean.
 * Burda et al. 2016, Importance Weighted Autoencoders, section 3, equations 8 and 14. Of x_i [S,N] f32 and factors
 * f_i, w = sum_i f_i x_i: each [N] = -(logsumexp_s(-w) - log S); dx_i = f_i softmax_s(-w) dmean / N.
 * A block an image, in f64 over a fixed tree: same bits every run. The mean is sums.cu's. Latency bound: x is
 * small, and read again for each pass. Arch sm_80+; emulator yes.
 */
#include "common/reduce.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP_SIZE)
#define MOST_FACTORS 8

struct Weights {
  const float* x[MOST_FACTORS];
  double factors[MOST_FACTORS];
  int count;
  int samples;
  int images;

  __device__ __forceinline__ double weight(int s, int n) const {
    double w = 0.0;
    for (int i = 0; i < count; ++i) w += factors[i] * x[i][(long long)s * images + n];
    return w;
  }
};

struct Gradients {
  float* dx[MOST_FACTORS];
};

/* The least of a block's numbers, in every thread. */
__device__ __forceinline__ double block_least(double v, double* partial) {
  v = -warp_max(-v);
  if (threadIdx.x % WARP_SIZE == 0) partial[threadIdx.x / WARP_SIZE] = v;
  __syncthreads();
  for (int i = 0; i < WARPS; ++i) v = partial[i] < v ? partial[i] : v;
  __syncthreads();
  return v;
}

/* The least w of an image and the sum of exp(least - w), in every thread. */
__device__ __forceinline__ double2 log_sum(const Weights& w, int n, double* partial) {
  double least = INFINITY_F32;
  for (int s = threadIdx.x; s < w.samples; s += THREADS) {
    const double own = w.weight(s, n);
    least = own < least ? own : least;
  }
  least = block_least(least, partial);
  double sum = 0.0;
  // a NaN is no least, but it is in the sum
  for (int s = threadIdx.x; s < w.samples; s += THREADS) sum += exp(least - w.weight(s, n));
  return make_double2(least, block_sum<WARPS>(sum, partial));
}

/* each [N]; grid (N) */
extern "C" __global__ void __launch_bounds__(THREADS) importance_bound(Weights w, float* RESTRICT each) {
  SHARED(double, partial, [WARPS]);
  const int n = blockIdx.x;
  const double2 all = log_sum(w, n, partial);
  if (threadIdx.x == 0) each[n] = (float)(all.x - log(all.y / w.samples));
}
KERNEL(importance_bound, THREADS)

/* dmean [1]; grid (N) */
extern "C" __global__ void __launch_bounds__(THREADS)
    importance_bound_backward(Weights w, const float* RESTRICT dmean, Gradients to) {
  SHARED(double, partial, [WARPS]);
  const int n = blockIdx.x;
  const double2 all = log_sum(w, n, partial);
  const double scale = *dmean / (double)w.images / all.y;
  for (int s = threadIdx.x; s < w.samples; s += THREADS) {
    const double share = exp(all.x - w.weight(s, n)) * scale;
    for (int i = 0; i < w.count; ++i) {
      to.dx[i][(long long)s * w.images + n] = (float)(w.factors[i] * share);
    }
  }
}
KERNEL(importance_bound_backward, THREADS)
