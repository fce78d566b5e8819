/* cross_entropy.cu - negative log-likelihood of classes under a softmax, and its gradient.
 * nats = logsumexp(logits) - logits[target]; dlogits = (exp(logits - lse) - onehot(target)) * dmean / M
 * logits, dlogits [M,K] f32 or bf16, K at most 256; targets [M] u8; nats, lse [M] f32; dmean [1] f32.
 * A target that is not below K is refused. One warp a row, the row in registers. Memory bound: 1 read of the
 * logits, and 1 write of their gradient. Arch sm_80+; emulator yes.
 */
#include "common/reduce.cuh"
#include "common/refuse.cuh"
#include "common/types.cuh"

#define THREADS 128
#define ROWS (THREADS / WARP_SIZE)
#define MOST_CLASSES 256

/* A lane's part of a row: chunk lane, and lane + 32 where 32 chunks are not enough. */
template <class T>
struct Row {
  static constexpr int N = Chunk<T>::N;
  static constexpr int PARTS = MOST_CLASSES / (N * WARP_SIZE);
  Chunk<T> part[PARTS];

  static __device__ __forceinline__ int first(int i) {
    return (i * WARP_SIZE + threadIdx.x % WARP_SIZE) * N;
  }
  static __device__ __forceinline__ int count(int i, int K) {
    const int left = K - first(i);
    return left < 0 ? 0 : left < N ? left : N;
  }
  __device__ __forceinline__ void load(const T* row, int K) {
#pragma unroll
    for (int i = 0; i < PARTS; ++i) part[i].load(row + first(i), count(i, K));
  }
};

/* grid (ceil(M / 4)), block 128 */
template <class T>
__device__ __forceinline__ void cross_entropy(const T* logits, const u8* targets, float* nats, float* lse,
                                              Refusal* refusal, int M, int K) {
  const int row = blockIdx.x * ROWS + threadIdx.x / WARP_SIZE;
  if (row >= M) return;
  Row<T> x;
  x.load(logits + (long long)row * K, K);
  const int target = targets[row];
  float most = -INFINITY_F32;
  float own = 0.0f;
#pragma unroll
  for (int i = 0; i < Row<T>::PARTS; ++i) {
#pragma unroll
    for (int j = 0; j < Row<T>::N; ++j) {
      if (j < x.count(i, K)) {
        most = fmaxf(most, x.part[i].v[j]);
        if (x.first(i) + j == target) own = x.part[i].v[j];
      }
    }
  }
  most = warp_max(most);
  own = warp_sum(own);  // one lane has it
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < Row<T>::PARTS; ++i) {
#pragma unroll
    for (int j = 0; j < Row<T>::N; ++j) {
      if (j < x.count(i, K)) sum += expf(x.part[i].v[j] - most);
    }
  }
  sum = warp_sum(sum);
  if (threadIdx.x % WARP_SIZE == 0) {
    const double value = (double)most + (double)logf(sum);
    lse[row] = (float)value;
    nats[row] = target < K ? (float)(value - own) : NAN_F32;
    if (target >= K) refuse(refusal, REFUSED_TARGET, row, target, K);
  }
}

/* grid (ceil(M / 4)), block 128 */
template <class T, class G>
__device__ __forceinline__ void cross_entropy_backward(const T* logits, const u8* targets,
                                                       const float* lse, const float* dmean, G* dlogits,
                                                       Refusal* refusal, int M, int K) {
  const int row = blockIdx.x * ROWS + threadIdx.x / WARP_SIZE;
  if (row >= M) return;
  const int target = targets[row];
  const float scale = target < K ? *dmean / (float)M : NAN_F32;
  if (target >= K) refuse(refusal, REFUSED_TARGET, row, target, K);
  const float sum = lse[row];
  constexpr int N = Chunk<T>::N;
  for (int c = threadIdx.x % WARP_SIZE * N; c < K; c += WARP_SIZE * N) {
    const int n = K - c < N ? K - c : N;
    Chunk<T> x;
    x.load(logits + (long long)row * K + c, n);
    G* to = dlogits + (long long)row * K + c;
#pragma unroll
    for (int j = 0; j < N; ++j) {
      x.v[j] = expf(x.v[j] - sum) * scale - (c + j == target ? scale : 0.0f);
    }
    x.store(to, n);
  }
}

#define EACH(T, suffix)                                                                               \
  extern "C" __global__ void __launch_bounds__(THREADS) softmax_cross_entropy_##suffix(               \
      const T* RESTRICT logits, const u8* RESTRICT targets, float* RESTRICT nats,                     \
      float* RESTRICT lse, Refusal* RESTRICT refusal, int M, int K) {                                     \
    cross_entropy(logits, targets, nats, lse, refusal, M, K);                                         \
  }                                                                                                   \
  KERNEL(softmax_cross_entropy_##suffix, THREADS)

EACH(float, f32)
EACH(bf16, bf16)

#define EACH_BACKWARD(T, suffix, G, to)                                                               \
  extern "C" __global__ void __launch_bounds__(THREADS) softmax_cross_entropy_backward_##suffix##_##to( \
      const T* RESTRICT logits, const u8* RESTRICT targets, const float* RESTRICT lse,                \
      const float* RESTRICT dmean, G* RESTRICT dlogits, Refusal* RESTRICT refusal, int M, int K) {        \
    cross_entropy_backward(logits, targets, lse, dmean, dlogits, refusal, M, K);                      \
  }                                                                                                   \
  KERNEL(softmax_cross_entropy_backward_##suffix##_##to, THREADS)

EACH_BACKWARD(float, f32, float, f32)
EACH_BACKWARD(float, f32, bf16, bf16)
EACH_BACKWARD(bf16, bf16, float, f32)
EACH_BACKWARD(bf16, bf16, bf16, bf16)
