/* fold_upsampling.cu - the weights of a 3x3 convolution after nearest up-sampling by 2, as those of a
 * transposed convolution of 4x4 taps with stride 2; and the gradient.
 * w, dw [9,C,K], y, dy [16,K,C] f32. Along an axis tap d of 0..3 is the sum of the taps a of 0..2 with
 * 2 <= a + d <= 3. A thread an element of the result, at most 4 reads each. Arch sm_80+; emulator yes.
 */
#include "common/portable.cuh"

#define THREADS 256

extern "C" __global__ void __launch_bounds__(THREADS)
    fold_upsampling_f32(const float* RESTRICT w, float* RESTRICT y, int C, int K) {
  const long long at = (long long)blockIdx.x * THREADS + threadIdx.x;
  if (at >= 16ll * C * K) return;
  const int c = (int)(at % C);
  const int k = (int)(at / C % K);
  const int tap = (int)(at / C / K);
  float sum = 0.0f;
#pragma unroll
  for (int a = 0; a < 3; ++a) {
#pragma unroll
    for (int b = 0; b < 3; ++b) {
      const int row = a + tap / 4;
      const int column = b + tap % 4;
      if (row >= 2 && row <= 3 && column >= 2 && column <= 3) {
        sum += w[((long long)(a * 3 + b) * C + c) * K + k];
      }
    }
  }
  y[at] = sum;
}
KERNEL(fold_upsampling_f32, THREADS)

extern "C" __global__ void __launch_bounds__(THREADS)
    fold_upsampling_backward_f32(const float* RESTRICT dy, float* RESTRICT dw, int C, int K) {
  const long long at = (long long)blockIdx.x * THREADS + threadIdx.x;
  if (at >= 9ll * C * K) return;
  const int k = (int)(at % K);
  const int c = (int)(at / K % C);
  const int tap = (int)(at / K / C);
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int d = 2 - tap / 3 + i / 2;
    const int e = 2 - tap % 3 + i % 2;
    sum += dy[((long long)(d * 4 + e) * K + k) * C + c];
  }
  dw[at] = sum;
}
KERNEL(fold_upsampling_backward_f32, THREADS)
