// tiles_test.cc - mma, ldmatrix and cp.async, through the kernels' own headers.
#include "check.h"

namespace {

unsigned short bf16(float v) {
  unsigned bits;
  memcpy(&bits, &v, 4);
  return (unsigned short)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
float f32(unsigned short v) {
  unsigned bits = unsigned(v) << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

struct Random {
  unsigned state;
  unsigned next() { return (state = state * 1664525u + 1013904223u) >> 8; }
  /** Small integers: products and sums of them are exact in any order. */
  float whole() { return float(int(next() % 17) - 8); }
  float real() { return f32(bf16(float(next()) / 8388608.0f - 1.0f)); }
};

/* The fragments as the PTX ISA words them (mma.m16n8k16, .bf16): groupID = %laneid >> 2 and
 * threadID_in_group = %laneid % 4. */
int rowOfA(int lane, int i) { return (i < 2 || (i >= 4 && i < 6)) ? lane >> 2 : (lane >> 2) + 8; }
int columnOfA(int lane, int i) { return (lane % 4) * 2 + (i & 1) + (i < 4 ? 0 : 8); }
int rowOfB(int lane, int i) { return (lane % 4) * 2 + (i & 1) + (i < 2 ? 0 : 8); }
int columnOfB(int lane, int) { return lane >> 2; }
int rowOfC(int lane, int i) { return i < 2 ? lane >> 2 : (lane >> 2) + 8; }
int columnOfC(int lane, int i) { return (lane % 4) * 2 + (i & 1); }

void mmaLayout() {
  Random random{7};
  bool exact = true, alone = true;
  for (int round = 0; round < 3; ++round) {
    float a[16][16], b[16][8], c[16][8];
    for (auto& row : a) for (float& v : row) v = random.whole();
    for (auto& row : b) for (float& v : row) v = random.whole();
    for (auto& row : c) for (float& v : row) v = random.whole();
    std::vector<unsigned> x(32 * 4, 0), w(32 * 2, 0);
    std::vector<float> d(32 * 4);
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 8; ++i) {
        x[size_t(lane * 4 + i / 2)] |= unsigned(bf16(a[rowOfA(lane, i)][columnOfA(lane, i)]))
                                       << i % 2 * 16;
      }
      for (int i = 0; i < 4; ++i) {
        w[size_t(lane * 2 + i / 2)] |= unsigned(bf16(b[rowOfB(lane, i)][columnOfB(lane, i)]))
                                       << i % 2 * 16;
        d[size_t(lane * 4 + i)] = c[rowOfC(lane, i)][columnOfC(lane, i)];
      }
    }
    Device<unsigned> dx(x), dw(w);
    Device<float> dd(d);
    MUST(run("mma_registers", 1, 32, dx.p, dw.p, dd.p));
    d = dd.get();
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 4; ++i) {
        int row = rowOfC(lane, i), column = columnOfC(lane, i);
        float sum = c[row][column];
        for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
        exact = exact && d[size_t(lane * 4 + i)] == sum;
      }
    }
    // One element of a against one of b: only their product appears, and only where it belongs.
    int row = round * 5, k = 3 + round * 6, column = 7 - round * 3;
    std::vector<unsigned> x1(32 * 4, 0), w1(32 * 2, 0);
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 8; ++i) {
        if (rowOfA(lane, i) == row && columnOfA(lane, i) == k) {
          x1[size_t(lane * 4 + i / 2)] = unsigned(bf16(3)) << i % 2 * 16;
        }
      }
      for (int i = 0; i < 4; ++i) {
        if (rowOfB(lane, i) == k && columnOfB(lane, i) == column) {
          w1[size_t(lane * 2 + i / 2)] = unsigned(bf16(-5)) << i % 2 * 16;
        }
      }
    }
    Device<unsigned> dx1(x1), dw1(w1);
    Device<float> d1(std::vector<float>(128, 0.0f));
    MUST(run("mma_registers", 1, 32, dx1.p, dw1.p, d1.p));
    auto one = d1.get();
    for (int lane = 0; lane < 32; ++lane) {
      for (int i = 0; i < 4; ++i) {
        bool here = rowOfC(lane, i) == row && columnOfC(lane, i) == column;
        alone = alone && one[size_t(lane * 4 + i)] == (here ? -15.0f : 0.0f);
      }
    }
  }
  check(exact, "mma fragments as in the PTX ISA, against a plain product");
  check(alone, "one product of an mma goes to one element");
}

void ldmatrixLayout() {
  std::vector<unsigned short> x(32 * 8);
  for (size_t i = 0; i < x.size(); ++i) x[i] = (unsigned short)(1000 + i);
  Device<unsigned short> dx(x);
  Device<unsigned> dr(4 * 32 * 4);
  MUST(run("ldmatrix_registers", 1, 32, dx.p, dr.p));
  auto r = dr.get();
  bool ok[4] = {true, true, true, true};
  for (int lane = 0; lane < 32; ++lane) {
    for (int m = 0; m < 4; ++m) {
      for (int e = 0; e < 2; ++e) {
        // "each thread receives ... row %laneid / 4, elements 2 * (%laneid % 4) and the next"
        int row = lane / 4, column = lane % 4 * 2 + e;
        unsigned plain = x[size_t((m * 8 + row) * 8 + column)];
        unsigned transposed = x[size_t((m * 8 + column) * 8 + row)];
        auto got = [&](int kind) { return r[size_t((kind * 32 + lane) * 4 + m)] >> e * 16 & 0xffff; };
        ok[0] = ok[0] && got(0) == plain;
        ok[2] = ok[2] && got(2) == transposed;
        if (m < 2) {
          ok[1] = ok[1] && got(1) == plain;
          ok[3] = ok[3] && got(3) == transposed;
        }
      }
    }
  }
  check(ok[0], "ldmatrix.x4");
  check(ok[1], "ldmatrix.x2");
  check(ok[2], "ldmatrix.x4.trans");
  check(ok[3], "ldmatrix.x2.trans");
}

/** The largest error in units of the bound on an f32 sum of K products; NaN when any is. */
double gemmError(int M, int N, int K, int plant, unsigned seed) {
  Random random{seed};
  std::vector<unsigned short> x(size_t(M * K)), w(size_t(K * N));
  for (auto& v : x) v = bf16(random.real());
  for (auto& v : w) v = bf16(random.real());
  Device<unsigned short> dx(x), dw(w);
  Device<float> dy(size_t(M * N));
  void* arguments[] = {&dx.p, &dw.p, &dy.p, &M, &N, &K, &plant};
  MUST(cuLaunchKernel(fn("gemm_bf16"), unsigned(N + 127) / 128, unsigned(M + 127) / 128, 1, 256, 1, 1,
                      0, nullptr, arguments, nullptr));
  MUST(cuCtxSynchronize());
  auto y = dy.get();
  double worst = 0;
  for (int m = 0; m < M; ++m) {
    for (int n = 0; n < N; ++n) {
      double sum = 0, magnitude = 0;
      for (int k = 0; k < K; ++k) {
        double p = double(f32(x[size_t(m * K + k)])) * double(f32(w[size_t(k * N + n)]));
        sum += p;
        magnitude += std::fabs(p);
      }
      double error = std::fabs(y[size_t(m * N + n)] - sum) / (magnitude * K * 0x1p-24 + 1e-30);
      if (!(error <= worst)) worst = error;
      if (std::isnan(worst)) return worst;
    }
  }
  return worst;
}

const struct {
  const char* name;
  int plant, K;
} kPlants[] = {{"a dropped cp.async wait", 1, 128},     {"a weakened cp.async wait", 2, 128},
               {"swapped A registers", 3, 128},         {"swapped B registers", 4, 128},
               {"a removed barrier", 5, 128},           {"a removed trailing barrier", 6, 160},
               {"no zeros past the edge", 7, 24},       {"B not transposed", 8, 128}};
std::string caught[8];

void gemm() {
  char text[64];
  double worst = 0;
  const int shapes[][3] = {{128, 128, 128}, {127, 136, 24}, {40, 8, 200}, {129, 120, 8}};
  for (auto& s : shapes) {
    double error = gemmError(s[0], s[1], s[2], 0, unsigned(s[0] + s[1]));
    if (!(error <= worst)) worst = error;
  }
  snprintf(text, sizeof text, "%.2f of the bound", worst);
  check(worst <= 1, "bf16 products through cp.async, ldmatrix and mma", text);
  for (size_t i = 0; i < 8; ++i) {
    if (!(gemmError(100, 128, kPlants[i].K, kPlants[i].plant, 3) <= 1)) caught[i] += label;
  }
}

void copies() {
  for (int n : {32, 12, 0}) {
    Device<float> x(ramp(32)), y(96);
    MUST(run("copy_sizes", 1, 32, x.p, y.p, n));
    auto v = y.get();
    bool ok = true;
    for (int i = 0; i < 96; ++i) ok = ok && v[size_t(i)] == (i % 32 < n ? float(i % 32) : 0.0f);
    check(ok, "cp.async of 4, 8 and 16 bytes, zeros where there is nothing");
  }
}

/** What was there when the copy was asked for, or when it was waited for; whatever the next block sees. */
void unordered() {
  Device<float> y(8);
  Device<float> left(ramp(8));
  MUST(run("copy_left", 2, 8, left.p, y.p));
  bool own = true;
  for (float v : y.get()) own = own && v == -2;
  check(own, "a copy ends with its block");
  int early = 0, late = 0;
  for (int i = 0; i < 4; ++i) {
    Device<float> x(ramp(8));
    MUST(run("copy_changed", 1, 8, x.p, y.p));
    auto v = y.get();
    for (int t = 0; t < 8; ++t) (v[size_t(t)] == -1 ? late : early) += 1;
  }
  const bool shuffled = label.find("shuffle") != std::string::npos;
  check(late > 0 && (early > 0) == shuffled, "a source that changes under way is read early or late");
}

void tileFaults() {
  Device<float> x(ramp(64)), y(64);
  faults("mma in half a warp", run("mma_diverged", 1, 32, y.p, 0), 719,
         {"mma.m16n8k16", "tiles.cu:"});
  faults("mma at two places", run("mma_diverged", 1, 32, y.p, 1), 719,
         {"never complete", "16 threads from thread (0,0,0) at mma.m16n8k16", "tiles.cu:"});
  faults("mma with an ended lane", run("mma_diverged", 1, 64, y.p, 2), 719,
         {"names lane 9, which has exited"});
  faults("mma where a lane had ended before", run("mma_diverged", 1, 64, y.p, 4), 719,
         {"names lane 9, which has exited"});
  faults("mma while a lane waits elsewhere", run("mma_diverged", 1, 32, y.p, 3), 719,
         {"never complete", "__syncwarp", "mma.m16n8k16"});
  faults("mma in a short warp", run("mma_diverged", 1, 48, y.p, 1), 719,
         {"needs 32 lanes", "has 16", "block (0,0,0) thread ("});
  faults("ldmatrix, a misaligned row", run("ldmatrix_wrong", 1, 32, x.p, y.p, 0), 716,
         {"ldmatrix (tiles.cu:", "not aligned to 16 bytes", "thread (7,0,0)"});
  faults("ldmatrix, a row past the array", run("ldmatrix_wrong", 1, 32, x.p, y.p, 1), 700,
         {"not within a shared array", "thread (31,0,0)"});
  faults("ldmatrix of global memory", run("ldmatrix_wrong", 1, 32, x.p, y.p, 2), 700,
         {"not within a shared array"});
  faults("cp.async, misaligned target", run("copy_wrong", 1, 8, x.p, y.p, 0), 716,
         {"cp.async (tiles.cu:", "not aligned to 16 bytes", "thread (3,0,0)"});
  faults("cp.async, misaligned source", run("copy_wrong", 1, 8, x.p, y.p, 1), 716,
         {"the source", "not aligned to 16 bytes", "thread (3,0,0)"});
  faults("cp.async past the array", run("copy_wrong", 1, 8, x.p, y.p, 2), 700,
         {"not within a shared array", "copy_wrong"});
  faults("cp.async to global memory", run("copy_wrong", 1, 8, x.p, y.p, 3), 700,
         {"not within a shared array"});
}

}  // namespace

void tiles() {
  mmaLayout();
  ldmatrixLayout();
  copies();
  unordered();
  gemm();
  tileFaults();
}

void tileTimings() {
  for (size_t i = 0; i < 8; ++i) check(!caught[i].empty(), kPlants[i].name, "caught in " + caught[i]);
  const int n = 128, plant = 0;
  std::vector<unsigned short> ones(n * n, bf16(1));
  Device<unsigned short> x(ones), w(ones);
  Device<float> y(n * n);
  double best = 1;
  for (int i = 0; i < 20; ++i) {
    double start = seconds();
    MUST(run("gemm_bf16", 1, 256, x.p, w.p, y.p, n, n, n, plant));
    best = std::min(best, seconds() - start);
  }
  printf("     128x128x128 bf16 through cp.async, ldmatrix, mma: %.2f ms\n", best * 1e3);
}
