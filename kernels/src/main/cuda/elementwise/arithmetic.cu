/* arithmetic.cu - sums, constants, what a network reads of an image, whole images moved.
 * add: y = a + b. fill: y = value. normalize_pixels: y = x / (levels-1) * 2 - 1 and a channel of ones.
 * add_bias: y = x + table[label of the image]. shift: y[n,i,j] = x[n,i-rows,j-columns], else 0.
 * copy_channels: some channels of x to some of y. reverse_channels: those of each row in reverse order.
 * copy_channels: some channels of x to some of y. scale_pixels: normalize_pixels without the ones.
 * cast: y = x in another type. reshape: y = x, byte by byte.
 * Each in f32 and bf16; computed in f32. A thread takes 16 bytes. Memory bound: every tensor is read or
 * written once. Arch sm_80+; emulator yes.
 */
#include "common/refuse.cuh"
#include "common/types.cuh"
#include "common/window.cuh"

#define THREADS 256

/* a, b, y [rows,D] */
template <class T>
__device__ __forceinline__ void add(const T* a, const T* b, T* y, int D, const Window& w) {
  for_chunks<Chunk<T>::N>(w, D, [&](long long row, int c, int n) {
    Chunk<T> u, v;
    u.load(a + row * D + c, n);
    v.load(b + row * D + c, n);
#pragma unroll
    for (int i = 0; i < Chunk<T>::N; ++i) u.v[i] += v.v[i];
    u.store(y + row * D + c, n);
  });
}

/* y [elements] */
template <class T>
__device__ __forceinline__ void fill(T* y, float value, long long elements) {
  for_elements<Chunk<T>::N>(elements, [&](long long at, int n) {
    Chunk<T> v;
#pragma unroll
    for (int i = 0; i < Chunk<T>::N; ++i) v.v[i] = value;
    v.store(y + at, n);
  });
}

/* x [rows,C] u8, y [rows,C+1] */
template <class T>
__device__ __forceinline__ void normalize_pixels(const u8* x, T* y, int C, int levels, const Window& w) {
  for_chunks<1>(w, C + 1, [&](long long row, int c, int) {
    const float v = c < C ? (float)x[row * C + c] / (float)(levels - 1) * 2.0f - 1.0f : 1.0f;
    y[row * (C + 1) + c] = Convert<T>::from(v);
  });
}

/* x [elements] u8, y [elements] */
template <class T>
__device__ __forceinline__ void scale_pixels(const u8* x, T* y, long long elements, int levels) {
  for_elements<Chunk<T>::N>(elements, [&](long long at, int n) {
    Chunk<T> v;
#pragma unroll
    for (int i = 0; i < Chunk<T>::N; ++i) {
      v.v[i] = i < n ? (float)x[at + i] / (float)(levels - 1) * 2.0f - 1.0f : 0.0f;
    }
    v.store(y + at, n);
  });
}

/* x, y [elements] */
template <class T, class U>
__device__ __forceinline__ void cast(const T* x, U* y, long long elements) {
  for_elements<Chunk<U>::N>(elements, [&](long long at, int n) {
    Chunk<U> v;
    v.load(x + at, n);
    v.store(y + at, n);
  });
}

/* x, y [bytes] */
extern "C" __global__ void __launch_bounds__(THREADS)
    reshape(const u8* RESTRICT x, u8* RESTRICT y, long long bytes) {
  for_elements<16>(bytes, [&](long long at, int n) {
    if (n == 16 && aligned(x + at) && aligned(y + at)) {
      *reinterpret_cast<uint4*>(y + at) = *reinterpret_cast<const uint4*>(x + at);
    } else {
      for (int i = 0; i < n; ++i) y[at + i] = x[at + i];
    }
  });
}
KERNEL(reshape, THREADS)

/* x, y [rows,D], rows = [N,P,G]; table [L,G*D]; labels [N] or null for row 0. A label that is not below
 * L is refused. */
template <class T>
__device__ __forceinline__ void add_bias(const T* x, const float* table, const u8* labels, T* y,
                                         Refusal* refusal, int L, int D, const Window& w) {
  for_chunks<Chunk<T>::N>(w, D, [&](long long row, int c, int n) {
    const int C = w.groups * D;
    const long long image = row / w.groups / w.positions;
    const int label = labels == nullptr ? 0 : labels[image];
    if (label >= L) refuse(refusal, REFUSED_LABEL, (int)image, label, L);
    const float* b = table + (long long)label * C + row % w.groups * D + c;
    Chunk<T> v;
    v.load(x + row * D + c, n);
#pragma unroll
    for (int i = 0; i < Chunk<T>::N; ++i) {
      if (i < n) v.v[i] += label < L ? b[i] : NAN_F32;
    }
    v.store(y + row * D + c, n);
  });
}

/* x, y [N,H,W,C] */
template <class T>
__device__ __forceinline__ void shift(const T* x, T* y, int H, int W, int C, int rows, int columns,
                                      const Window& w) {
  for_chunks<Chunk<T>::N>(w, C, [&](long long row, int c, int n) {
    const long long image = row / ((long long)H * W);
    const long long i = row / W % H - rows;
    const long long j = row % W - columns;
    const bool inside = i >= 0 && i < H && j >= 0 && j < W;
    Chunk<T> v;
    v.load(x + (inside ? ((image * H + i) * W + j) * C + c : 0), inside ? n : 0);
    v.store(y + row * C + c, n);
  });
}

/* D channels of each row, from rows of X to rows of Y channels; x and y begin at the first of them. */
template <class T>
__device__ __forceinline__ void copy_channels(const T* x, T* y, int rows, int D, int X, int Y) {
  const Window w = {nullptr, nullptr, rows, 0, 0, 1, -1};
  for_chunks<Chunk<T>::N>(w, D, [&](long long row, int c, int n) {
    Chunk<T> v;
    v.load(x + row * X + c, n);
    v.store(y + row * Y + c, n);
  });
}

/* x, y [rows,D] */
template <class T>
__device__ __forceinline__ void reverse_channels(const T* x, T* y, int D, long long elements) {
  for_elements<1>(elements, [&](long long at, int) { y[at] = x[2 * (at - at % D) + D - 1 - at]; });
}

#define EACH(T, suffix)                                                                              \
  extern "C" __global__ void __launch_bounds__(THREADS)                                              \
      add_##suffix(const T* RESTRICT a, const T* RESTRICT b, T* RESTRICT y, int D, Window w) {       \
    add(a, b, y, D, w);                                                                              \
  }                                                                                                  \
  KERNEL(add_##suffix, THREADS)                                                                      \
  extern "C" __global__ void __launch_bounds__(THREADS)                                              \
      fill_##suffix(T* RESTRICT y, float value, long long elements) {                                \
    fill(y, value, elements);                                                                        \
  }                                                                                                  \
  KERNEL(fill_##suffix, THREADS)                                                                     \
  extern "C" __global__ void __launch_bounds__(THREADS)                                              \
      normalize_pixels_##suffix(const u8* RESTRICT x, T* RESTRICT y, int C, int levels, Window w) {  \
    normalize_pixels(x, y, C, levels, w);                                                            \
  }                                                                                                  \
  KERNEL(normalize_pixels_##suffix, THREADS)                                                         \
  extern "C" __global__ void __launch_bounds__(THREADS)                                              \
      scale_pixels_##suffix(const u8* RESTRICT x, T* RESTRICT y, long long elements, int levels) {   \
    scale_pixels(x, y, elements, levels);                                                            \
  }                                                                                                  \
  KERNEL(scale_pixels_##suffix, THREADS)                                                             \
  extern "C" __global__ void __launch_bounds__(THREADS)                                              \
      add_bias_##suffix(const T* RESTRICT x, const float* RESTRICT table, const u8* RESTRICT labels, \
                        T* RESTRICT y, Refusal* RESTRICT refusal, int L, int D, Window w) {              \
    add_bias(x, table, labels, y, refusal, L, D, w);                                                 \
  }                                                                                                  \
  KERNEL(add_bias_##suffix, THREADS)                                                                 \
  extern "C" __global__ void __launch_bounds__(THREADS)                                              \
      shift_##suffix(const T* RESTRICT x, T* RESTRICT y, int H, int W, int C, int rows, int columns, \
                     Window w) {                                                                     \
    shift(x, y, H, W, C, rows, columns, w);                                                          \
  }                                                                                                  \
  KERNEL(shift_##suffix, THREADS)                                                                    \
  extern "C" __global__ void __launch_bounds__(THREADS)                                              \
      copy_channels_##suffix(const T* RESTRICT x, T* RESTRICT y, int rows, int D, int X, int Y) {    \
    copy_channels(x, y, rows, D, X, Y);                                                              \
  }                                                                                                  \
  KERNEL(copy_channels_##suffix, THREADS)                                                            \
  extern "C" __global__ void __launch_bounds__(THREADS)                                              \
      reverse_channels_##suffix(const T* RESTRICT x, T* RESTRICT y, int D, long long elements) {     \
    reverse_channels(x, y, D, elements);                                                             \
  }                                                                                                  \
  KERNEL(reverse_channels_##suffix, THREADS)

EACH(float, f32)
EACH(bf16, bf16)

#define EACH_CAST(T, from, U, to)                                                                    \
  extern "C" __global__ void __launch_bounds__(THREADS)                                              \
      cast_##from##_##to(const T* RESTRICT x, U* RESTRICT y, long long elements) {                   \
    cast(x, y, elements);                                                                            \
  }                                                                                                  \
  KERNEL(cast_##from##_##to, THREADS)

EACH_CAST(float, f32, float, f32)
EACH_CAST(float, f32, bf16, bf16)
EACH_CAST(bf16, bf16, float, f32)
EACH_CAST(bf16, bf16, bf16, bf16)
