/* attention.cu - softmax(q k^T / sqrt(D)) v of each head, and its gradients; the scores are never in memory.
 * s[i,j] = q[i,:] . k[j,:] / sqrt(D), lse[i] = log(sum over j of exp(s[i,j])), p = exp(s - lse), o = p v
 * dv = p^T do, ds = p * (do v^T - delta), delta[i] = do[i,:] . o[i,:], dq = ds k / sqrt(D), dk = ds^T q / sqrt(D)
 * Vaswani et al. 2017, section 3.2; online over blocks of keys: Dao et al. 2022, algorithm 1; Dao 2023, section 3.
 * q, dq [N,L,heads*D], k, v, dk, dv [N,M,heads*D] f32 or bf16, rows apart by a stride (all three may be parts of the
 * rows of one [N,L,3*heads*D]); o, do [N,L,heads*D]; lse, delta [N,heads,L] f32. D at most 128: the kernels are for up
 * to 32, 64, 128 channels, and fill up with zeros.
 * A block has ROWS queries (in attention_backward_keys: keys) of one head and meets the others COLS at a time, STAGES
 * steps in flight by cp.async; single elements at a time where 16 bytes are not aligned. bf16: mma.sync m16n8k16,
 * scores stay in registers and are rounded to bf16 for the second product; f32: each thread a grid of results.
 * Softmax in f32, powers of 2. Each row has one block and a fixed order: same bits every run, no atomics.
 * Compute bound. Arch sm_80+; emulator yes.
 * PTX: mma.sync.aligned.m16n8k16 ldmatrix.sync.aligned.m8n8.x4.shared ldmatrix.sync.aligned.m8n8.x4.trans.shared cp.async.cg.shared.global cp.async.wait_group ex2.approx
 */
#include "common/async_copy.cuh"
#include "common/mma.cuh"
#include "common/reduce.cuh"
#include "common/types.cuh"

#define LOG2E 1.44269504088896341f
#define LN2 0.693147180559945309f
#define DELTA_THREADS 128

struct AttentionShape {
  int heads, D, L, M;
  int queryStride;  // from one row of q and dq to the next
  int keyStride;    // of k, v, dk and dv
  int vectors;      // whether all rows and D allow for 16 bytes at once
  float scale;      // 1 / sqrt(D)
};

/* The rows of one head of one image. */
template <class T>
struct Head {
  T* x;
  int rows, stride;

  __device__ __forceinline__ Head(T* tensor, int rows, int stride, int image, int head, int D)
      : x(tensor + (long long)image * rows * stride + head * D), rows(rows), stride(stride) {}
};

/* Which of the rows a block has: all tiles of a head follow each other, so that they share what they read. */
struct Part {
  int first, head, image;

  __device__ __forceinline__ Part(int rows, int each, int heads) {
    const int tiles = (rows + each - 1) / each;
    first = blockIdx.x % tiles * each;
    head = blockIdx.x / tiles % heads;
    image = blockIdx.x / tiles / heads;
  }
};

/* Over LANES neighbouring lanes, in each of them. */
template <int LANES>
__device__ __forceinline__ float lanes_max(float v) {
#pragma unroll
  for (int lanes = LANES / 2; lanes > 0; lanes /= 2) v = fmaxf(v, __shfl_xor_sync(FULL_WARP, v, lanes));
  return v;
}
template <int LANES>
__device__ __forceinline__ float lanes_sum(float v) {
#pragma unroll
  for (int lanes = LANES / 2; lanes > 0; lanes /= 2) v += __shfl_xor_sync(FULL_WARP, v, lanes);
  return v;
}

/* ---- tiles, and the products of two ---- */

/* A thread has R rows, of the scores C columns and of the sums H channels; LANES neighbours share the rows.
 * `OWN` tiles of ROWS stay in shared memory. A row is padded, so that columns of it lie in different banks. */
template <int DP, int ROWS_, int COLS_, int STAGES_, int OWN>
struct F32Tiles {
  typedef float T;
  static constexpr int ROWS = ROWS_, COLS = COLS_, STAGES = STAGES_;
  static constexpr int CHANNELS = DP;
  static constexpr int LANES = 16;
  static constexpr int R = 4, C = COLS / LANES, H = DP / LANES;
  static constexpr int DOWN = ROWS / R;
  static constexpr int THREADS = DOWN * LANES;
  static constexpr int PITCH = DP + 4;
  static constexpr int WEIGHTS = COLS + 4;  // pitch of the weights
  static constexpr int STAGE_AT = OWN * ROWS * PITCH;
  static constexpr int WEIGHTS_AT = STAGE_AT + STAGES * 2 * COLS * PITCH;
  static constexpr int BYTES = (WEIGHTS_AT + ROWS * WEIGHTS) * 4;

  static __device__ __forceinline__ int place(int row, int chunk) { return row * PITCH + chunk * 4; }
  static __device__ __forceinline__ int row(int r) { return threadIdx.x / LANES + r * DOWN; }
  static __device__ __forceinline__ int column(int c) { return threadIdx.x % LANES + c * LANES; }

  struct Scores {
    float v[R][C];
    __device__ __forceinline__ float& at(int r, int c) { return v[r][c]; }
  };
  struct Sums {
    float v[R][H];
    __device__ __forceinline__ float& at(int r, int h) { return v[r][h]; }
  };
  struct Rows {
    const float* tile;
    __device__ __forceinline__ void load(const float* from) { tile = from; }
  };
  typedef Rows SecondRows;

  /* s = a b^T over all channels; b [COLS] rows. */
  static __device__ __forceinline__ void dots(Scores& s, const Rows& a, const float* b) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int c = 0; c < C; ++c) s.v[r][c] = 0.0f;
    }
#pragma unroll 4
    for (int k = 0; k < DP; k += 4) {
      float4 y[C];
#pragma unroll
      for (int c = 0; c < C; ++c) y[c] = *reinterpret_cast<const float4*>(b + column(c) * PITCH + k);
#pragma unroll
      for (int r = 0; r < R; ++r) {
        const float4 x = *reinterpret_cast<const float4*>(a.tile + row(r) * PITCH + k);
#pragma unroll
        for (int c = 0; c < C; ++c) {
          s.v[r][c] += x.x * y[c].x;
          s.v[r][c] += x.y * y[c].y;
          s.v[r][c] += x.z * y[c].z;
          s.v[r][c] += x.w * y[c].w;
        }
      }
    }
  }

  /* sums += w b, b [COLS] rows. */
  static __device__ __forceinline__ void add(Sums& sums, Scores& w, const float* b, float* memory) {
    float* const weights = memory + WEIGHTS_AT;
    __syncwarp();  // the weights before have been read: a row's are written and read by one warp
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int c = 0; c < C; ++c) weights[row(r) * WEIGHTS + column(c)] = w.v[r][c];
    }
    __syncwarp();
#pragma unroll 2
    for (int k = 0; k < COLS; k += 4) {
      float x[R][4];
#pragma unroll
      for (int r = 0; r < R; ++r) {
        const float4 four = *reinterpret_cast<const float4*>(weights + row(r) * WEIGHTS + k);
        x[r][0] = four.x;
        x[r][1] = four.y;
        x[r][2] = four.z;
        x[r][3] = four.w;
      }
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int h = 0; h < H; ++h) {
          const float y = b[(k + i) * PITCH + column(h)];
#pragma unroll
          for (int r = 0; r < R; ++r) sums.v[r][h] += x[r][i] * y;
        }
      }
    }
  }

  static __device__ __forceinline__ void put(Sums& sums, float* tile) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int h = 0; h < H; ++h) tile[row(r) * PITCH + column(h)] = sums.v[r][h];
    }
  }
};

/* Four warps of 16 rows each, as mma lays them out. What stays is in registers, so its tiles' memory is used again;
 * where registers do not do, KEPT is 1 and the second tile stays in memory, at its begin. The 16-byte chunks of a row
 * are exchanged, so that the 8 that ldmatrix reads at once lie in different banks. */
template <int DP, int ROWS_, int COLS_, int STAGES_, int OWN, int KEPT = 0>
struct Bf16Tiles {
  typedef bf16 T;
  static constexpr int ROWS = ROWS_, COLS = COLS_, STAGES = STAGES_;
  static constexpr int CHANNELS = DP;
  static constexpr int LANES = 4;
  static constexpr int R = 2, C = COLS / LANES, H = DP / LANES;
  static constexpr int THREADS = ROWS / 16 * WARP_SIZE;
  static constexpr int PITCH = DP;
  static constexpr int STAGE_AT = KEPT * ROWS * DP;
  static constexpr int LOOP = STAGE_AT + STAGES * 2 * COLS * DP;
  static constexpr int BYTES = (OWN * ROWS * DP > LOOP ? OWN * ROWS * DP : LOOP) * 2;

  static __device__ __forceinline__ int place(int row, int chunk) {
    return row * DP + (chunk ^ (DP == 32 ? row / 2 % 4 : row % 8)) * 8;
  }
  static __device__ __forceinline__ int row(int r) {
    return threadIdx.x / WARP_SIZE * 16 + threadIdx.x % WARP_SIZE / 4 + r * 8;
  }
  static __device__ __forceinline__ int column(int c) { return c / 2 * 8 + threadIdx.x % 4 * 2 + c % 2; }

  struct Scores {
    float v[COLS / 8][4];
    __device__ __forceinline__ float& at(int r, int c) { return v[c / 2][r * 2 + c % 2]; }
  };
  struct Sums {
    float v[DP / 8][4];
    __device__ __forceinline__ float& at(int r, int h) { return v[h / 2][r * 2 + h % 2]; }
  };
  /* 16 channels of a warp's rows as a product's left factor. */
  static __device__ __forceinline__ void left(unsigned (&x)[4], const bf16* tile, int k) {
    const int lane = threadIdx.x % WARP_SIZE;
    ldmatrix_x4(x, tile + place(threadIdx.x / WARP_SIZE * 16 + lane % 16, k * 2 + lane / 16));
  }
  struct Rows {
    unsigned v[DP / 16][4];
    __device__ __forceinline__ void load(const bf16* tile) {
#pragma unroll
      for (int k = 0; k < DP / 16; ++k) left(v[k], tile, k);
    }
    __device__ __forceinline__ void read(unsigned (&x)[4], int k) const {
#pragma unroll
      for (int e = 0; e < 4; ++e) x[e] = v[k][e];
    }
  };
  struct KeptRows {
    const bf16* tile;
    __device__ __forceinline__ void load(const bf16* from) { tile = from; }
    __device__ __forceinline__ void read(unsigned (&x)[4], int k) const { left(x, tile, k); }
  };
  template <int, class A, class>
  struct Choice {
    typedef A Type;
  };
  template <class A, class B>
  struct Choice<1, A, B> {
    typedef B Type;
  };
  typedef typename Choice<KEPT, Rows, KeptRows>::Type SecondRows;

  template <class A>
  static __device__ __forceinline__ void dots(Scores& s, const A& a, const bf16* b) {
    const int lane = threadIdx.x % WARP_SIZE;
#pragma unroll
    for (int j = 0; j < COLS / 8; ++j) {
#pragma unroll
      for (int e = 0; e < 4; ++e) s.v[j][e] = 0.0f;
    }
#pragma unroll
    for (int k = 0; k < DP / 16; ++k) {
      unsigned x[4];
      a.read(x, k);
#pragma unroll
      for (int j = 0; j < COLS / 8; j += 2) {
        // both halves of the 16 channels of one block of columns, then of the next
        unsigned two[4];
        ldmatrix_x4(two, b + place(j * 8 + lane / 16 * 8 + lane % 8, k * 2 + lane / 8 % 2));
        const unsigned first[2] = {two[0], two[1]};
        const unsigned second[2] = {two[2], two[3]};
        mma_m16n8k16_bf16(s.v[j], x, first);
        mma_m16n8k16_bf16(s.v[j + 1], x, second);
      }
    }
  }

  /* Where a product leaves its results is where the next one wants its left factor. */
  static __device__ __forceinline__ void add(Sums& sums, Scores& w, const bf16* b, bf16*) {
    const int lane = threadIdx.x % WARP_SIZE;
#pragma unroll
    for (int k = 0; k < COLS / 16; ++k) {
      unsigned x[4];
      x[0] = to_bf16x2(w.v[2 * k][0], w.v[2 * k][1]);
      x[1] = to_bf16x2(w.v[2 * k][2], w.v[2 * k][3]);
      x[2] = to_bf16x2(w.v[2 * k + 1][0], w.v[2 * k + 1][1]);
      x[3] = to_bf16x2(w.v[2 * k + 1][2], w.v[2 * k + 1][3]);
#pragma unroll
      for (int j = 0; j < DP / 8; j += 2) {
        unsigned two[4];
        ldmatrix_x4_trans(two, b + place(k * 16 + lane % 16, j + lane / 16));
        const unsigned first[2] = {two[0], two[1]};
        const unsigned second[2] = {two[2], two[3]};
        mma_m16n8k16_bf16(sums.v[j], x, first);
        mma_m16n8k16_bf16(sums.v[j + 1], x, second);
      }
    }
  }

  static __device__ __forceinline__ void put(Sums& sums, bf16* tile) {
#pragma unroll
    for (int r = 0; r < R; ++r) {
#pragma unroll
      for (int j = 0; j < DP / 8; ++j) {
        *reinterpret_cast<unsigned*>(tile + place(row(r), j) + threadIdx.x % 4 * 2) =
            to_bf16x2(sums.v[j][r * 2], sums.v[j][r * 2 + 1]);
      }
    }
  }
};

template <class P>
__device__ __forceinline__ void clear(typename P::Sums& sums) {
#pragma unroll
  for (int r = 0; r < P::R; ++r) {
#pragma unroll
    for (int h = 0; h < P::H; ++h) sums.at(r, h) = 0.0f;
  }
}

/* ---- between memory and tiles ---- */

/* COUNT rows from `first` on; zeros beyond the last one, and beyond the channels. */
template <class P, int COUNT>
__device__ __forceinline__ void copy_tile(typename P::T* tile, const Head<const typename P::T>& from, int first,
                                          const AttentionShape& s) {
  typedef typename P::T T;
  constexpr int EACH = 16 / sizeof(T);
  constexpr int ACROSS = P::CHANNELS / EACH;
#pragma unroll 4
  for (int i = threadIdx.x; i < COUNT * ACROSS; i += P::THREADS) {
    const int row = i / ACROSS;
    const int channel = i % ACROSS * EACH;
    const bool inside = first + row < from.rows;
    const T* const x = from.x + (inside ? (long long)(first + row) * from.stride + channel : 0);
    T* const to = tile + P::place(row, i % ACROSS);
    if (s.vectors) {
      copy_async<16>(to, x, inside && channel < s.D);
    } else {
#pragma unroll
      for (int e = 0; e < EACH; ++e) {
        to[e] = inside && channel + e < s.D ? x[e] : Convert<T>::from(0.0f);
      }
    }
  }
}

/* A block's sums to the rows of its part. `tile` is free, for all threads. */
template <class P>
__device__ __forceinline__ void write_rows(typename P::Sums& sums, typename P::T* tile,
                                           const Head<typename P::T>& to, int first, const AttentionShape& s) {
  typedef typename P::T T;
  constexpr int EACH = 16 / sizeof(T);
  constexpr int ACROSS = P::CHANNELS / EACH;
  P::put(sums, tile);
  __syncthreads();
#pragma unroll 4
  for (int i = threadIdx.x; i < P::ROWS * ACROSS; i += P::THREADS) {
    const int row = i / ACROSS;
    const int channel = i % ACROSS * EACH;
    if (first + row >= to.rows) break;
    const T* const from = tile + P::place(row, i % ACROSS);
    T* const y = to.x + (long long)(first + row) * to.stride + channel;
    if (s.vectors) {
      if (channel < s.D) *reinterpret_cast<uint4*>(y) = *reinterpret_cast<const uint4*>(from);
    } else {
#pragma unroll
      for (int e = 0; e < EACH; ++e) {
        if (channel + e < s.D) y[e] = from[e];
      }
    }
  }
}

/* Has each tile of COLS rows of x and y copied, while those before are in use: use(first, x, y, stage). What
 * also(first, stage) copies arrives with them. */
template <class P, class Also, class Use>
__device__ __forceinline__ void stream(typename P::T* stages, const Head<const typename P::T>& x,
                                       const Head<const typename P::T>& y, const AttentionShape& s, Also also,
                                       Use use) {
  constexpr int TILE = P::COLS * P::PITCH;
  auto begin = [&](int step) {
    const int first = step * P::COLS;
    if (first < x.rows) {
      typename P::T* const to = stages + step % P::STAGES * 2 * TILE;
      copy_tile<P, P::COLS>(to, x, first, s);
      copy_tile<P, P::COLS>(to + TILE, y, first, s);
      also(first, step % P::STAGES);
    }
    copy_commit();
  };
#pragma unroll
  for (int i = 0; i < P::STAGES; ++i) begin(i);
  for (int step = 0; step * P::COLS < x.rows; ++step) {
    copy_wait<P::STAGES - 1>();
    __syncthreads();  // these tiles have arrived
    const typename P::T* const at = stages + step % P::STAGES * 2 * TILE;
    use(step * P::COLS, at, at + TILE, step % P::STAGES);
    __syncthreads();  // nobody reads them any more
    begin(step + P::STAGES);
  }
}

/* ---- forward ---- */

template <class P>
__device__ __forceinline__ void attention(const typename P::T* q, const typename P::T* k, const typename P::T* v,
                                          typename P::T* o, float* lse, const AttentionShape& s) {
  typedef typename P::T T;
  SHARED(uint4, memory, [P::BYTES / 16]);
  T* const tiles = reinterpret_cast<T*>(memory);
  const Part part(s.L, P::ROWS, s.heads);
  const Head<const T> queries(q, s.L, s.queryStride, part.image, part.head, s.D);
  const Head<const T> keys(k, s.M, s.keyStride, part.image, part.head, s.D);
  const Head<const T> values(v, s.M, s.keyStride, part.image, part.head, s.D);

  copy_tile<P, P::ROWS>(tiles, queries, part.first, s);
  copy_commit();
  copy_wait<0>();
  __syncthreads();
  typename P::Rows query;
  query.load(tiles);
  __syncthreads();  // where they lie in registers, their memory is used again

  typename P::Sums sums;
  clear<P>(sums);
  float largest[P::R], total[P::R];
#pragma unroll
  for (int r = 0; r < P::R; ++r) {
    largest[r] = -INFINITY_F32;
    total[r] = 0.0f;
  }
  const float scale = s.scale * LOG2E;
  stream<P>(
      tiles + P::STAGE_AT, keys, values, s, [](int, int) {},
      [&](int first, const T* keyTile, const T* valueTile, int) {
        typename P::Scores w;
        P::dots(w, query, keyTile);
#pragma unroll
        for (int r = 0; r < P::R; ++r) {
          float most = largest[r];
#pragma unroll
          for (int c = 0; c < P::C; ++c) {
            w.at(r, c) = first + P::column(c) < s.M ? w.at(r, c) * scale : -INFINITY_F32;
            most = fmaxf(most, w.at(r, c));
          }
          most = lanes_max<P::LANES>(most);
          const float shrink = exp2f(largest[r] - most);
          largest[r] = most;
          total[r] *= shrink;
#pragma unroll
          for (int c = 0; c < P::C; ++c) {
            w.at(r, c) = exp2f(w.at(r, c) - most);
            total[r] += w.at(r, c);
          }
#pragma unroll
          for (int h = 0; h < P::H; ++h) sums.at(r, h) *= shrink;
        }
        P::add(sums, w, valueTile, tiles);
      });

#pragma unroll
  for (int r = 0; r < P::R; ++r) {
    const float all = lanes_sum<P::LANES>(total[r]);
    const int row = part.first + P::row(r);
    if (threadIdx.x % P::LANES == 0 && row < s.L) {
      lse[((long long)part.image * s.heads + part.head) * s.L + row] = (largest[r] + log2f(all)) * LN2;
    }
#pragma unroll
    for (int h = 0; h < P::H; ++h) sums.at(r, h) /= all;
  }
  const Head<T> out(o, s.L, s.heads * s.D, part.image, part.head, s.D);
  write_rows<P>(sums, tiles, out, part.first, s);
}

/* ---- gradients ---- */

/* delta[n,h,i] = do[n,i,h,:] . o[n,i,h,:]; a warp a row. grid (ceil(N*L*heads / 4)), block 128 */
template <class T>
__device__ __forceinline__ void attention_delta(const T* o, const T* dout, float* delta, int rows, int L,
                                                int heads, int D) {
  const int row = blockIdx.x * (DELTA_THREADS / WARP_SIZE) + threadIdx.x / WARP_SIZE;
  if (row >= rows) return;
  float sum = 0.0f;
  for (int c = threadIdx.x % WARP_SIZE; c < D; c += WARP_SIZE) {
    const long long at = (long long)row * D + c;
    sum += to_float(o[at]) * to_float(dout[at]);
  }
  sum = warp_sum(sum);
  if (threadIdx.x % WARP_SIZE == 0) {
    const int head = row % heads;
    const int i = row / heads % L;
    const long long image = row / heads / L;
    delta[(image * heads + head) * L + i] = sum;
  }
}

/* dq of ROWS queries, over all keys. */
template <class P>
__device__ __forceinline__ void attention_queries(const typename P::T* q, const typename P::T* k,
                                                  const typename P::T* v, const typename P::T* dout,
                                                  const float* lse, const float* delta, typename P::T* dq,
                                                  const AttentionShape& s) {
  typedef typename P::T T;
  SHARED(uint4, memory, [P::BYTES / 16]);
  T* const tiles = reinterpret_cast<T*>(memory);
  const Part part(s.L, P::ROWS, s.heads);
  const Head<const T> queries(q, s.L, s.queryStride, part.image, part.head, s.D);
  const Head<const T> slopes(dout, s.L, s.heads * s.D, part.image, part.head, s.D);
  const Head<const T> keys(k, s.M, s.keyStride, part.image, part.head, s.D);
  const Head<const T> values(v, s.M, s.keyStride, part.image, part.head, s.D);

  copy_tile<P, P::ROWS>(tiles, queries, part.first, s);
  copy_tile<P, P::ROWS>(tiles + P::ROWS * P::PITCH, slopes, part.first, s);
  copy_commit();
  copy_wait<0>();
  __syncthreads();
  typename P::Rows query, slope;
  query.load(tiles);
  slope.load(tiles + P::ROWS * P::PITCH);
  __syncthreads();  // where they lie in registers, their memory is used again

  float shift[P::R], own[P::R];
#pragma unroll
  for (int r = 0; r < P::R; ++r) {
    const int row = part.first + P::row(r);
    const long long at = ((long long)part.image * s.heads + part.head) * s.L + row;
    shift[r] = row < s.L ? lse[at] * LOG2E : 0.0f;
    own[r] = row < s.L ? delta[at] : 0.0f;
  }
  typename P::Sums sums;
  clear<P>(sums);
  const float scale = s.scale * LOG2E;
  stream<P>(
      tiles + P::STAGE_AT, keys, values, s, [](int, int) {},
      [&](int first, const T* keyTile, const T* valueTile, int) {
        typename P::Scores w, g;
        P::dots(w, query, keyTile);
        P::dots(g, slope, valueTile);
#pragma unroll
        for (int r = 0; r < P::R; ++r) {
#pragma unroll
          for (int c = 0; c < P::C; ++c) {
            const float p = first + P::column(c) < s.M ? exp2f(w.at(r, c) * scale - shift[r]) : 0.0f;
            w.at(r, c) = p * (g.at(r, c) - own[r]);
          }
        }
        P::add(sums, w, keyTile, tiles);
      });
#pragma unroll
  for (int r = 0; r < P::R; ++r) {
#pragma unroll
    for (int h = 0; h < P::H; ++h) sums.at(r, h) *= s.scale;
  }
  const Head<T> out(dq, s.L, s.queryStride, part.image, part.head, s.D);
  write_rows<P>(sums, tiles, out, part.first, s);
}

/* dk and dv of ROWS keys, over all queries: the scores' transpose. */
template <class P>
__device__ __forceinline__ void attention_keys(const typename P::T* q, const typename P::T* k,
                                               const typename P::T* v, const typename P::T* dout,
                                               const float* lse, const float* delta, typename P::T* dk,
                                               typename P::T* dv, const AttentionShape& s) {
  typedef typename P::T T;
  SHARED(uint4, memory, [P::BYTES / 16]);
  SHARED(float, statistics, [P::STAGES][2][P::COLS]);
  T* const tiles = reinterpret_cast<T*>(memory);
  const Part part(s.M, P::ROWS, s.heads);
  const Head<const T> queries(q, s.L, s.queryStride, part.image, part.head, s.D);
  const Head<const T> slopes(dout, s.L, s.heads * s.D, part.image, part.head, s.D);
  const Head<const T> keys(k, s.M, s.keyStride, part.image, part.head, s.D);
  const Head<const T> values(v, s.M, s.keyStride, part.image, part.head, s.D);
  const long long row = ((long long)part.image * s.heads + part.head) * s.L;

  copy_tile<P, P::ROWS>(tiles, values, part.first, s);
  copy_tile<P, P::ROWS>(tiles + P::ROWS * P::PITCH, keys, part.first, s);
  copy_commit();
  copy_wait<0>();
  __syncthreads();
  typename P::SecondRows value;
  typename P::Rows key;
  value.load(tiles);
  key.load(tiles + P::ROWS * P::PITCH);
  __syncthreads();  // where they lie in registers, their memory is used again

  typename P::Sums keySums, valueSums;
  clear<P>(keySums);
  clear<P>(valueSums);
  const float scale = s.scale * LOG2E;
  stream<P>(
      tiles + P::STAGE_AT, queries, slopes, s,
      [&](int first, int stage) {
        for (int i = threadIdx.x; i < 2 * P::COLS; i += P::THREADS) {
          const int column = i % P::COLS;
          const bool inside = first + column < s.L;
          const float* const from = i < P::COLS ? lse : delta;
          copy_async<4>(&statistics[stage][i / P::COLS][column], from + row + (inside ? first + column : 0), inside);
        }
      },
      // of a query past the last all is zero: its weights are 1, and what they are multiplied by is 0
      [&](int, const T* queryTile, const T* slopeTile, int stage) {
        typename P::Scores w, g;
        P::dots(w, key, queryTile);
#pragma unroll
        for (int c = 0; c < P::C; ++c) {
          const float shift = statistics[stage][0][P::column(c)] * LOG2E;
#pragma unroll
          for (int r = 0; r < P::R; ++r) w.at(r, c) = exp2f(w.at(r, c) * scale - shift);
        }
        P::add(valueSums, w, slopeTile, tiles);
        P::dots(g, value, slopeTile);
#pragma unroll
        for (int c = 0; c < P::C; ++c) {
          const float own = statistics[stage][1][P::column(c)];
#pragma unroll
          for (int r = 0; r < P::R; ++r) w.at(r, c) *= g.at(r, c) - own;
        }
        P::add(keySums, w, queryTile, tiles);
      });
#pragma unroll
  for (int r = 0; r < P::R; ++r) {
#pragma unroll
    for (int h = 0; h < P::H; ++h) keySums.at(r, h) *= s.scale;
  }
  const Head<T> keyOut(dk, s.M, s.keyStride, part.image, part.head, s.D);
  const Head<T> valueOut(dv, s.M, s.keyStride, part.image, part.head, s.D);
  write_rows<P>(keySums, tiles, keyOut, part.first, s);
  __syncthreads();  // the tile has been read
  write_rows<P>(valueSums, tiles, valueOut, part.first, s);
}

#define EACH_DELTA(T, suffix)                                                                                \
  extern "C" __global__ void __launch_bounds__(DELTA_THREADS) attention_backward_delta_##suffix(             \
      const T* RESTRICT o, const T* RESTRICT dout, float* RESTRICT delta, int rows, int L, int heads, int D) { \
    attention_delta(o, dout, delta, rows, L, heads, D);                                                      \
  }                                                                                                          \
  KERNEL(attention_backward_delta_##suffix, DELTA_THREADS)

EACH_DELTA(float, f32)
EACH_DELTA(bf16, bf16)

/* grid (N * heads * ceil(L / ROWS)); attention_backward_keys: of M */
#define EACH_FORWARD(T, name, ...)                                                                           \
  extern "C" __global__ void __launch_bounds__(__VA_ARGS__::THREADS, 2)                                      \
      name(const T* RESTRICT q, const T* RESTRICT k, const T* RESTRICT v, T* RESTRICT o, float* RESTRICT lse, \
           AttentionShape s) {                                                                               \
    attention<__VA_ARGS__>(q, k, v, o, lse, s);                                                              \
  }                                                                                                          \
  KERNEL(name, (__VA_ARGS__::THREADS))

#define EACH_QUERIES(T, name, ...)                                                                           \
  extern "C" __global__ void __launch_bounds__(__VA_ARGS__::THREADS, 2)                                      \
      name(const T* RESTRICT q, const T* RESTRICT k, const T* RESTRICT v, const T* RESTRICT dout,            \
           const float* RESTRICT lse, const float* RESTRICT delta, T* RESTRICT dq, AttentionShape s) {       \
    attention_queries<__VA_ARGS__>(q, k, v, dout, lse, delta, dq, s);                                        \
  }                                                                                                          \
  KERNEL(name, (__VA_ARGS__::THREADS))

#define EACH_KEYS(T, name, ...)                                                                              \
  extern "C" __global__ void __launch_bounds__(__VA_ARGS__::THREADS, 2)                                      \
      name(const T* RESTRICT q, const T* RESTRICT k, const T* RESTRICT v, const T* RESTRICT dout,            \
           const float* RESTRICT lse, const float* RESTRICT delta, T* RESTRICT dk, T* RESTRICT dv,           \
           AttentionShape s) {                                                                               \
    attention_keys<__VA_ARGS__>(q, k, v, dout, lse, delta, dk, dv, s);                                       \
  }                                                                                                          \
  KERNEL(name, (__VA_ARGS__::THREADS))

/* <channels, ROWS, COLS, STAGES, tiles that stay>; AttentionKernels.java has the ROWS and the threads, too. */
EACH_FORWARD(float, attention_f32_32, F32Tiles<32, 64, 32, 3, 1>)
EACH_FORWARD(float, attention_f32_64, F32Tiles<64, 64, 32, 1, 1>)
EACH_FORWARD(float, attention_f32_128, F32Tiles<128, 32, 16, 1, 1>)
EACH_FORWARD(bf16, attention_bf16_32, Bf16Tiles<32, 64, 64, 2, 1>)
EACH_FORWARD(bf16, attention_bf16_64, Bf16Tiles<64, 64, 64, 2, 1>)
EACH_FORWARD(bf16, attention_bf16_128, Bf16Tiles<128, 64, 32, 2, 1>)

EACH_QUERIES(float, attention_backward_queries_f32_32, F32Tiles<32, 64, 32, 2, 2>)
EACH_QUERIES(float, attention_backward_queries_f32_64, F32Tiles<64, 32, 16, 2, 2>)
EACH_QUERIES(float, attention_backward_queries_f32_128, F32Tiles<128, 16, 16, 1, 2>)
EACH_QUERIES(bf16, attention_backward_queries_bf16_32, Bf16Tiles<32, 64, 64, 2, 2>)
EACH_QUERIES(bf16, attention_backward_queries_bf16_64, Bf16Tiles<64, 64, 64, 2, 2>)
EACH_QUERIES(bf16, attention_backward_queries_bf16_128, Bf16Tiles<128, 64, 32, 2, 2>)

EACH_KEYS(float, attention_backward_keys_f32_32, F32Tiles<32, 64, 32, 2, 2>)
EACH_KEYS(float, attention_backward_keys_f32_64, F32Tiles<64, 32, 16, 2, 2>)
EACH_KEYS(float, attention_backward_keys_f32_128, F32Tiles<128, 16, 16, 1, 2>)
EACH_KEYS(bf16, attention_backward_keys_bf16_32, Bf16Tiles<32, 64, 64, 2, 2>)
EACH_KEYS(bf16, attention_backward_keys_bf16_64, Bf16Tiles<64, 64, 64, 2, 2>)
EACH_KEYS(bf16, attention_backward_keys_bf16_128, Bf16Tiles<128, 64, 16, 2, 2, 1>)
