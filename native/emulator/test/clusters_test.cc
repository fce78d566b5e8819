// clusters_test.cc - clusters, their shared memory, grid barriers and spin-waits, through the kernels'
// own headers.
#include "check.h"

namespace {

int launchClusters(Fn f, const unsigned (&grid)[3], const unsigned (&cluster)[3], unsigned block,
                   unsigned shared, bool cooperative, void** arguments) {
  Attribute attributes[2] = {};
  attributes[0].id = 4;
  memcpy(attributes[0].value.cluster, cluster, sizeof cluster);
  attributes[1].id = 2;
  attributes[1].value.cooperative = 1;
  Config config{grid[0], grid[1], grid[2], block,      1,
                1,       shared,  nullptr, attributes, cooperative ? 2u : 1u};
  return cuLaunchKernelEx(&config, f, arguments, nullptr);
}

template <class... A>
int runClusters(const char* name, unsigned blocks, unsigned cluster, unsigned threads, unsigned shared,
                A... arguments) {
  void* p[] = {static_cast<void*>(&arguments)..., nullptr};
  if (int e = launchClusters(fn(name), {blocks, 1, 1}, {cluster, 1, 1}, threads, shared, false, p)) {
    return e;
  }
  return cuCtxSynchronize();
}

enum { kNoFirst, kBlockOnly, kNoLast, kPushEarly, kPushUnsynced, kNoGrid, kNoSecondGrid, kNoSpin, kPlants };
const char* const kNames[kPlants] = {
    "a removed cluster sync before a read", "a block's barrier for a cluster's",
    "a removed cluster sync before the end", "a push to a block that has not begun",
    "a push that nobody waits for", "a removed grid sync", "a removed second grid sync",
    "a removed spin-wait"};
std::string caught[kPlants];

/** Clears a fault, if that is how it shows. */
bool faulted(int result) {
  if (result != 0) gatunEmuClearFault();
  return result != 0;
}

void note(int plant, bool wrong) {
  if (wrong) caught[plant] += label;
}

bool rotated(const std::vector<float>& y, int cluster, bool reversed, int step) {
  for (int i = 0; i < int(y.size()); ++i) {
    int b = i / 64, t = i % 64, first = b / cluster * cluster;
    int from = first + (b - first + step + cluster) % cluster;
    if (y[size_t(i)] != float(from * 64 + (reversed ? 63 - t : t))) return false;
  }
  return true;
}

void places() {
  const unsigned grid[3] = {4, 6, 2}, cluster[3] = {2, 3, 1};
  Device<unsigned> where(4 * 6 * 2 * 2);
  void* p[] = {&where.p};
  MUST(launchClusters(fn("cluster_places"), grid, cluster, 1, 0, false, p));
  auto w = where.get();
  bool ok = true;
  for (unsigned b = 0; b < 48; ++b) {
    unsigned x = b % 4, y = b / 4 % 6;
    ok = ok && w[2 * b] == x % 2 + y % 3 * 2 && w[2 * b + 1] == 6;
  }
  check(ok, "rank and size in three dimensions");
}

void sharedMemory() {
  const int blocks = 8;
  Device<float> x(ramp(blocks * 64)), y(blocks * 64);
  bool ok = true;
  for (int cluster : {1, 2, 4, 8}) {
    MUST(runClusters("cluster_rotate", blocks, unsigned(cluster), 64, 0, x.p, y.p, 0));
    ok = ok && rotated(y.get(), cluster, true, 1);
    MUST(runClusters("cluster_push", blocks, unsigned(cluster), 64, 256, x.p, y.p, 0));
    ok = ok && rotated(y.get(), cluster, false, -1);
  }
  check(ok, "reads from and writes to another block's shared memory");
  MUST(run("cluster_rotate", 8, 64, x.p, y.p, 0));
  check(rotated(y.get(), 1, true, 1), "a cluster sync without a cluster launch");

  const struct {
    const char* kernel;
    int bug, plant;
  } plants[] = {{"cluster_rotate", 1, kNoFirst}, {"cluster_rotate", 2, kBlockOnly},
                {"cluster_rotate", 3, kNoLast},  {"cluster_push", 1, kPushEarly},
                {"cluster_push", 2, kPushUnsynced}};
  for (auto& p : plants) {
    MUST(cuMemsetD8_v2(y.p, 0, blocks * 64 * 4));
    bool push = p.kernel[8] == 'p';
    int result = runClusters(p.kernel, blocks, 4, 64, push ? 256 : 0, x.p, y.p, p.bug);
    note(p.plant, faulted(result) || !rotated(y.get(), 4, !push, push ? -1 : 1));
  }

  std::vector<int> v(512);
  int expected = 0;
  for (int i = 0; i < 512; ++i) expected += v[size_t(i)] = i * i % 97;
  Device<int> dv(v), sum(1), other(512);
  MUST(runClusters("cluster_total", 4, 4, 128, 0, dv.p, sum.p, other.p));
  check(sum.get()[0] == expected && other.get() == v,
        "arrive, work, wait; atomics on another block's word");
  const unsigned large[3] = {16, 1, 1};
  Device<float> x16(ramp(1024)), y16(1024);
  int plant = 0;
  void* p[] = {&x16.p, &y16.p, &plant};
  Fn f = fn("cluster_rotate");
  check(launchClusters(f, large, large, 64, 0, false, p) == 912, "16 blocks need the function's leave");
  MUST(cuFuncSetAttribute(f, 14, 1));
  MUST(launchClusters(f, large, large, 64, 0, false, p));
  check(rotated(y16.get(), 16, true, 1), "a cluster of 16 blocks");
  const unsigned more[3] = {32, 1, 1};
  check(launchClusters(f, more, more, 64, 0, false, p) == 912, "a cluster of 32 blocks");
  MUST(cuFuncSetAttribute(f, 14, 0));
  const unsigned odd[3] = {6, 1, 1}, four[3] = {4, 1, 1}, none[3] = {0, 1, 1};
  check(launchClusters(f, odd, four, 64, 0, false, p) == 1, "a grid that clusters do not divide");
  check(launchClusters(f, odd, none, 64, 0, false, p) == 1, "a cluster of no block");
  Attribute a = {};
  a.id = 4;
  memcpy(a.value.cluster, four, sizeof four);
  Config config{8, 1, 1, 64, 1, 1, 0, nullptr, &a, 1};
  int n = 0;
  MUST(cuOccupancyMaxActiveClusters(&n, f, &config));
  check(n > 0, "clusters that fit the device", std::to_string(n));

  // A launch keeps its clusters through capture and replay.
  Str s;
  Gr g;
  Ex ex;
  MUST(cuStreamCreate(&s, 1));
  void* q[] = {&x.p, &y.p, &plant};
  config.stream = s;
  MUST(cuMemsetD8_v2(y.p, 0, blocks * 64 * 4));
  MUST(cuStreamBeginCapture_v2(s, 0));
  MUST(cuLaunchKernelEx(&config, f, q, nullptr));
  MUST(cuStreamEndCapture(s, &g));
  MUST(cuGraphInstantiateWithFlags(&ex, g, 0));
  MUST(cuGraphLaunch(ex, s));
  MUST(cuStreamSynchronize(s));
  check(rotated(y.get(), 4, true, 1), "clusters in a replayed graph");
  MUST(cuGraphExecDestroy(ex));
  MUST(cuGraphDestroy(g));
  MUST(cuStreamDestroy_v2(s));
}

void clusterFaults() {
  Device<float> x(64);
  auto go = [&](int how) { return runClusters("cluster_wrong", 2, 2, 32, 0, x.p, how); };
  faults("a rank that the cluster lacks", go(0), 700,
         {"cluster_map (clusters.cu:", "rank 2 of a cluster of 2"});
  faults("a map of global memory", go(1), 700, {"in no shared array"});
  faults("two arrivals", go(2), 719, {"a second cluster arrival (clusters.cu:", "block ("});
  faults("a wait alone", go(3), 719, {"a cluster wait (clusters.cu:", "without an arrival"});
  faults("a diverged cluster barrier", go(4), 719, {"divergent cluster barrier", "clusters.cu:"});
  faults("a cluster barrier that one thread misses", go(5), 719, {"never complete", "cluster wait"});
  faults("past the end of another block's array", go(6), 700,
         {"32 bytes past the end of the shared array tile of 128 bytes", "block (1,0,0)"});
  faults("the shared memory of an ended block", go(7), 700,
         {"the shared memory of block (0,0,0), which has exited", "block (1,0,0) thread ("});
  MUST(go(8));
  check(x.get()[0] == 8, "ended threads count as arrived at a cluster's barrier");
}

void grids() {
  const int blocks = 40, threads = 64, n = blocks * threads;
  int rounds = 3;
  gatunEmuSetWatchdogMillis(5000);
  auto go = [&](int plant) {
    std::vector<int> v(n);
    for (int i = 0; i < n; ++i) v[size_t(i)] = i;
    Device<int> x(v);
    Device<unsigned> barrier(std::vector<unsigned>{0});
    void* p[] = {&x.p, &barrier.p, &rounds, &plant};
    MUST(cuLaunchCooperativeKernel(fn("grid_header_rotate"), blocks, 1, 1, threads, 1, 1, 0, nullptr,
                                   p));
    MUST(cuCtxSynchronize());
    bool ok = (barrier.get()[0] & 0x7fffffffu) == 0;
    auto r = x.get();
    for (int i = 0; i < n; ++i) ok = ok && r[size_t(i)] == (i + rounds) % n;
    return ok;
  };
  check(go(0), "grid sync by atomics, six times on one word");
  note(kNoGrid, !go(1));
  note(kNoSecondGrid, !go(2));
  Device<int> x(128);
  Device<unsigned> barrier(std::vector<unsigned>{0});
  faults("grid sync without a cooperative launch",
         run("grid_header_rotate", 2, 64, x.p, barrier.p, 1, 0), 719, {"not launched cooperatively"});

  const unsigned grid[3] = {12, 1, 1}, cluster[3] = {4, 1, 1};
  Device<int> y(24);
  Device<unsigned> word(std::vector<unsigned>{0});
  void* p[] = {&y.p, &word.p};
  MUST(launchClusters(fn("grid_of_clusters"), grid, cluster, 32, 0, true, p));
  auto v = y.get();
  bool ok = true;
  for (int b = 0; b < 12; ++b) {
    auto mirrored = [](int i) { return i / 4 * 4 + 3 - i % 4; };
    ok = ok && v[size_t(b)] == mirrored(b) && v[size_t(12 + b)] == mirrored((b + 1) % 12);
  }
  check(ok, "clusters in a cooperative launch");

  auto pass = [&](int plant) {
    const unsigned m = 50;
    std::vector<unsigned> w(m + 1, 0);
    w[m] = 1;
    Device<unsigned> words(w);
    Device<float> data(std::vector<float>(m + 1, 0.0f));
    void* q[] = {&words.p, &data.p, &plant};
    MUST(cuLaunchCooperativeKernel(fn("pass_on"), m, 1, 1, 32, 1, 1, 0, nullptr, q));
    MUST(cuCtxSynchronize());
    return data.get()[0] == float(m);
  };
  check(pass(0), "spin-waits along a chain of blocks");
  note(kNoSpin, !pass(1));
  for (int i = 0; i < 4; ++i) {
    int whole = i % 2;
    unsigned setter = i < 2 ? 0 : 3;  // the block that runs last, in one order or the other
    Device<unsigned> word(std::vector<unsigned>{0});
    Device<float> y(4 * 64);
    void* q[] = {&word.p, &y.p, &whole, &setter};
    MUST(cuLaunchCooperativeKernel(fn("spin_together"), 4, 1, 1, 64, 1, 1, 0, nullptr, q));
    check(cuCtxSynchronize() == 0, whole ? "blocks that spin together" : "warps that spin together");
    gatunEmuClearFault();
  }
  gatunEmuSetWatchdogMillis(200);
  double start = seconds();
  Device<unsigned> never(std::vector<unsigned>{0, 0});
  Device<float> data(2);
  faults("a spin-wait without an end", run("pass_on", 1, 1, never.p, data.p, 0), 702, {"watchdog"});
  check(seconds() - start < 2, "the watchdog is in time for it");
  gatunEmuSetWatchdogMillis(60000);
}

}  // namespace

void clusters() {
  places();
  sharedMemory();
  clusterFaults();
  grids();
}

void clusterPlants() {
  for (int i = 0; i < kPlants; ++i) check(!caught[i].empty(), kNames[i], "caught in " + caught[i]);
}
