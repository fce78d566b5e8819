/* tiles.cu - the kernels' tensor-core and copy headers under test, with bugs to plant by number. */
#include "common/async_copy.cuh"
#include "common/mma.cuh"
#include "common/portable.cuh"

#define TEST_KERNEL(name) extern "C" __global__ void name

/* d += a b on raw registers: a [32][4], b [32][2], d [32][4]. */
TEST_KERNEL(mma_registers)(const unsigned* a, const unsigned* b, float* d) {
  const int lane = threadIdx.x % 32;
  unsigned x[4], w[2];
  float y[4];
  for (int i = 0; i < 4; ++i) x[i] = a[lane * 4 + i];
  for (int i = 0; i < 2; ++i) w[i] = b[lane * 2 + i];
  for (int i = 0; i < 4; ++i) y[i] = d[lane * 4 + i];
  mma_m16n8k16_bf16(y, x, w);
  for (int i = 0; i < 4; ++i) d[lane * 4 + i] = y[i];
}
KERNEL(mma_registers, 64)

struct alignas(16) Row {
  unsigned short at[8];
};

/* r [4][32][4]: x4, x2, x4.trans, x2.trans of the 32 rows x [32][8]. */
TEST_KERNEL(ldmatrix_registers)(const unsigned short* x, unsigned* r) {
  SHARED(Row, rows, [32]);
  const int lane = threadIdx.x;
  for (int i = 0; i < 8; ++i) rows[lane].at[i] = x[lane * 8 + i];
  __syncwarp();
  unsigned four[4], two[2], fourTrans[4], twoTrans[2];
  ldmatrix_x4(four, &rows[lane]);
  ldmatrix_x2(two, lane < 16 ? &rows[lane] : nullptr);
  ldmatrix_x4_trans(fourTrans, &rows[lane]);
  ldmatrix_x2_trans(twoTrans, lane < 16 ? &rows[lane] : nullptr);
  for (int i = 0; i < 4; ++i) {
    r[lane * 4 + i] = four[i];
    r[(64 + lane) * 4 + i] = fourTrans[i];
  }
  for (int i = 0; i < 2; ++i) {
    r[(32 + lane) * 4 + i] = two[i];
    r[(96 + lane) * 4 + i] = twoTrans[i];
  }
}
KERNEL(ldmatrix_registers, 32)

#define TILE 128
#define STEP 32
struct alignas(16) RowOfX {
  unsigned short at[STEP + 8];
};
struct alignas(16) RowOfW {
  unsigned short at[TILE + 8];
};

enum Plant {
  NO_BUG, NO_WAIT, WEAK_WAIT, SWAPPED_A, SWAPPED_B, NO_BARRIER, NO_TRAILING_BARRIER, NO_ZEROS,
  NOT_TRANSPOSED
};

/* y [M,N] f32 = x [M,K] w [K,N] bf16, K and N multiples of 8: 8 warps, 64 x 32 each, two stages.
 * grid (N / 128, M / 128) rounded up, block 256. */
TEST_KERNEL(gemm_bf16)(const unsigned short* x, const unsigned short* w, float* y, int M, int N,
                       int K, int plant) {
  SHARED(RowOfX, xs, [2][TILE]);
  SHARED(RowOfW, ws, [2][STEP]);
  const int tid = threadIdx.x, lane = tid % 32, warp = tid / 32;
  const int m0 = blockIdx.y * TILE, n0 = blockIdx.x * TILE;
  const int mw = warp / 4 * 64, nw = warp % 4 * 32;
  float d[4][4][4] = {};

  auto load = [&](int k0, int stage) {
    for (int i = tid; i < TILE * STEP / 8; i += 256) {
      const int row = i / (STEP / 8), k = i % (STEP / 8) * 8;
      const bool valid = m0 + row < M && k0 + k < K;
      if (valid || plant != NO_ZEROS) {
        copy_async<16>(&xs[stage][row].at[k], x + (long long)(m0 + row) * K + k0 + k, valid);
      }
    }
    for (int i = tid; i < STEP * TILE / 8; i += 256) {
      const int row = i / (TILE / 8), n = i % (TILE / 8) * 8;
      const bool valid = k0 + row < K && n0 + n < N;
      copy_async<16>(&ws[stage][row].at[n], w + (long long)(k0 + row) * N + n0 + n, valid);
    }
    copy_commit();
  };

  const int steps = (K + STEP - 1) / STEP;
  load(0, 0);
  for (int s = 0; s < steps; ++s) {
    if (s + 1 < steps) {
      load((s + 1) * STEP, (s + 1) % 2);
    } else {
      copy_commit();
    }
    if (plant == WEAK_WAIT) {
      copy_wait<2>();
    } else if (plant != NO_WAIT) {
      copy_wait<1>();
    }
    if (plant != NO_BARRIER) __syncthreads();
    for (int k = 0; k < STEP; k += 16) {
      unsigned a[4][4], b[4][2];
      for (int i = 0; i < 4; ++i) {
        ldmatrix_x4(a[i], &xs[s % 2][mw + i * 16 + lane % 16].at[k + lane / 16 * 8]);
        if (plant == SWAPPED_A) {
          const unsigned t = a[i][1];
          a[i][1] = a[i][2];
          a[i][2] = t;
        }
      }
      for (int j = 0; j < 4; ++j) {
        const void* row = &ws[s % 2][k + lane % 16].at[nw + j * 8];
        if (plant == NOT_TRANSPOSED) {
          ldmatrix_x2(b[j], row);
        } else {
          ldmatrix_x2_trans(b[j], row);
        }
        if (plant == SWAPPED_B) {
          const unsigned t = b[j][0];
          b[j][0] = b[j][1];
          b[j][1] = t;
        }
      }
      for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) mma_m16n8k16_bf16(d[i][j], a[i], b[j]);
      }
    }
    if (plant != NO_TRAILING_BARRIER) __syncthreads();
  }
  for (int i = 0; i < 4; ++i) {
    for (int j = 0; j < 4; ++j) {
      for (int e = 0; e < 4; ++e) {
        const int m = m0 + mw + i * 16 + lane / 4 + e / 2 * 8;
        const int n = n0 + nw + j * 8 + lane % 4 * 2 + e % 2;
        if (m < M && n < N) y[(long long)m * N + n] = d[i][j][e];
      }
    }
  }
}
KERNEL(gemm_bf16, 256)

/* y [32] = x [32] by copies of each size, zeros from n on; past n the source is no address at all. */
TEST_KERNEL(copy_sizes)(const float* x, float* y, int n) {
  SHARED(float4, tile, [3][8]);
  float(*at)[32] = reinterpret_cast<float(*)[32]>(tile);
  const int t = threadIdx.x;
  auto from = [&](int i) { return i < n ? (const void*)(x + i) : (const void*)0; };
  copy_async<4>(&at[0][t], from(t), t < n);
  if (t < 16) copy_async<8>(&at[1][2 * t], from(2 * t), 2 * t < n);
  if (t < 8) copy_async<16>(&at[2][4 * t], from(4 * t), 4 * t < n);
  copy_commit();
  copy_wait<0>();
  __syncthreads();
  for (int i = 0; i < 3; ++i) y[i * 32 + t] = at[i][t];
}
KERNEL(copy_sizes, 32)

/* The source changes between the copy and the wait. */
TEST_KERNEL(copy_changed)(float* x, float* y) {
  SHARED(float, tile, [8]);
  const int t = threadIdx.x;
  copy_async<4>(&tile[t], x + t, true);
  copy_commit();
  x[t] = -1;
  copy_wait<0>();
  y[t] = tile[t];
}
KERNEL(copy_changed, 8)

/* The first block ends with a copy under way, the second has none. */
TEST_KERNEL(copy_left)(const float* x, float* y) {
  SHARED(float, tile, [8]);
  const int t = threadIdx.x;
  if (blockIdx.x == 0) {
    copy_async<4>(&tile[t], x + t, true);
    copy_commit();
    return;
  }
  tile[t] = -2;
  copy_commit();
  copy_wait<0>();
  y[t] = tile[t];
}
KERNEL(copy_left, 8)

/* Wrong on purpose. */
TEST_KERNEL(mma_diverged)(float* y, int how) {
  const int lane = threadIdx.x % 32;
  unsigned a[4] = {}, b[2] = {};
  float d[4] = {};
  if (how == 0) {
    if (lane < 16) mma_m16n8k16_bf16(d, a, b);
  } else if (how == 1) {
    if (lane < 16) {
      mma_m16n8k16_bf16(d, a, b);
    } else {
      mma_m16n8k16_bf16(d, a, b);
    }
  } else if (how == 2) {
    if (lane == 9) return;
    mma_m16n8k16_bf16(d, a, b);
  } else if (how == 4) {
    if (lane == 9) return;
    __syncthreads();
    mma_m16n8k16_bf16(d, a, b);
  } else {
    if (lane == 3) __syncwarp();
    mma_m16n8k16_bf16(d, a, b);
  }
  y[threadIdx.x] = d[0];
}
KERNEL(mma_diverged, 64)

TEST_KERNEL(ldmatrix_wrong)(const float* x, float* y, int how) {
  SHARED(Row, rows, [32]);
  SHARED(float, after, [3]);
  const int lane = threadIdx.x;
  for (int i = 0; i < 8; ++i) rows[lane].at[i] = 0;
  __syncwarp();
  const char* row = reinterpret_cast<const char*>(&rows[lane]);
  if (how == 0 && lane == 7) row += 4;
  if (how == 1) row += 16;
  if (how == 2) row = reinterpret_cast<const char*>(x);
  unsigned r[4];
  ldmatrix_x4(r, row);
  after[lane % 3] = float(r[0]);
  y[lane] = after[lane % 3];
}
KERNEL(ldmatrix_wrong, 32)

TEST_KERNEL(copy_wrong)(const float* x, float* y, int how) {
  SHARED(float4, tile, [8]);
  float* to = reinterpret_cast<float*>(tile) + threadIdx.x * 4;
  const float* from = x + threadIdx.x * 4;
  if (how == 0 && threadIdx.x == 3) to += 1;
  if (how == 1 && threadIdx.x == 3) from += 2;
  if (how == 2) to += 16;
  if (how == 3) to = y;
  copy_async<16>(to, from, true);
  copy_commit();
  copy_wait<0>();
  y[threadIdx.x] = to[0];
}
KERNEL(copy_wrong, 8)
