/* kernels.cu - small kernels for the emulator's own test, most of them wrong on purpose. */
#include "gatun_emulator.h"

#define TEST_KERNEL(name) extern "C" __global__ void name

TEST_KERNEL(add_one)(const float* x, float* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = x[i] + 1.0f;
}
KERNEL(add_one, 0)

TEST_KERNEL(scale)(float* x, float by, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) x[i] = x[i] * by;
}
KERNEL(scale, 0)

TEST_KERNEL(empty)() {}
KERNEL(empty, 0)

TEST_KERNEL(read_past)(const float* x, float* y, int n) {
  if (blockIdx.x == 1 && threadIdx.x == 33) y[0] = x[n + 2];
}
KERNEL(read_past, 0)

TEST_KERNEL(write_at)(float* x, int at) { x[at] = 1.0f; }
KERNEL(write_at, 0)

TEST_KERNEL(divide)(int* x, int by) { x[0] = x[0] / by; }
KERNEL(divide, 0)

TEST_KERNEL(recurse)(int* x, int depth) {
  struct Deep {
    static int go(volatile int* at, int n) {
      volatile char room[512];
      room[n & 511] = char(n);
      *at = n;
      return n == 0 ? 0 : go(at, n - 1) + room[n & 511];
    }
  };
  x[0] = Deep::go(x, depth);
}
KERNEL(recurse, 0)

TEST_KERNEL(spin)(int* x) {
  if (threadIdx.x == 5) {
    for (;;) asm volatile("");
  }
  x[threadIdx.x] = 1;
}
KERNEL(spin, 0)

TEST_KERNEL(spin_atomic)(int* x) {
  while (atomicAdd(x, 0) == 0) {
  }
}
KERNEL(spin_atomic, 0)

/* Thread 0 waits for what the last thread does: a spin-wait that ends. */
TEST_KERNEL(spin_for_other)(int* x) {
  if (threadIdx.x == blockDim.x - 1) atomicExch(x, 1);
  while (atomicAdd(x, 0) == 0) {
  }
  __syncthreads();
  if (threadIdx.x == 0) x[1] = 7;
}
KERNEL(spin_for_other, 0)

TEST_KERNEL(divergent_barrier)(float* y) {
  if (threadIdx.x < 16) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  y[threadIdx.x] = 1;
}
KERNEL(divergent_barrier, 0)

TEST_KERNEL(early_exit)(float* y) {
  if (threadIdx.x >= 40) return;  // allowed: ended threads count as arrived
  __syncthreads();
  y[threadIdx.x] = 1;
}
KERNEL(early_exit, 0)

TEST_KERNEL(barrier_and_shuffle)(float* y) {
  if (threadIdx.x == 3) {
    __syncthreads();
  } else {
    y[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1.0f, 1);
  }
  y[threadIdx.x] = 1;
}
KERNEL(barrier_and_shuffle, 0)

TEST_KERNEL(shuffle_after_exit)(float* y) {
  if (threadIdx.x == 7) return;
  y[threadIdx.x] = __shfl_down_sync(0xffffffffu, 1.0f, 1);
}
KERNEL(shuffle_after_exit, 0)

TEST_KERNEL(shuffle_not_named)(float* y) {
  y[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, float(threadIdx.x), 1);
}
KERNEL(shuffle_not_named, 0)

TEST_KERNEL(shuffles)(int* y) {
  int lane = threadIdx.x % 32;
  int sum = lane;
  for (int d = 16; d > 0; d /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, d);
  int up = __shfl_up_sync(0xffffffffu, lane, 1);
  int down = __shfl_down_sync(0xffffffffu, lane, 1);
  int third = __shfl_sync(0xffffffffu, lane * 2, 3);
  unsigned odd = __ballot_sync(0xffffffffu, lane & 1);
  double wide = __shfl_xor_sync(0xffffffffu, double(lane), 31);
  bool ok = sum == 496 && up == (lane ? lane - 1 : 0) && down == (lane < 31 ? lane + 1 : 31) &&
            third == 6 && odd == 0xaaaaaaaau && wide == 31.0 - lane &&
            __any_sync(0xffffffffu, lane == 4) && !__all_sync(0xffffffffu, lane == 4) &&
            __syncthreads_count(lane == 0) == int(blockDim.x / 32) && __syncthreads_or(lane == 9) &&
            !__syncthreads_and(lane == 9);
  if (lane < 8) ok = ok && __shfl_xor_sync(0xffu, lane, 7, 8) == 7 - lane;
  y[blockIdx.x * blockDim.x + threadIdx.x] = ok;
}
KERNEL(shuffles, 0)

TEST_KERNEL(reverse)(float* x) {
  SHARED(float, tile, [128]);
  tile[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = tile[127 - threadIdx.x];
}
KERNEL(reverse, 128)

TEST_KERNEL(reverse_no_barrier)(float* x) {
  SHARED(float, tile, [128]);
  tile[threadIdx.x] = x[threadIdx.x];
  x[threadIdx.x] = tile[127 - threadIdx.x];
}
KERNEL(reverse_no_barrier, 128)

TEST_KERNEL(shared_past)(float* x, int at) {
  SHARED(float, tile, [100]);
  tile[at] = x[0];
  x[1] = tile[0];
}
KERNEL(shared_past, 0)

TEST_KERNEL(dynamic_past)(float* x, int at) {
  EXTERN_SHARED(float, tile);
  tile[at] = x[0];
  x[1] = tile[at];
}
KERNEL(dynamic_past, 0)

struct Large {
  float at[10000];
};
TEST_KERNEL(shared_both)(float* x) {
  SHARED(Large, first, [1]);
  SHARED(Large, second, [1]);
  first[0].at[0] = x[0];
  second[0].at[0] = first[0].at[0];
  x[0] = second[0].at[0];
}
KERNEL(shared_both, 0)

TEST_KERNEL(grid_rotate)(int* x, int rounds) {
  int n = gridDim.x * blockDim.x;
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  for (int r = 0; r < rounds; ++r) {
    int v = x[(i + 1) % n];
    gatun_emu_grid_sync();
    x[i] = v;
    gatun_emu_grid_sync();
  }
}
KERNEL(grid_rotate, 256)

TEST_KERNEL(asserts)(int v) { assert(v == 1); }
KERNEL(asserts, 0)

TEST_KERNEL(traps)() { __trap(); }
KERNEL(traps, 0)

TEST_KERNEL(count)(unsigned* x) { atomicAdd(x, 1u); }
KERNEL(count, 0)

struct Mixed {
  char a;
  double b;
};
TEST_KERNEL(parameters)(char a, double b, short c, Mixed d, long long* out) {
  out[0] = a;
  out[1] = (long long)b;
  out[2] = c;
  out[3] = d.a;
  out[4] = (long long)d.b;
}
KERNEL(parameters, 0)

TEST_KERNEL(where)(int* out) {
  unsigned b = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  unsigned t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[b * blockDim.x * blockDim.y * blockDim.z + t] = int(b * 1000 + t);
}
KERNEL(where, 0)

/* Copies its tile asynchronously; without the wait the destination is still 0xFF. */
TEST_KERNEL(copy_async)(const float* x, float* y, int wait) {
  SHARED(float, tile, [64]);
  gatun_emu_cp_async(&tile[threadIdx.x], &x[threadIdx.x], 4);
  gatun_emu_cp_commit();
  if (wait) gatun_emu_cp_wait(0);
  __syncthreads();
  y[threadIdx.x] = tile[63 - threadIdx.x];
}
KERNEL(copy_async, 64)
