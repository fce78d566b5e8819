/* dropout.cu - zeroes a share dropped/256 of the elements and scales the others.
 * Element e is kept if byte e % 16 of philox(seed, (e / 16, step, site, stream)) is at least `dropped`
 * (Srivastava et al. 2014, section 4). No mask is stored: the gradient is the same kernel on dy.
 * x, y [elements] f32 or bf16; step [1] f64, a whole number below 2^31, or it is refused. A thread takes the 16 elements of one
 * counter. Memory bound: 1 read + 1 write of x. Arch sm_80+; emulator yes.
 */
#include "common/philox.cuh"
#include "common/refuse.cuh"
#include "common/types.cuh"

#define THREADS 256
#define EACH_THREAD 16

template <class T>
__device__ __forceinline__ void dropout(const T* x, const double* step, T* y, Refusal* refusal,
                                        long long elements, unsigned long long seed, int site, int stream, int dropped,
                                        float scale) {
  const long long from = ((long long)blockIdx.x * THREADS + threadIdx.x) * EACH_THREAD;
  if (from >= elements) return;
  const double number = *step;
  const bool whole = number >= 0 && number <= 2147483647.0 && number == floor(number);
  if (!whole) refuse(refusal, REFUSED_STEP, 0, 0, 0);
  const uint4 bits = philox(seed, make_uint4((unsigned)(from / EACH_THREAD), whole ? (unsigned)number : 0u,
                                             (unsigned)site, (unsigned)stream));
  const int left = elements - from < EACH_THREAD ? (int)(elements - from) : EACH_THREAD;
#pragma unroll
  for (int part = 0; part < EACH_THREAD; part += Chunk<T>::N) {
    const int n = left - part < Chunk<T>::N ? left - part : Chunk<T>::N;
    if (n <= 0) return;
    Chunk<T> v;
    v.load(x + from + part, n);
#pragma unroll
    for (int i = 0; i < Chunk<T>::N; ++i) {
      const int byte = part + i;
      const int random = (int)(word_of(bits, byte / 4) >> byte % 4 * 8 & 255u);
      v.v[i] *= !whole ? NAN_F32 : random >= dropped ? scale : 0.0f;
    }
    v.store(y + from + part, n);
  }
}

#define EACH(T, suffix)                                                                            \
  extern "C" __global__ void __launch_bounds__(THREADS) dropout_##suffix(                          \
      const T* RESTRICT x, const double* RESTRICT step, T* RESTRICT y, Refusal* RESTRICT refusal,      \
      long long elements, unsigned long long seed, int site, int stream, int dropped,              \
      float scale) {                                                                               \
    dropout(x, step, y, refusal, elements, seed, site, stream, dropped, scale);                    \
  }                                                                                                \
  KERNEL(dropout_##suffix, THREADS)

EACH(float, f32)
EACH(bf16, bf16)
