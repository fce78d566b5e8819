/* activation.cuh - the units that element-wise kernels and a convolution's last step share. */
#ifndef GATUN_COMMON_ACTIVATION_CUH_
#define GATUN_COMMON_ACTIVATION_CUH_

#include "common/portable.cuh"

__device__ __forceinline__ float sigmoid(float v) { return 1.0f / (1.0f + expf(-v)); }
/* A NaN stays one. */
__device__ __forceinline__ float relu(float v) { return v < 0.0f ? 0.0f : v; }
/* Clevert et al. 2016, section 3. */
__device__ __forceinline__ float elu(float v) { return v > 0.0f ? v : expm1f(v); }
/* The derivative of elu at v. */
__device__ __forceinline__ float elu_slope(float v) { return v > 0.0f ? 1.0f : expf(v); }
/* The derivative of v * sigmoid(v). */
__device__ __forceinline__ float silu_slope(float v) {
  const float g = sigmoid(v);
  return g * (1.0f + v * (1.0f - g));
}
/* f(a) * sigmoid(b), f tanh or the identity: van den Oord et al. 2016, section 2.1. */
__device__ __forceinline__ float gate(float a, float b, bool linear) {
  return (linear ? a : tanhf(a)) * sigmoid(b);
}

#endif
