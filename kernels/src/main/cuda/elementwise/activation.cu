/* activation.cu - element-wise units and their gradients.
 * relu, silu = x * sigmoid(x), elu (Clevert et al. 2016, section 3), concat_elu = [elu(x), elu(-x)] (Salimans et al. 2017),
 * gate = f(a) * sigmoid(b) + residual, f tanh or the identity (van den Oord et al. 2016, section 2.1).
 * Each in f32 and bf16; computed in f32. A thread takes 16 bytes. Memory bound: every tensor is read or
 * written once. Arch sm_80+; emulator yes.
 */
#include "common/activation.cuh"
#include "common/types.cuh"
#include "common/window.cuh"

#define THREADS 256

/* x, y [rows,D] of the window. */
template <class T, class F>
__device__ __forceinline__ void unary(const T* x, T* y, int D, const Window& w, F f) {
  for_chunks<Chunk<T>::N>(w, D, [&](long long row, int c, int n) {
    Chunk<T> a;
    a.load(x + row * D + c, n);
#pragma unroll
    for (int i = 0; i < Chunk<T>::N; ++i) a.v[i] = f(a.v[i]);
    a.store(y + row * D + c, n);
  });
}

/* y, dy, dx [elements] */
template <class T, class F>
__device__ __forceinline__ void unary_backward(const T* y, const T* dy, T* dx, long long elements, F f) {
  for_elements<Chunk<T>::N>(elements, [&](long long at, int n) {
    Chunk<T> a, b;
    a.load(y + at, n);
    b.load(dy + at, n);
#pragma unroll
    for (int i = 0; i < Chunk<T>::N; ++i) a.v[i] = f(a.v[i], b.v[i]);
    a.store(dx + at, n);
  });
}

/* x [rows,D], y [rows,2D] */
template <class T>
__device__ __forceinline__ void concat_elu(const T* x, T* y, int D, const Window& w) {
  for_chunks<Chunk<T>::N>(w, D, [&](long long row, int c, int n) {
    Chunk<T> a, b;
    a.load(x + row * D + c, n);
#pragma unroll
    for (int i = 0; i < Chunk<T>::N; ++i) {
      b.v[i] = elu(-a.v[i]);
      a.v[i] = elu(a.v[i]);
    }
    a.store(y + row * 2 * D + c, n);
    b.store(y + row * 2 * D + D + c, n);
  });
}

/* x, dx [rows,D], dy [rows,2D] */
template <class T>
__device__ __forceinline__ void concat_elu_backward(const T* x, const T* dy, T* dx, int rows, int D) {
  const Window w = {nullptr, nullptr, rows, 0, 0, 1, -1};
  for_chunks<Chunk<T>::N>(w, D, [&](long long row, int c, int n) {
    Chunk<T> a, up, down;
    a.load(x + row * D + c, n);
    up.load(dy + row * 2 * D + c, n);
    down.load(dy + row * 2 * D + D + c, n);
#pragma unroll
    for (int i = 0; i < Chunk<T>::N; ++i) {
      a.v[i] = up.v[i] * elu_slope(a.v[i]) - down.v[i] * elu_slope(-a.v[i]);
    }
    a.store(dx + row * D + c, n);
  });
}

/* x [rows,2D]: a, then b; residual [rows,D] or null; y [rows,D] */
template <class T>
__device__ __forceinline__ void gate(const T* x, const T* residual, T* y, int D, int linear,
                                     const Window& w) {
  for_chunks<Chunk<T>::N>(w, D, [&](long long row, int c, int n) {
    Chunk<T> a, b, r;
    a.load(x + row * 2 * D + c, n);
    b.load(x + row * 2 * D + D + c, n);
    r.load(residual + row * D + c, residual == nullptr ? 0 : n);
#pragma unroll
    for (int i = 0; i < Chunk<T>::N; ++i) {
      a.v[i] = gate(a.v[i], b.v[i], linear != 0) + r.v[i];
    }
    a.store(y + row * D + c, n);
  });
}

/* x, dx [rows,2D], dy [rows,D] */
template <class T>
__device__ __forceinline__ void gate_backward(const T* x, const T* dy, T* dx, int rows, int D,
                                              int linear) {
  const Window w = {nullptr, nullptr, rows, 0, 0, 1, -1};
  for_chunks<Chunk<T>::N>(w, D, [&](long long row, int c, int n) {
    Chunk<T> a, b, d;
    a.load(x + row * 2 * D + c, n);
    b.load(x + row * 2 * D + D + c, n);
    d.load(dy + row * D + c, n);
#pragma unroll
    for (int i = 0; i < Chunk<T>::N; ++i) {
      const float f = linear ? a.v[i] : tanhf(a.v[i]);
      const float s = sigmoid(b.v[i]);
      a.v[i] = d.v[i] * s * (linear ? 1.0f : (1.0f - f) * (1.0f + f));
      b.v[i] = d.v[i] * f * s * (1.0f - s);
    }
    a.store(dx + row * 2 * D + c, n);
    b.store(dx + row * 2 * D + D + c, n);
  });
}

#define EACH(T, suffix)                                                                           \
  extern "C" __global__ void __launch_bounds__(THREADS)                                           \
      relu_##suffix(const T* RESTRICT x, T* RESTRICT y, int D, Window w) {                        \
    unary(x, y, D, w, [](float v) { return relu(v); });                                           \
  }                                                                                               \
  KERNEL(relu_##suffix, THREADS)                                                                  \
  extern "C" __global__ void __launch_bounds__(THREADS)                                           \
      elu_##suffix(const T* RESTRICT x, T* RESTRICT y, int D, Window w) {                         \
    unary(x, y, D, w, [](float v) { return elu(v); });                                            \
  }                                                                                               \
  KERNEL(elu_##suffix, THREADS)                                                                   \
  extern "C" __global__ void __launch_bounds__(THREADS)                                           \
      silu_##suffix(const T* RESTRICT x, T* RESTRICT y, int D, Window w) {                        \
    unary(x, y, D, w, [](float v) { return v * sigmoid(v); });                                    \
  }                                                                                               \
  KERNEL(silu_##suffix, THREADS)                                                                  \
  extern "C" __global__ void __launch_bounds__(THREADS) silu_backward_##suffix(                   \
      const T* RESTRICT x, const T* RESTRICT dy, T* RESTRICT dx, long long elements) {            \
    unary_backward(x, dy, dx, elements, [](float v, float d) { return d * silu_slope(v); });      \
  }                                                                                               \
  KERNEL(silu_backward_##suffix, THREADS)                                                         \
  extern "C" __global__ void __launch_bounds__(THREADS) relu_backward_##suffix(                   \
      const T* RESTRICT y, const T* RESTRICT dy, T* RESTRICT dx, long long elements) {            \
    unary_backward(y, dy, dx, elements, [](float v, float d) { return v > 0.0f ? d : 0.0f; });    \
  }                                                                                               \
  KERNEL(relu_backward_##suffix, THREADS)                                                         \
  extern "C" __global__ void __launch_bounds__(THREADS) elu_backward_##suffix(                    \
      const T* RESTRICT y, const T* RESTRICT dy, T* RESTRICT dx, long long elements) {            \
    unary_backward(y, dy, dx, elements,                                                           \
                   [](float v, float d) { return v > 0.0f ? d : d * (v + 1.0f); });               \
  }                                                                                               \
  KERNEL(elu_backward_##suffix, THREADS)                                                          \
  extern "C" __global__ void __launch_bounds__(THREADS)                                           \
      concat_elu_##suffix(const T* RESTRICT x, T* RESTRICT y, int D, Window w) {                  \
    concat_elu(x, y, D, w);                                                                       \
  }                                                                                               \
  KERNEL(concat_elu_##suffix, THREADS)                                                            \
  extern "C" __global__ void __launch_bounds__(THREADS) concat_elu_backward_##suffix(             \
      const T* RESTRICT x, const T* RESTRICT dy, T* RESTRICT dx, int rows, int D) {               \
    concat_elu_backward(x, dy, dx, rows, D);                                                      \
  }                                                                                               \
  KERNEL(concat_elu_backward_##suffix, THREADS)                                                   \
  extern "C" __global__ void __launch_bounds__(THREADS)                                           \
      gate_##suffix(const T* RESTRICT x, const T* RESTRICT residual, T* RESTRICT y, int D,        \
                    int linear, Window w) {                                                       \
    gate(x, residual, y, D, linear, w);                                                           \
  }                                                                                               \
  KERNEL(gate_##suffix, THREADS)                                                                  \
  extern "C" __global__ void __launch_bounds__(THREADS)                                           \
      gate_backward_##suffix(const T* RESTRICT x, const T* RESTRICT dy, T* RESTRICT dx, int rows, \
                             int D, int linear) {                                                 \
    gate_backward(x, dy, dx, rows, D, linear);                                                    \
  }                                                                                               \
  KERNEL(gate_backward_##suffix, THREADS)

EACH(float, f32)
EACH(bf16, bf16)
