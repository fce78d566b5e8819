/* draw.cu - the values of a pixel, drawn from what a network says of it; time that passes on the device.
 * parameters [N,P,G*count] f32 or bf16: G groups, one a pass; images [N,P,C] u8, written at the window's
 * position. Uniform numbers are words of philox(seed, (index / 4, 0, image, stream)): those that the host
 * draws with. Cumulative distributions are inverted, their sums taken in the host's order and without
 * contraction, so that both draw alike. One warp an image. Arch sm_80+; emulator yes.
 */
#include "common/philox.cuh"
#include "common/reduce.cuh"
#include "common/types.cuh"
#include "common/window.cuh"

#define THREADS 128
#define IMAGES (THREADS / WARP_SIZE)
#define BLOCK 16 /* levels that are summed up together */
#define LEAST_LOG_SCALE (-7.0)

/* Changes between runs, so it lies on the device. */
struct DrawRequest {
  unsigned long long seed;
  double temperature;
  const u8* given;  // [count,P,C], whose first positions are kept; or null
  int given_positions;
  int first;        // number of the first image of the batch
  int count;        // images that are wanted of the batch
  int stream;
};

__device__ __forceinline__ float uniform(const DrawRequest& r, int image, long long index) {
  const long long block = index / 4;
  const uint4 words = philox(
      r.seed, make_uint4((unsigned)block, (unsigned)(block >> 32), (unsigned)image, (unsigned)r.stream));
  return uniform_of(word_of(words, (int)(index % 4)));
}

/* exp(x) for x <= 0: a polynomial gives exp(x / 64), squared six times. As the host has it; a NaN stays one. */
__device__ __forceinline__ float exp_of(float x) {
  const float r = __fmul_rn(x < -128.0f ? -128.0f : x, 1.0f / 64);
  float e = __fadd_rn(__fmul_rn(r, 1.0f / 720), 1.0f / 120);
  e = __fadd_rn(__fmul_rn(e, r), 1.0f / 24);
  e = __fadd_rn(__fmul_rn(e, r), 1.0f / 6);
  e = __fadd_rn(__fmul_rn(e, r), 0.5f);
  e = __fadd_rn(__fmul_rn(e, r), 1.0f);
  e = __fadd_rn(__fmul_rn(e, r), 1.0f);
#pragma unroll
  for (int i = 0; i < 6; ++i) e = __fmul_rn(e, e);
  return e;
}

/* The smallest k whose cumulative probability exceeds u, in all lanes; a lane has a block of levels,
 * so there are at most 512. A NaN among the logits gives the last level. */
template <class T>
__device__ __forceinline__ int draw_level(const T* logits, int levels, float scale, float u) {
  const int lane = threadIdx.x % WARP_SIZE;
  const int from = lane * BLOCK;
  float p[BLOCK];
  float most = -INFINITY_F32;
#pragma unroll
  for (int i = 0; i < BLOCK; ++i) {
    p[i] = from + i < levels ? to_float(logits[from + i]) : -INFINITY_F32;
    most = fmaxf(most, p[i]);
  }
  most = warp_max(most);
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < BLOCK; ++i) {
    p[i] = from + i < levels ? exp_of(__fmul_rn(__fsub_rn(p[i], most), scale)) : 0.0f;
    sum = __fadd_rn(sum, p[i]);
  }
  double total = 0.0;
  const int blocks = (levels + BLOCK - 1) / BLOCK;
  for (int b = 0; b < blocks; ++b) total = __dadd_rn(total, (double)__shfl_sync(FULL_WARP, sum, b));
  if (total != total) return levels - 1;
  double left = __dmul_rn((double)u, total);
  int block = 0;
  for (; block < blocks - 1; ++block) {
    const double own = (double)__shfl_sync(FULL_WARP, sum, block);
    if (own > left) break;
    left = __dsub_rn(left, own);
  }
  // the lane of that block looks through it, and on through those after it
  int found = -1;
  int last = -1;  // a level that can be
  for (int b = block; b < blocks; ++b) {
    double after = left;
    int k = -1;
    int able = -1;
    if (lane == b) {
#pragma unroll
      for (int i = 0; i < BLOCK; ++i) {
        const int level = from + i;
        if (level < levels - 1 && k < 0) {
          after = __dsub_rn(after, (double)p[i]);
          if (after < 0.0) k = level;
        }
        if (level < levels && p[i] != 0.0f) able = level;
      }
    }
    left = __shfl_sync(FULL_WARP, after, b);
    k = __shfl_sync(FULL_WARP, k, b);
    able = __shfl_sync(FULL_WARP, able, b);
    if (found < 0) found = k;
    if (able >= 0) last = able;
    if (found >= 0) break;
  }
  if (found >= 0) return found;
  // sums are rounded: what may be left over is not for a last level that cannot be
  for (int b = block - 1; b >= 0 && last < 0; --b) {
    int able = -1;
#pragma unroll
    for (int i = 0; i < BLOCK; ++i) {
      if (from + i < levels && p[i] != 0.0f) able = from + i;
    }
    last = __shfl_sync(FULL_WARP, able, b);
  }
  return last < 0 ? levels - 1 : last;
}

/* Whether the pixel is one of those given, which it then becomes. */
__device__ __forceinline__ bool take_given(const DrawRequest& r, const Window& w, int n, int position,
                                           int C, u8* pixel) {
  if (r.given == nullptr || position >= r.given_positions || n >= r.count) return false;
  const int lane = threadIdx.x % WARP_SIZE;
  if (lane < C) pixel[lane] = r.given[((long long)n * w.positions + position) * C + lane];
  return true;
}

/* Draws colour `group` of each image: levels logits a group. */
template <class T>
__device__ __forceinline__ void draw_categorical(const T* parameters, const DrawRequest* request, u8* images,
                                                 int C, int levels, const Window& w) {
  const int n = blockIdx.x * IMAGES + threadIdx.x / WARP_SIZE;
  const int position = window_first(w);
  if (n >= w.rows || position < 0) return;
  const DrawRequest r = *request;
  u8* const pixel = images + ((long long)n * w.positions + position) * C;
  if (take_given(r, w, n, position, C, pixel)) return;
  const T* logits = parameters + (((long long)n * w.positions + position) * w.groups + w.group) * levels;
  const float u = uniform(r, r.first + n, (long long)position * C + w.group);
  const int level = draw_level(logits, levels, (float)(1.0 / r.temperature), u);
  if (threadIdx.x % WARP_SIZE == 0) pixel[w.group] = (u8)level;
}

/* Draws all colours of each image from a mixture of M logistics; see logistic_mixture.cu. */
template <class T>
__device__ __forceinline__ void draw_mixture(const T* parameters, const DrawRequest* request, u8* images,
                                             int C, int M, int levels, const Window& w) {
  const int n = blockIdx.x * IMAGES + threadIdx.x / WARP_SIZE;
  const int position = window_first(w);
  if (n >= w.rows || position < 0) return;
  const DrawRequest r = *request;
  u8* const pixel = images + ((long long)n * w.positions + position) * C;
  if (take_given(r, w, n, position, C, pixel)) return;
  const int each = C == 3 ? 3 : 2;
  const T* p = parameters + ((long long)n * w.positions + position) * (C == 3 ? 10 : 3) * M;
  const long long index = (long long)position * (1 + C);
  const int m = draw_level(p, M, (float)(1.0 / r.temperature), uniform(r, r.first + n, index));
  if (threadIdx.x % WARP_SIZE != 0) return;
  double drawn[3] = {0.0, 0.0, 0.0};
  for (int c = 0; c < C; ++c) {
    double mean = to_float(p[M * (1 + c * each) + m]);
    if (c == 1) mean += tanh((double)to_float(p[M * 3 + m])) * drawn[0];
    if (c == 2) {
      mean += tanh((double)to_float(p[M * 6 + m])) * drawn[0] + tanh((double)to_float(p[M * 9 + m])) * drawn[1];
    }
    double scale = to_float(p[M * (1 + c * each + 1) + m]);
    scale = scale > LEAST_LOG_SCALE ? scale : LEAST_LOG_SCALE;
    const double u = uniform(r, r.first + n, index + 1 + c);
    // u is a multiple of 2^-24: kept off 0, where the logistic's inverse is infinite
    const double x = mean + r.temperature * exp(scale) * (log(u > 0x1p-25 ? u : 0x1p-25) - log1p(-u));
    // the nearest level is the one whose bin holds x
    const double level = floor((x + 1.0) / 2.0 * (levels - 1) + 0.5);
    const int value = level > 0.0 ? level < levels - 1 ? (int)level : levels - 1 : 0;
    pixel[c] = (u8)value;
    drawn[c] = 2.0 * value / (levels - 1) - 1.0;
  }
}

#define EACH(T, suffix)                                                                                \
  extern "C" __global__ void __launch_bounds__(THREADS) draw_categorical_##suffix(                     \
      const T* RESTRICT parameters, const DrawRequest* RESTRICT request, u8* RESTRICT images, int C,   \
      int levels, Window w) {                                                                          \
    draw_categorical(parameters, request, images, C, levels, w);                                       \
  }                                                                                                    \
  KERNEL(draw_categorical_##suffix, THREADS)                                                           \
  extern "C" __global__ void __launch_bounds__(THREADS) draw_mixture_##suffix(                         \
      const T* RESTRICT parameters, const DrawRequest* RESTRICT request, u8* RESTRICT images, int C,   \
      int M, int levels, Window w) {                                                                   \
    draw_mixture(parameters, request, images, C, M, levels, w);                                        \
  }                                                                                                    \
  KERNEL(draw_mixture_##suffix, THREADS)                                                               \
  /* to [N,D] f32 = the window of from [N,P,G,D] */                                                    \
  extern "C" __global__ void __launch_bounds__(THREADS) take_position_##suffix(                        \
      const T* RESTRICT from, float* RESTRICT to, int D, Window w) {                                   \
    const int position = window_first(w);                                                              \
    const int at = blockIdx.x * THREADS + threadIdx.x;                                                 \
    if (position < 0 || at >= w.rows * D) return;                                                      \
    to[at] = to_float(from[window_row(w, position, at / D) * D + at % D]);                             \
  }                                                                                                    \
  KERNEL(take_position_##suffix, THREADS)

EACH(float, f32)
EACH(bf16, bf16)

/* the window of images [N,P,C] = from [N,C] */
extern "C" __global__ void __launch_bounds__(THREADS)
    put_position_u8(const u8* RESTRICT from, u8* RESTRICT images, int C, Window w) {
  const int position = window_first(w);
  const int at = blockIdx.x * THREADS + threadIdx.x;
  if (position < 0 || at >= w.rows * C) return;
  images[((long long)(at / C) * w.positions + position) * C + at % C] = from[at];
}
KERNEL(put_position_u8, THREADS)

/* The next time. One thread. */
extern "C" __global__ void __launch_bounds__(1) advance_time(int* time) { *time += 1; }
KERNEL(advance_time, 1)
