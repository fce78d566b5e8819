/* window.cuh - which part of a tensor an element-wise kernel works on, and how its threads share it.
 * A tensor is seen as [N,P,G,D]: N images of P positions, G groups of D channels; a row is one group at
 * one position. A whole window is all of them. While images are drawn, a window is `count` positions from
 * first[*time] on, of every image, and one group or all; time lies on the device, so that a captured
 * launch works on other positions at each replay. first[*time] < 0: nothing to do now.
 */
#ifndef GATUN_COMMON_WINDOW_CUH_
#define GATUN_COMMON_WINDOW_CUH_

#include "common/portable.cuh"

struct Window {
  const int* first;  // [times] or null for the whole tensor
  const int* time;   // [1]
  int rows;          // of the window
  int count;         // positions of an image at a time
  int positions;     // P
  int groups;        // G
  int group;         // or -1 for all
};

/* The first position, or -1 where there is nothing to do now. */
__device__ __forceinline__ int window_first(const Window& w) {
  return w.first == nullptr ? 0 : w.first[*w.time];
}

/* The row of [N*P*G,D] that is the window's i-th. */
__device__ __forceinline__ long long window_row(const Window& w, int first, int i) {
  if (w.first == nullptr) return i;
  const int each = w.group < 0 ? w.groups : 1;
  const int at = i / each;
  const long long pixel = (long long)(at / w.count) * w.positions + first + at % w.count;
  return pixel * w.groups + (w.group < 0 ? i % each : w.group);
}

/* Calls f(row, c, n) for each chunk of n <= N channels from c on of each row of the window. */
template <int N, class F>
__device__ __forceinline__ void for_chunks(const Window& w, int D, F f) {
  const int first = window_first(w);
  if (first < 0) return;
  const int each = (D + N - 1) / N;  // chunks a row
  const long long all = (long long)w.rows * each;
  const long long step = (long long)gridDim.x * blockDim.x;
  for (long long q = (long long)blockIdx.x * blockDim.x + threadIdx.x; q < all; q += step) {
    const int c = (int)(q % each) * N;
    f(window_row(w, first, (int)(q / each)), c, D - c < N ? D - c : N);
  }
}

/* Calls f(at, n) for each chunk of n <= N elements from `at` on of `elements`. */
template <int N, class F>
__device__ __forceinline__ void for_elements(long long elements, F f) {
  const long long step = (long long)gridDim.x * blockDim.x * N;
  for (long long at = ((long long)blockIdx.x * blockDim.x + threadIdx.x) * N; at < elements; at += step) {
    f(at, elements - at < N ? (int)(elements - at) : N);
  }
}

#endif
