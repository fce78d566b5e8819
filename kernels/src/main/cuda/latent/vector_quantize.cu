/* vector_quantize.cu - vectors, the codes nearest to them, and how a codebook follows its vectors.
 * vector_quantize: of each vector the nearest row of a codebook         van den Oord et al. 2017, section 3.1
 * code_vectors: the rows that indices name
 * codebook_sums: of each code the sum of the vectors that chose it, and how many they are
 * moving_average: state = decay * state + (1 - decay) * x               van den Oord et al. 2017, appendix A.1
 * codebook: sums_k / c_k, c_k = (count_k + epsilon) / (n + K epsilon) * n
 * z [P,D] f32 or bf16; codebook [K,D] f32; indices [P] u8; sums, state [K,D+1] f32, counts in the last column.
 * In f64. Distances are summed up in the order of the channels, without contraction: every device finds the
 * same code. Bound by f64 arithmetic; the rest by memory. Arch sm_80+; emulator yes.
 */
#include "common/reduce.cuh"
#include "common/refuse.cuh"
#include "common/types.cuh"

#define THREADS 256
#define WARPS (THREADS / WARP_SIZE)
#define COLUMNS 32
#define LANES (THREADS / COLUMNS)

/* A warp a vector, a lane every 32nd code; of those equally near the first. Where a distance is not finite
 * the vector is NaN and its index 0. */
template <class T>
__device__ __forceinline__ void vector_quantize(const T* z, const float* codebook, T* quantized, u8* indices,
                                                int P, int D, int K) {
  const long long p = (long long)blockIdx.x * WARPS + threadIdx.x / WARP_SIZE;
  if (p >= P) return;
  const T* const own = z + p * D;
  const int lane = threadIdx.x % WARP_SIZE;
  double least = INFINITY_F32;
  int nearest = 0;
  double all = 0.0;
  for (int k = lane; k < K; k += WARP_SIZE) {
    const float* const row = codebook + (long long)k * D;
    double distance = 0.0;
    for (int c = 0; c < D; ++c) {
      const double difference = (double)to_float(own[c]) - row[c];
      distance = __dadd_rn(distance, __dmul_rn(difference, difference));
    }
    all += distance;
    if (distance < least) {
      least = distance;
      nearest = k;
    }
  }
#pragma unroll
  for (int lanes = WARP_SIZE / 2; lanes > 0; lanes /= 2) {
    const double other = __shfl_xor_sync(FULL_WARP, least, lanes);
    const int code = __shfl_xor_sync(FULL_WARP, nearest, lanes);
    if (other < least || (other == least && code < nearest)) {
      least = other;
      nearest = code;
    }
  }
  const bool finite = warp_sum(all) < (double)INFINITY_F32;
  const float* const row = codebook + (long long)nearest * D;
  for (int c = lane; c < D; c += WARP_SIZE) {
    quantized[p * D + c] = Convert<T>::from(finite ? row[c] : NAN_F32);
  }
  if (lane == 0) indices[p] = finite ? (u8)nearest : (u8)0;
}

/* y [P,D]; an index that is not below K is refused. */
template <class T>
__device__ __forceinline__ void code_vectors(const u8* indices, const float* codebook, T* y, Refusal* refusal,
                                             long long elements, int D, int K) {
  const long long at = (long long)blockIdx.x * THREADS + threadIdx.x;
  if (at >= elements) return;
  const int code = indices[at / D];
  if (code >= K) refuse(refusal, REFUSED_CODE, (int)(at / D), code, K);
  y[at] = Convert<T>::from(code < K ? codebook[(long long)code * D + at % D] : NAN_F32);
}

/* grid (ceil((D + 1) / 32), K): a block some columns of a code; an index that is not below K is refused, and no sum
 * is a number then. */
template <class T>
__device__ __forceinline__ void codebook_sums(const T* z, const u8* indices, float* sums, Refusal* refusal,
                                              int P, int D, int K) {
  SHARED(double, partial, [LANES][COLUMNS]);
  const int column = threadIdx.x % COLUMNS;
  const int c = blockIdx.x * COLUMNS + column;
  double sum = 0.0;
  if (c <= D) {
    for (int p = threadIdx.x / COLUMNS; p < P; p += LANES) {
      const int code = indices[p];
      if (code >= K) {
        refuse(refusal, REFUSED_CHOICE, p, code, K);
        sum = NAN_F32;
      } else if (code == (int)blockIdx.y) {
        sum += c < D ? to_float(z[(long long)p * D + c]) : 1.0f;
      }
    }
  }
  partial[threadIdx.x / COLUMNS][column] = sum;
  __syncthreads();
  if (c <= D && threadIdx.x < COLUMNS) {
    double all = 0.0;
#pragma unroll
    for (int i = 0; i < LANES; ++i) all += partial[i][column];
    sums[(long long)blockIdx.y * (D + 1) + c] = (float)all;
  }
}

/* state, x [n]; nothing changes where data was refused. */
extern "C" __global__ void __launch_bounds__(THREADS)
    moving_average_f32(float* RESTRICT state, const float* RESTRICT x, const Refusal* RESTRICT refusal,
                       long long n, double decay) {
  if (refusal->kind != 0) return;
  const long long at = (long long)blockIdx.x * THREADS + threadIdx.x;
  if (at < n) state[at] = (float)(decay * state[at] + (1.0 - decay) * x[at]);
}
KERNEL(moving_average_f32, THREADS)

/* grid (K): codebook [K,D] of state [K,D+1] */
extern "C" __global__ void __launch_bounds__(THREADS)
    codebook_f32(const float* RESTRICT state, float* RESTRICT codebook, int K, int D, double epsilon) {
  SHARED(double, partial, [WARPS]);
  double all = 0.0;
  for (int k = threadIdx.x; k < K; k += THREADS) all += state[(k + 1ll) * (D + 1) - 1];
  all = block_sum<WARPS>(all, partial);
  const float* const own = state + (long long)blockIdx.x * (D + 1);
  const double count = (own[D] + epsilon) / (all + K * epsilon) * all;
  for (int c = threadIdx.x; c < D; c += THREADS) {
    codebook[(long long)blockIdx.x * D + c] = (float)(own[c] / count);
  }
}
KERNEL(codebook_f32, THREADS)

#define EACH(T, suffix)                                                                                   \
  extern "C" __global__ void __launch_bounds__(THREADS) vector_quantize_##suffix(                         \
      const T* RESTRICT z, const float* RESTRICT codebook, T* RESTRICT quantized, u8* RESTRICT indices,   \
      int P, int D, int K) {                                                                              \
    vector_quantize(z, codebook, quantized, indices, P, D, K);                                            \
  }                                                                                                       \
  KERNEL(vector_quantize_##suffix, THREADS)                                                               \
  extern "C" __global__ void __launch_bounds__(THREADS) code_vectors_##suffix(                            \
      const u8* RESTRICT indices, const float* RESTRICT codebook, T* RESTRICT y,                          \
      Refusal* RESTRICT refusal, long long elements, int D, int K) {                                      \
    code_vectors(indices, codebook, y, refusal, elements, D, K);                                          \
  }                                                                                                       \
  KERNEL(code_vectors_##suffix, THREADS)                                                                  \
  extern "C" __global__ void __launch_bounds__(THREADS) codebook_sums_##suffix(                           \
      const T* RESTRICT z, const u8* RESTRICT indices, float* RESTRICT sums, Refusal* RESTRICT refusal,   \
      int P, int D, int K) {                                                                              \
    codebook_sums(z, indices, sums, refusal, P, D, K);                                                    \
  }                                                                                                       \
  KERNEL(codebook_sums_##suffix, THREADS)

EACH(float, f32)
EACH(bf16, bf16)
