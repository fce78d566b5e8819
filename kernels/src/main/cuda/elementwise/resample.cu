/* resample.cu - images of twice or half the height and width.
 * up: y[n,i,j] = factor * x[n,i/2,j/2]. down: y[n,i,j] = factor * (x[n,2i,2j] + x[n,2i,2j+1] + x[n,2i+1,2j] +
 * x[n,2i+1,2j+1]).    Dhariwal & Nichol 2021, section 3
 * f32 and bf16; computed in f32. A thread takes 16 bytes of a small pixel. Memory bound: every tensor is
 * read or written once. Arch sm_80+; emulator yes.
 */
#include "common/types.cuh"
#include "common/window.cuh"

#define THREADS 256

/* Calls f(small, large, n) for each chunk of n channels of the small images' pixels: where it begins in
 * [R,W,C] and where, of the first of its four pixels, in [2R,2W,C]. R are the rows of all images. */
template <int N, class F>
__device__ __forceinline__ void for_small(int R, int W, int C, F f) {
  const Window w = {nullptr, nullptr, R * W, 0, 0, 1, -1};
  for_chunks<N>(w, C, [&](long long pixel, int c, int n) {
    const long long row = pixel / W;
    const long long column = pixel % W;
    f(pixel * C + c, (row * 2 * (2 * W) + column * 2) * C + c, n);
  });
}

/* x [R,W,C], y [2R,2W,C] */
template <class T>
__device__ __forceinline__ void resample_up(const T* x, T* y, int R, int W, int C, float factor) {
  for_small<Chunk<T>::N>(R, W, C, [&](long long small, long long large, int n) {
    Chunk<T> v;
    v.load(x + small, n);
#pragma unroll
    for (int i = 0; i < Chunk<T>::N; ++i) v.v[i] *= factor;
    const long long below = 2LL * W * C;
    v.store(y + large, n);
    v.store(y + large + C, n);
    v.store(y + large + below, n);
    v.store(y + large + below + C, n);
  });
}

/* x [2R,2W,C], y [R,W,C] */
template <class T>
__device__ __forceinline__ void resample_down(const T* x, T* y, int R, int W, int C, float factor) {
  for_small<Chunk<T>::N>(R, W, C, [&](long long small, long long large, int n) {
    const long long below = 2LL * W * C;
    Chunk<T> sum, v;
    sum.load(x + large, n);
#pragma unroll
    for (int part = 1; part < 4; ++part) {
      v.load(x + large + part / 2 * below + part % 2 * C, n);
#pragma unroll
      for (int i = 0; i < Chunk<T>::N; ++i) sum.v[i] += v.v[i];
    }
#pragma unroll
    for (int i = 0; i < Chunk<T>::N; ++i) sum.v[i] *= factor;
    sum.store(y + small, n);
  });
}

#define EACH(T, suffix)                                                                                  \
  extern "C" __global__ void __launch_bounds__(THREADS)                                                  \
      resample_up_##suffix(const T* RESTRICT x, T* RESTRICT y, int R, int W, int C, float factor) {      \
    resample_up(x, y, R, W, C, factor);                                                                  \
  }                                                                                                      \
  KERNEL(resample_up_##suffix, THREADS)                                                                  \
  extern "C" __global__ void __launch_bounds__(THREADS)                                                  \
      resample_down_##suffix(const T* RESTRICT x, T* RESTRICT y, int R, int W, int C, float factor) {    \
    resample_down(x, y, R, W, C, factor);                                                                \
  }                                                                                                      \
  KERNEL(resample_down_##suffix, THREADS)

EACH(float, f32)
EACH(bf16, bf16)
