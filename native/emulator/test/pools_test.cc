// pools_test.cc - stream-ordered memory, page-locked memory, events of a capture.
#include "check.h"

namespace {

/* CUmemPoolProps */
struct Properties {
  int allocationType = 1, handleTypes = 0, locationType = 1, locationId = 0;
  void* security = nullptr;
  size_t maxSize = 0;
  unsigned short usage = 0;
  unsigned char reserved[54] = {};
};

Pool makePool(size_t limit) {
  Properties properties;
  properties.maxSize = limit;
  Pool pool;
  MUST(cuMemPoolCreate(&pool, &properties));
  return pool;
}

unsigned long long read(Pool pool, int attribute) {
  unsigned long long v = 0;
  MUST(cuMemPoolGetAttribute(pool, attribute, &v));
  return v;
}
enum { kThreshold = 4, kReserved = 5, kReservedHigh = 6, kUsed = 7, kUsedHigh = 8 };

struct Streams {
  Str a, b;
  Ev e;
  Streams() {
    MUST(cuStreamCreate(&a, 1));
    MUST(cuStreamCreate(&b, 1));
    MUST(cuEventCreate(&e, 0));
  }
  ~Streams() {
    cuStreamDestroy_v2(a);
    cuStreamDestroy_v2(b);
    cuEventDestroy_v2(e);
  }
};

void order() {
  Streams s;
  // Waited for on both sides: never a complaint.
  bool ok = true;
  for (int round = 0; round < 20; ++round) {
    Ptr p, q;
    Device<float> y(64);
    MUST(cuMemAllocAsync(&p, 256, s.a));
    MUST(cuMemsetD32Async(p, 0x40000000, 64, s.a));  // 2.0f
    MUST(cuEventRecord(s.e, s.a));
    MUST(cuStreamWaitEvent(s.b, s.e, 0));
    MUST(cuMemAllocAsync(&q, 256, s.b));
    MUST(launchOn(s.b, fn("add_one"), 1, 64, 0, p, q, 64));
    MUST(launchOn(s.b, fn("add_one"), 1, 64, 0, q, y.p, 64));
    MUST(cuMemFreeAsync(q, s.b));
    MUST(cuEventRecord(s.e, s.b));
    MUST(cuStreamWaitEvent(s.a, s.e, 0));
    MUST(cuMemFreeAsync(p, s.a));
    MUST(cuStreamSynchronize(s.a));
    ok = ok && y.get()[63] == 4;
  }
  check(ok, "allocations passed from stream to stream with events");

  Ptr p;
  MUST(cuMemAllocAsync(&p, 4096, s.a));
  MUST(launchOn(s.a, fn("write_at"), 1, 1, 0, p, 4));
  MUST(cuMemFreeAsync(p, s.a));
  MUST(launchOn(s.a, fn("write_at"), 1, 1, 0, p, 4));
  faults("use after a free of the same stream", cuStreamSynchronize(s.a), 700,
         {"write_at", "16 bytes into a freed 4096-byte allocation"});
  MUST(cuMemAllocAsync(&p, 4096, s.a));
  MUST(cuMemFreeAsync(p, s.a));
  MUST(cuMemsetD32Async(p, 1, 4, s.a));
  faults("a fill after the free", cuStreamSynchronize(s.a), 700, {"a fill uses", "freed 4096-byte"});

  MUST(cuMemAllocAsync(&p, 4096, s.a));
  MUST(launchOn(s.b, fn("write_at"), 1, 1, 0, p, 4));
  faults("use by another stream, not ordered after the allocation", cuCtxSynchronize(), 700,
         {"write_at", "16 bytes into a stream-ordered 4096-byte allocation whose turn has not come"});
  MUST(cuMemFree_v2(p));
  MUST(cuMemAllocAsync(&p, 4096, s.a));
  MUST(cuMemFreeAsync(p, s.b));
  faults("a free not ordered after the allocation", cuCtxSynchronize(), 700,
         {"comes before the allocation's"});

  int found = 0;
  for (int round = 0; round < 20; ++round) {
    MUST(cuMemAllocAsync(&p, 4096, s.a));
    MUST(cuStreamSynchronize(s.a));
    MUST(launchOn(s.b, fn("empty"), 1, 1, 0));
    MUST(launchOn(s.b, fn("write_at"), 1, 1, 0, p, 4));
    MUST(cuMemFreeAsync(p, s.a));
    if (cuCtxSynchronize() == 700) ++found;
    gatunEmuClearFault();
  }
  check(found == 20, "a free while another stream uses the memory",
        std::to_string(found) + " of 20 rounds");

  // The bookkeeping of frees.
  MUST(cuMemAllocAsync(&p, 100, s.a));
  MUST(cuMemFreeAsync(p, s.a));
  check(cuMemFreeAsync(p, s.a) == 1 && cuMemFree_v2(p) == 1, "a second free");
  MUST(cuMemAllocAsync(&p, 100, s.a));
  check(cuMemFree_v2(p) == 0, "cuMemFree of stream-ordered memory");
  Device<float> x(8);
  check(cuMemFreeAsync(x.p, s.a) == 1, "cuMemFreeAsync of other memory");
  check(cuMemFreeAsync(p + 16, s.a) == 1, "cuMemFreeAsync of an inner address");
  check(cuMemAllocAsync(&p, 0, s.a) == 1, "a stream-ordered allocation of nothing");
  MUST(cuCtxSynchronize());

  // In a capture: refused.
  Gr g;
  MUST(cuMemAllocAsync(&p, 100, s.a));
  MUST(cuStreamBeginCapture_v2(s.a, 2));
  Ptr q;
  check(cuMemAllocAsync(&q, 100, s.a) == 900, "a stream-ordered allocation in a capture");
  check(cuStreamEndCapture(s.a, &g) == 901, "spoils it");
  MUST(cuStreamBeginCapture_v2(s.a, 2));
  check(cuMemFreeAsync(p, s.a) == 900 && cuStreamEndCapture(s.a, &g) == 901, "so does a free");
  MUST(cuMemFreeAsync(p, s.a));
}

void accounts() {
  Streams s;
  MUST(cuCtxSynchronize());
  Pool pool = makePool(1 << 20);
  unsigned long long keep = 300 << 10;
  MUST(cuMemPoolSetAttribute(pool, kThreshold, &keep));
  check(read(pool, kThreshold) == keep, "the release threshold");
  Ptr p[4];
  const size_t quarter = 256 << 10;
  for (Ptr& each : p) MUST(cuMemAllocFromPoolAsync(&each, quarter, pool, s.a));
  Ptr more;
  check(cuMemAllocFromPoolAsync(&more, 16, pool, s.a) == 2, "an allocation beyond the pool's limit");
  check(read(pool, kUsed) == 1 << 20 && read(pool, kReserved) == 1 << 20, "used and reserved");
  MUST(cuMemFreeAsync(p[3], s.a));
  check(cuMemAllocFromPoolAsync(&p[3], quarter, pool, s.a) == 0,
        "a queued free makes room in stream order");
  for (Ptr each : p) MUST(cuMemFreeAsync(each, s.a));
  check(read(pool, kUsed) == 0 && read(pool, kReserved) == 1 << 20, "freed memory is kept until a wait");
  size_t free, freeThen, total;
  MUST(cuMemGetInfo_v2(&free, &total));
  MUST(cuStreamSynchronize(s.a));
  MUST(cuMemGetInfo_v2(&freeThen, &total));
  check(read(pool, kReserved) == keep && freeThen == free + (1 << 20) - keep,
        "then all beyond the threshold is given back");
  check(read(pool, kUsedHigh) == 1 << 20 && read(pool, kReservedHigh) == 1 << 20, "the peaks");
  unsigned long long zero = 0;
  MUST(cuMemPoolSetAttribute(pool, kUsedHigh, &zero));
  MUST(cuMemPoolSetAttribute(pool, kReservedHigh, &zero));
  check(read(pool, kUsedHigh) == 0 && read(pool, kReservedHigh) == keep, "peaks begin again");
  MUST(cuMemPoolTrimTo(pool, 1000));
  check(read(pool, kReserved) == 1000, "trim");

  Pool standard, current;
  MUST(cuDeviceGetDefaultMemPool(&standard, 0));
  MUST(cuDeviceSetMemPool(0, pool));
  MUST(cuDeviceGetMemPool(&current, 0));
  MUST(cuMemAllocAsync(&more, 5000, s.a));
  check(current == pool && read(pool, kUsed) == 5000, "the device's pool is another one");
  check(cuMemPoolDestroy(standard) == 1, "the default pool stays");
  MUST(cuMemPoolDestroy(pool));
  MUST(cuDeviceGetMemPool(&current, 0));
  check(current == standard, "a destroyed pool is the device's no longer");
  check(cuMemAllocFromPoolAsync(&p[0], 16, pool, s.a) == 1, "nor anybody's");
  MUST(cuMemsetD32Async(more, 1, 1250, s.a));
  MUST(cuMemFreeAsync(more, s.a));
  MUST(cuStreamSynchronize(s.a));
  check(true, "what it gave lives until it is freed");
  Properties wrong;
  wrong.locationId = 1;
  check(cuMemPoolCreate(&pool, &wrong) == 101 && cuMemPoolCreate(&pool, nullptr) == 1,
        "properties that no pool has");
}

void pinned() {
  Streams s;
  Device<float> x(ramp(64));
  std::vector<float> host(1024, 5.0f);
  MUST(cuMemHostRegister_v2(host.data() + 256, 64, 0));
  check(cuMemHostRegister_v2(host.data(), 4096, 0) == 712, "memory of which a part is registered");
  MUST(cuMemHostUnregister(host.data() + 256));
  MUST(cuMemHostRegister_v2(host.data(), 4096, 0));
  check(cuMemHostRegister_v2(host.data() + 16, 64, 0) == 712, "memory registered twice");
  MUST(cuMemcpyHtoDAsync_v2(x.p, host.data(), 256, s.a));
  host[0] = 6;
  MUST(cuStreamSynchronize(s.a));
  check(x.get()[0] == 6, "registered memory is read when the copy's turn comes");
  MUST(cuMemcpyDtoHAsync_v2(host.data(), x.p, 256, s.a));
  host[1] = 99;
  MUST(cuStreamSynchronize(s.a));
  check(host[1] == 5, "and written then");
  Ptr device;
  MUST(cuMemHostGetDevicePointer_v2(&device, host.data() + 4, 0));
  MUST(launchOn(s.a, fn("write_at"), 1, 1, 0, device, 3));
  MUST(cuStreamSynchronize(s.a));
  check(host[7] == 1, "a kernel writes to registered memory");
  MUST(cuMemHostUnregister(host.data()));
  check(cuMemHostUnregister(host.data()) == 713, "memory not registered");
  check(cuMemHostGetDevicePointer_v2(&device, host.data(), 0) == 1, "no device address then");
  void* locked;
  size_t free, freeThen, total;
  MUST(cuMemGetInfo_v2(&free, &total));
  MUST(cuMemHostAlloc(&locked, 1 << 20, 0));
  check(cuMemHostRegister_v2(locked, 4096, 0) == 712, "page-locked memory registered");
  MUST(cuMemGetInfo_v2(&freeThen, &total));
  check(free == freeThen, "page-locked memory is not the device's");
  check(cuMemFree_v2(reinterpret_cast<Ptr>(locked)) == 1 && cuMemFreeHost(host.data()) == 1,
        "freed as what it is not");
  MUST(cuMemFreeHost(locked));
}

int hostCalls;
void onHost(void* p) { hostCalls += *static_cast<int*>(p); }

void captured() {
  Streams s;
  Device<float> x(ramp(64)), y(64);
  Gr g;
  Ex ex;
  float* locked;
  int five = 5;
  MUST(cuMemHostAlloc(reinterpret_cast<void**>(&locked), 256, 0));
  MUST(cuEventRecord(s.e, s.a));
  MUST(cuStreamBeginCapture_v2(s.a, 1));
  MUST(cuEventRecord(s.e, s.a));
  MUST(cuStreamWaitEvent(s.b, s.e, 0));
  MUST(cuMemcpyHtoDAsync_v2(x.p, locked, 256, s.b));
  MUST(cuMemsetD32Async(y.p, 0, 64, s.a));
  MUST(cuEventRecord(s.e, s.b));
  MUST(cuStreamWaitEvent(s.a, s.e, 0));
  MUST(launchOn(s.a, fn("add_one"), 1, 64, 0, x.p, y.p, 64));
  MUST(cuMemcpyDtoHAsync_v2(locked, y.p, 256, s.a));
  MUST(cuLaunchHostFunc(s.a, onHost, &five));
  MUST(cuStreamEndCapture(s.a, &g));
  void* nodes[8];
  size_t count = 8;
  MUST(cuGraphGetNodes(g, nodes, &count));
  int seen[8] = {};
  for (size_t i = 0; i < count; ++i) {
    int type = 0;
    MUST(cuGraphNodeGetType(nodes[i], &type));
    if (type >= 0 && type < 8) ++seen[type];
  }
  check(count == 5 && seen[0] == 1 && seen[1] == 2 && seen[2] == 1 && seen[3] == 1,
        "kernel, copies, fill and host function as nodes");
  check(cuEventQuery(s.e) == 907 && cuEventSynchronize(s.e) == 907 &&
            cuStreamWaitEvent(s.b, s.e, 0) == 907,
        "an event of a capture is no point in time");
  MUST(cuGraphInstantiateWithFlags(&ex, g, 0));
  for (int i = 0; i < 64; ++i) locked[i] = float(i);
  hostCalls = 0;
  for (int i = 0; i < 3; ++i) MUST(cuGraphLaunch(ex, s.b));
  MUST(cuStreamSynchronize(s.b));
  check(locked[9] == 12 && hostCalls == 15, "replayed three times");
  MUST(cuGraphExecDestroy(ex));
  MUST(cuGraphDestroy(g));
  MUST(cuMemFreeHost(locked));
}

void sharedLimits() {
  Fn f = fn("dynamic_past");
  Device<float> x(8);
  void* p[] = {&x.p, nullptr};
  int at = 0;
  p[1] = &at;
  MUST(cuFuncSetAttribute(f, 8, 49152));
  auto go = [&](unsigned bytes) {
    return cuLaunchKernel(f, 1, 1, 1, 1, 1, 1, bytes, nullptr, p, nullptr);
  };
  check(go(49152) == 0 && go(49153) == 1, "48 KiB of dynamic shared memory unless more is asked for");
  MUST(cuFuncSetAttribute(f, 8, 232448));
  check(go(232448) == 0 && go(232449) == 1 && cuFuncSetAttribute(f, 8, 232449) == 1, "227 KiB then");
  int bytes = 0;
  MUST(cuFuncGetAttribute(&bytes, 8, f));
  check(bytes == 232448, "the attribute reads back");
  MUST(cuFuncSetAttribute(f, 8, 49152));
  MUST(cuCtxSynchronize());
  faults("static and dynamic arrays of more than 48 KiB", run("shared_both", 1, 1, x.p), 719,
         {"bytes of shared arrays in a block", "49152 is the most"});
  int blocks = 0;
  MUST(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, f, 256, 100 << 10));
  check(blocks == 2, "blocks a multiprocessor by shared memory");
  MUST(cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, f, 1024, 0));
  check(blocks == 2, "and by threads");
}

}  // namespace

void pools() {
  order();
  accounts();
  pinned();
  captured();
  sharedLimits();
}
