// emulator_test.cc - the emulator's own test: faults caught and named, order, streams, capture.
// usage: emulator_test KERNELS.so... ; prints each check, exits 1 when one fails.
#include "check.h"

namespace {

std::vector<char> image;  // of the first module

void kernels() {
  Device<float> x(ramp(1000)), y(1000);
  MUST(run("add_one", 8, 128, x.p, y.p, 1000));
  bool ok = true;
  auto v = y.get();
  for (int i = 0; i < 1000; ++i) ok = ok && v[size_t(i)] == float(i) + 1;
  check(ok, "element-wise kernel");

  Device<int> flags(256);
  MUST(run("shuffles", 2, 128, flags.p));
  ok = true;
  for (int f : flags.get()) ok = ok && f == 1;
  check(ok, "shuffles, votes, block votes");

  Device<float> r(ramp(128));
  MUST(run("reverse", 1, 128, r.p));
  check(r.get()[0] == 127 && r.get()[127] == 0, "shared memory and a barrier");

  Device<float> bad(ramp(128));
  MUST(run("reverse_no_barrier", 1, 128, bad.p));
  bool nan = false;
  for (float f : bad.get()) nan = nan || std::isnan(f);
  check(nan, "a missing barrier reads poison");

  struct Mixed {
    char a;
    double b;
  } mixed{3, 4};
  Device<long long> out(5);
  MUST(run("parameters", 1, 1, char(-1), 2.0, short(-7), mixed, out.p));
  auto o = out.get();
  check(o[0] == -1 && o[1] == 2 && o[2] == -7 && o[3] == 3 && o[4] == 4, "parameters of all sizes");

  Device<int> places(2 * 3 * 4 * 5 * 2 * 3);
  void* p[] = {&places.p};
  MUST(cuLaunchKernel(fn("where"), 2, 3, 4, 5, 2, 3, 0, nullptr, p, nullptr));
  auto w = places.get();
  ok = true;
  for (int i = 0; i < int(w.size()); ++i) ok = ok && w[size_t(i)] == i / 30 * 1000 + i % 30;
  check(ok, "three-dimensional grid and block");

  Device<float> c(ramp(64)), d(64);
  MUST(run("copy_async", 1, 64, c.p, d.p, 1));
  check(d.get()[0] == 63, "asynchronous copy, waited for");
  MUST(run("copy_async", 1, 64, c.p, d.p, 0));
  check(std::isnan(d.get()[0]), "asynchronous copy, not waited for, is poison");

  Device<int> s(std::vector<int>{0, 0});
  MUST(run("spin_for_other", 1, 64, s.p));
  check(s.get()[1] == 7, "a spin-wait on an atomic lets others run");
}

void faultKinds() {
  Device<float> x(1024), y(1024);
  faults("read past the end", run("read_past", 2, 64, x.p, y.p, 1024), 700,
         {"read_past: out-of-bounds read", "8 bytes past the end of a 4096-byte allocation",
          "block (1,0,0) thread (33,0,0)"});
  Device<float> small(5);
  // 12 bytes of slack up to the guard page: 20 rounds to 32.
  faults("write past the end, in the slack", run("write_at", 1, 1, small.p, 6), 700,
         {"noticed later", "past the end of a 20-byte allocation", "write_at"});
  faults("write past the end, at the guard page", run("write_at", 1, 1, small.p, 8), 700,
         {"out-of-bounds write", "12 bytes past the end of a 20-byte allocation"});
  faults("write before the start, in the slack", run("write_at", 1, 1, small.p, -3), 700,
         {"before the start of a 20-byte allocation"});
  faults("write before the start, at the guard page", run("write_at", 1, 1, x.p, -3), 700,
         {"12 bytes before the start of a 4096-byte allocation"});
  faults("null pointer", run("write_at", 1, 1, Ptr(0), 3), 700, {"a null pointer"});
  faults("wild pointer", run("write_at", 1, 1, Ptr(0x1234567812345678ull), 0), 700, {"write_at"});
  Ptr freed;
  MUST(cuMemAlloc_v2(&freed, 4096));
  MUST(cuMemFree_v2(freed));
  faults("use after free", run("write_at", 1, 1, freed, 4), 700,
         {"16 bytes into a freed 4096-byte allocation"});
  Device<int> i(std::vector<int>{1, 2});
  faults("integer division by zero", run("divide", 1, 1, i.p, 0), 719, {"division by zero"});
  faults("stack overflow", run("recurse", 1, 1, i.p, 100000), 719, {"fibre stack overflow"});
  MUST(run("recurse", 1, 1, i.p, 20));
  faults("shared array, past the end", run("shared_past", 1, 32, x.p, 100), 700, {"shared array tile"});
  faults("shared array, before the start", run("shared_past", 1, 32, x.p, -1), 700,
         {"before the shared array tile of 400 bytes"});
  faults("shared array, far past the end", run("shared_past", 1, 32, x.p, 4000), 700, {"shared"});
  MUST(launchOn(nullptr, fn("dynamic_past"), 1, 32, 64, x.p, 15));
  MUST(cuCtxSynchronize());
  MUST(launchOn(nullptr, fn("dynamic_past"), 1, 32, 64, x.p, 16));
  faults("dynamic shared memory, past the end", cuCtxSynchronize(), 700,
         {"0 bytes past the end of the shared array (dynamic) of 64 bytes"});
  faults("divergent barrier", run("divergent_barrier", 1, 64, x.p), 719,
         {"divergent barrier", "__syncthreads (kernels.cu:"});
  MUST(run("early_exit", 1, 64, x.p));
  check(true, "ended threads count as arrived");
  faults("barrier in one lane, shuffle in the others", run("barrier_and_shuffle", 1, 32, x.p), 719,
         {"never complete", "__shfl_xor_sync"});
  faults("shuffle with an ended lane", run("shuffle_after_exit", 1, 32, x.p), 719,
         {"names lane 7, which has exited"});
  faults("shuffle by a lane not named", run("shuffle_not_named", 1, 32, x.p), 719,
         {"which the mask does not name"});
  faults("assert", run("asserts", 1, 1, 2), 710, {"assertion failed: v == 1"});
  faults("trap", run("traps", 1, 1), 719, {"__trap()"});
  MUST(cuMemsetD8_v2(i.p, 0, 8));
  faults("grid sync without a cooperative launch", run("grid_rotate", 1, 2, i.p, 1), 719,
         {"not launched cooperatively"});

  gatunEmuSetWatchdogMillis(200);
  double start = seconds();
  Device<int> many(64);
  faults("endless loop", run("spin", 1, 32, many.p), 702,
         {"spin: stopped by the watchdog after 200 ms", "thread (5,0,0)"});
  MUST(cuMemsetD8_v2(i.p, 0, 8));
  faults("endless spin-wait", run("spin_atomic", 1, 32, i.p), 702, {"watchdog"});
  check(seconds() - start < 2, "the watchdog is in time");
  gatunEmuSetWatchdogMillis(60000);
  MUST(run("early_exit", 1, 64, x.p));
}

void validation() {
  Device<float> x(64);
  float host[64];
  check(cuMemcpyHtoD_v2(reinterpret_cast<Ptr>(host), host, 64) == 1, "host pointer as a device one");
  check(cuMemcpyDtoH_v2(host, x.p, 257) == 1, "copy longer than its allocation");
  check(cuMemcpyDtoD_v2(x.p + 200, x.p, 64) == 1, "copy past the end");
  check(cuMemFree_v2(x.p + 16) == 1, "free of an inner address");
  Ptr p;
  check(cuMemAlloc_v2(&p, size_t(1) << 40) == 2, "allocation beyond the device's memory");
  check(cuMemAlloc_v2(&p, 0) == 1, "allocation of nothing");
  Fn f;
  check(cuModuleGetFunction(&f, modules[0], "nowhere") == 500, "unknown kernel");
  Mod m;
  check(cuModuleLoadData(&m, "not an image, whatever it may be, of sixty-four bytes or more......") == 200,
        "an image that is none");
  unsigned fatbin[16] = {0xba55ed50u};
  check(cuModuleLoadData(&m, fatbin) == 209, "a fatbin");
  void* args[] = {&x.p};
  check(cuLaunchKernel(fn("reverse"), 1, 1, 1, 256, 1, 1, 0, nullptr, args, nullptr) == 701,
        "more threads than the launch bounds");
  check(cuLaunchKernel(fn("reverse"), 1, 1, 1, 2048, 1, 1, 0, nullptr, args, nullptr) == 1,
        "more threads than a block has");
  check(cuLaunchKernel(fn("reverse"), 0, 1, 1, 128, 1, 1, 0, nullptr, args, nullptr) == 1,
        "an empty grid");
  check(cuLaunchKernel(fn("reverse"), 1, 1, 1, 128, 1, 1, 50000, nullptr, args, nullptr) == 1,
        "more shared memory than allowed");
  MUST(cuFuncSetAttribute(fn("reverse"), 8, 60000));
  check(cuLaunchKernel(fn("reverse"), 1, 1, 1, 32, 1, 1, 50000, nullptr, args, nullptr) == 0,
        "more shared memory once allowed");
  cuCtxSynchronize();
  gatunEmuClearFault();
  check(cuLaunchKernel(x.p ? &x : nullptr, 1, 1, 1, 1, 1, 1, 0, nullptr, args, nullptr) == 400,
        "a handle that is no kernel");
  int n = 0;
  void* address = nullptr;
  check(cuGetProcAddress_v2("cuMemAlloc", &address, 12000, 0, &n) == 0 &&
            address == reinterpret_cast<void*>(&cuMemAlloc_v2),
        "cuGetProcAddress");
  check(cuGetProcAddress_v2("cuNothing", &address, 12000, 0, &n) == 500 && n == 1,
        "cuGetProcAddress of nothing");
}

void streamsAndEvents() {
  Str a, b;
  MUST(cuStreamCreate(&a, 1));
  MUST(cuStreamCreate(&b, 1));
  Ev e, f;
  MUST(cuEventCreate(&e, 0));
  MUST(cuEventCreate(&f, 0));
  int missed = 0;
  bool ok = true;
  for (int round = 0; round < 40; ++round) {
    for (bool waits : {true, false}) {
      Device<float> x(ramp(256)), y(256);
      MUST(cuMemsetD8_v2(y.p, 0, 1024));
      MUST(cuEventRecord(f, a));
      MUST(launchOn(a, fn("scale"), 2, 128, 0, x.p, 2.0f, 256));
      MUST(cuEventRecord(e, a));
      if (waits) MUST(cuStreamWaitEvent(b, e, 0));
      MUST(launchOn(b, fn("add_one"), 2, 128, 0, x.p, y.p, 256));
      MUST(cuStreamSynchronize(b));
      bool right = y.get()[3] == 7;
      if (waits) ok = ok && right;
      if (!waits && !right) ++missed;
      MUST(cuStreamSynchronize(a));
    }
  }
  float millis = -1;
  MUST(cuEventElapsedTime(&millis, f, e));
  check(ok, "a waited-for event orders two streams");
  check(millis > 0, "elapsed time");
  label.find("fifo") == std::string::npos
      ? check(missed > 0, "a missing wait shows", std::to_string(missed) + " of 40 rounds")
      : check(missed == 0, "first in, first out keeps the order of the calls");

  // The legacy stream waits for blocking streams, and they for it.
  Str c;
  MUST(cuStreamCreate(&c, 0));
  ok = true;
  for (int round = 0; round < 20; ++round) {
    Device<float> x(ramp(64));
    MUST(launchOn(c, fn("scale"), 1, 64, 0, x.p, 3.0f, 64));
    MUST(launchOn(nullptr, fn("add_one"), 1, 64, 0, x.p, x.p, 64));
    MUST(launchOn(c, fn("scale"), 1, 64, 0, x.p, 2.0f, 64));
    MUST(cuStreamSynchronize(c));
    ok = ok && x.get()[5] == 32;
  }
  check(ok, "the legacy stream orders blocking streams");

  // Pageable memory is staged; page-locked memory is read when the copy's turn comes.
  Device<float> x(4);
  float host[4] = {1, 2, 3, 4};
  MUST(cuMemcpyHtoDAsync_v2(x.p, host, 16, a));
  host[0] = 9;
  MUST(cuStreamSynchronize(a));
  check(x.get()[0] == 1, "pageable memory is staged");
  float* pinned;
  MUST(cuMemHostAlloc(reinterpret_cast<void**>(&pinned), 16, 0));
  pinned[0] = 1;
  MUST(cuMemcpyHtoDAsync_v2(x.p, pinned, 16, a));
  pinned[0] = 9;
  MUST(cuStreamSynchronize(a));
  check(x.get()[0] == 9, "page-locked memory is not");
  MUST(cuMemcpyDtoHAsync_v2(pinned, x.p, 16, a));
  int polls = 0;
  while (cuStreamQuery(a) == 600 && polls < 10) ++polls;
  check(polls == 1, "polling makes progress");
  MUST(cuMemFreeHost(pinned));

  Ptr p;
  MUST(cuMemAllocAsync(&p, 1000, a));
  MUST(cuMemsetD32Async(p, 5, 250, a));
  MUST(cuMemFreeAsync(p, a));
  MUST(cuStreamSynchronize(a));
  check(cuMemFree_v2(p) == 1, "stream-ordered allocation and free");
  for (Str s : {a, b, c}) MUST(cuStreamDestroy_v2(s));
  MUST(cuEventDestroy_v2(e));
  MUST(cuEventDestroy_v2(f));
}

void captureAndReplay() {
  Str s, t;
  MUST(cuStreamCreate(&s, 1));
  MUST(cuStreamCreate(&t, 1));
  Ev fork, join;
  MUST(cuEventCreate(&fork, 2));
  MUST(cuEventCreate(&join, 2));
  Device<float> x(ramp(64)), y(64);
  MUST(cuMemsetD8_v2(y.p, 0, 256));
  MUST(cuStreamBeginCapture_v2(s, 0));
  int capturing = 0;
  MUST(cuStreamIsCapturing(s, &capturing));
  check(capturing == 1, "a stream is capturing");
  MUST(launchOn(s, fn("scale"), 1, 64, 0, x.p, 2.0f, 64));
  MUST(cuEventRecord(fork, s));
  MUST(cuStreamWaitEvent(t, fork, 0));
  MUST(launchOn(t, fn("add_one"), 1, 64, 0, x.p, y.p, 64));
  MUST(cuEventRecord(join, t));
  MUST(cuStreamWaitEvent(s, join, 0));
  MUST(launchOn(s, fn("scale"), 1, 64, 0, y.p, 10.0f, 64));
  Gr g;
  MUST(cuStreamEndCapture(s, &g));
  size_t nodes = 0;
  MUST(cuGraphGetNodes(g, nullptr, &nodes));
  check(nodes == 3, "three nodes are captured");
  MUST(cuCtxSynchronize());
  check(x.get()[3] == 3, "capture runs nothing");
  Ex ex;
  MUST(cuGraphInstantiateWithFlags(&ex, g, 0));
  MUST(cuGraphDestroy(g));
  for (int i = 0; i < 3; ++i) MUST(cuGraphLaunch(ex, s));
  MUST(cuStreamSynchronize(s));
  check(x.get()[3] == 24 && y.get()[3] == 250, "replay, three times");
  MUST(cuGraphExecDestroy(ex));

  MUST(cuStreamBeginCapture_v2(s, 0));
  check(cuStreamSynchronize(s) == 900, "waiting for a capturing stream");
  check(cuStreamEndCapture(s, &g) == 901, "the capture is spoilt");
  MUST(cuStreamBeginCapture_v2(s, 0));
  Ptr p;
  check(cuMemAlloc_v2(&p, 16) == 900, "allocating during a capture");
  check(cuStreamEndCapture(s, &g) == 901, "that spoils it too");
  MUST(cuStreamBeginCapture_v2(s, 2));
  MUST(cuMemAlloc_v2(&p, 16));
  MUST(cuMemFree_v2(p));
  MUST(cuEventRecord(fork, s));
  MUST(cuStreamWaitEvent(t, fork, 0));
  MUST(launchOn(t, fn("empty"), 1, 1, 0));
  check(cuStreamEndCapture(s, &g) == 904, "work that never joins");
  MUST(launchOn(t, fn("empty"), 1, 1, 0));
  MUST(cuStreamDestroy_v2(s));
  MUST(cuStreamDestroy_v2(t));
  MUST(cuEventDestroy_v2(fork));
  MUST(cuEventDestroy_v2(join));
}

void cooperative() {
  const int blocks = 132, threads = 256, n = blocks * threads;
  std::vector<int> v(n);
  for (int i = 0; i < n; ++i) v[size_t(i)] = i;
  Device<int> x(v);
  int rounds = 3;
  void* args[] = {&x.p, &rounds};
  MUST(cuLaunchCooperativeKernel(fn("grid_rotate"), blocks, 1, 1, threads, 1, 1, 0, nullptr, args));
  MUST(cuCtxSynchronize());
  bool ok = true;
  auto r = x.get();
  for (int i = 0; i < n; ++i) ok = ok && r[size_t(i)] == (i + rounds) % n;
  check(ok, "cooperative launch of 132 blocks, grid sync");
  check(cuLaunchCooperativeKernel(fn("grid_rotate"), 100000, 1, 1, threads, 1, 1, 0, nullptr, args) == 720,
        "too large a cooperative launch");
}

void manyFaults() {
  Device<float> x(100);
  int caught = 0;
  for (int i = 0; i < 300; ++i) {
    int expected = 700, result;
    if (i % 3 == 0) result = run("write_at", 1, 32, x.p, 200 + i);
    else if (i % 3 == 1) result = run("divergent_barrier", 1, 64, x.p), expected = 719;
    else result = run("read_past", 2, 64, x.p, x.p, 5000);
    caught += result == expected;
    gatunEmuClearFault();
  }
  check(caught == 300, "300 faults in a row");
  MUST(run("write_at", 1, 1, x.p, 0));
}

void manyAllocations() {
  size_t before, after, total;
  MUST(cuMemGetInfo_v2(&before, &total));
  std::vector<Ptr> live;
  unsigned seed = 1;
  double start = seconds();
  for (int i = 0; i < 20000; ++i) {
    seed = seed * 1664525u + 1013904223u;
    if (live.size() > 200 || (!live.empty() && seed >> 31)) {
      size_t k = (seed >> 8) % live.size();
      MUST(cuMemFree_v2(live[k]));
      live[k] = live.back();
      live.pop_back();
    } else {
      Ptr p;
      MUST(cuMemAlloc_v2(&p, (seed >> 10) % 20000 + 1));
      live.push_back(p);
    }
  }
  for (Ptr p : live) MUST(cuMemFree_v2(p));
  MUST(cuMemGetInfo_v2(&after, &total));
  char text[64];
  snprintf(text, sizeof text, "%.1f us each", (seconds() - start) / 20000 * 1e6);
  check(before == after, "20,000 allocations and frees", text);
}

void threads() {
  Device<unsigned> x(std::vector<unsigned>{0});
  Ctx context;
  MUST(cuDevicePrimaryCtxRetain(&context, 0));
  std::vector<std::thread> all;
  for (int t = 0; t < 4; ++t) {
    all.emplace_back([&] {
      MUST(cuCtxSetCurrent(context));
      for (int i = 0; i < 200; ++i) {
        MUST(launchOn(nullptr, fn("count"), 1, 32, 0, x.p));
        if (i % 10 == 0) MUST(cuCtxSynchronize());
      }
    });
  }
  for (auto& t : all) t.join();
  check(x.get()[0] == 4 * 200 * 32, "launches from four threads");
}

void modulesAndContexts() {
  bool ok = true;
  for (int i = 0; i < 50; ++i) {
    Mod m;
    MUST(cuModuleLoadData(&m, image.data()));
    Fn f;
    MUST(cuModuleGetFunction(&f, m, "count"));
    Device<unsigned> x(std::vector<unsigned>{0});
    MUST(launchOn(nullptr, f, 1, 32, 0, x.p));
    ok = ok && x.get()[0] == 32;
    MUST(cuModuleUnload(m));
  }
  check(ok, "50 modules loaded and unloaded");
  Ctx other, primary;
  MUST(cuDevicePrimaryCtxRetain(&primary, 0));
  MUST(cuCtxCreate_v2(&other, 0, 0));
  Ptr p;
  MUST(cuMemAlloc_v2(&p, 4096));
  Mod m;
  MUST(cuModuleLoadData(&m, image.data()));
  Fn f;
  MUST(cuModuleGetFunction(&f, m, "write_at"));
  MUST(launchOn(nullptr, f, 1, 1, 0, p, 5000));
  check(cuCtxSynchronize() == 700 && cuMemAlloc_v2(&p, 16) == 700 && cuMemFree_v2(p) == 700,
        "a fault makes its context unusable");
  MUST(cuCtxDestroy_v2(other));
  MUST(cuCtxSetCurrent(primary));
  check(run("empty", 1, 1) == 0, "another context is untouched");
}

void timings() {
  gatunEmuSetOrder(0, 0);
  Fn f = fn("empty");
  double start = seconds();
  for (int i = 0; i < 20000; ++i) MUST(launchOn(nullptr, f, 1, 32, 0));
  MUST(cuCtxSynchronize());
  printf("     launch of 32 empty threads: %.2f us\n", (seconds() - start) / 20000 * 1e6);
  Device<float> x(ramp(1 << 20)), y(1 << 20);
  start = seconds();
  MUST(run("add_one", 4096, 256, x.p, y.p, 1 << 20));
  printf("     element-wise, 1M threads: %.1f ms\n", (seconds() - start) * 1e3);
  Device<int> z(std::vector<int>(132 * 256));
  int rounds = 3;
  void* args[] = {&z.p, &rounds};
  start = seconds();
  MUST(cuLaunchCooperativeKernel(fn("grid_rotate"), 132, 1, 1, 256, 1, 1, 0, nullptr, args));
  MUST(cuCtxSynchronize());
  double coop = seconds() - start;
  printf("     cooperative, 132 x 256 threads, 6 grid syncs: %.1f ms\n", coop * 1e3);
}

}  // namespace

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  std::vector<std::vector<char>> images;
  for (int i = 1; i < argc; ++i) {
    FILE* file = fopen(argv[i], "rb");
    if (file == nullptr) {
      perror(argv[i]);
      return 2;
    }
    images.emplace_back();
    char part[4096];
    for (size_t n; (n = fread(part, 1, sizeof part, file)) > 0;) {
      images.back().insert(images.back().end(), part, part + n);
    }
    fclose(file);
  }
  if (images.empty()) {
    fprintf(stderr, "usage: emulator_test KERNELS.so...\n");
    return 2;
  }
  image = images[0];

  int n = 0;
  check(cuDeviceGetCount(&n) == 3, "a call before cuInit");
  MUST(cuInit(0));
  MUST(cuDriverGetVersion(&n));
  check(n == 13000, "driver version");
  char name[64];
  MUST(cuDeviceGetName(name, 64, 0));
  check(strcmp(name, "Gatun emulated device") == 0, "device name");
  Ptr p;
  check(cuMemAlloc_v2(&p, 16) == 201, "a call without a context");
  Ctx context;
  MUST(cuDevicePrimaryCtxRetain(&context, 0));
  MUST(cuCtxSetCurrent(context));
  for (auto& bytes : images) {
    modules.emplace_back();
    MUST(cuModuleLoadData(&modules.back(), bytes.data()));
  }

  const struct {
    const char* label;
    int order;
    unsigned long long seed;
  } orders[] = {{"[fifo] ", 0, 0}, {"[lifo] ", 1, 0}, {"[shuffle:1] ", 2, 1}, {"[shuffle:2] ", 2, 2}};
  for (auto& o : orders) {
    label = o.label;
    gatunEmuSetOrder(o.order, o.seed);
    kernels();
    faultKinds();
    streamsAndEvents();
    captureAndReplay();
    cooperative();
    threads();
    tiles();
    clusters();
    pools();
  }
  label = "";
  gatunEmuSetOrder(0, 0);
  validation();
  manyFaults();
  manyAllocations();
  modulesAndContexts();
  timings();
  clusterPlants();
  tileTimings();

  Device<float> x(8);
  std::vector<float> host(1024);
  MUST(cuMemHostRegister_v2(host.data(), 4096, 0));
  check(run("write_at", 1, 1, x.p, 4000) == 700 && cuDevicePrimaryCtxReset_v2(0) == 0 &&
            cuCtxSynchronize() == 0,
        "a reset of the device ends the fault");
  check(cuMemHostRegister_v2(host.data(), 4096, 0) == 0, "and its hold on the host's memory");
  printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 ? 0 : 1;
}
