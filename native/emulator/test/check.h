// check.h - what the emulator's tests share: the driver API as they call it, and checks.
#ifndef GATUN_EMULATOR_TEST_CHECK_H_
#define GATUN_EMULATOR_TEST_CHECK_H_

#include <sys/time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

struct Config;
extern "C" {
typedef unsigned long long Ptr;
typedef void *Ctx, *Mod, *Fn, *Str, *Ev, *Gr, *Ex, *Pool;
int cuInit(unsigned);
int cuDriverGetVersion(int*);
int cuDeviceGetCount(int*);
int cuDeviceGetName(char*, int, int);
int cuDeviceGetAttribute(int*, int, int);
int cuDevicePrimaryCtxRetain(Ctx*, int);
int cuDevicePrimaryCtxReset_v2(int);
int cuCtxSetCurrent(Ctx);
int cuCtxCreate_v2(Ctx*, unsigned, int);
int cuCtxDestroy_v2(Ctx);
int cuCtxSynchronize();
int cuMemAlloc_v2(Ptr*, size_t);
int cuMemFree_v2(Ptr);
int cuMemGetInfo_v2(size_t*, size_t*);
int cuMemAllocAsync(Ptr*, size_t, Str);
int cuMemFreeAsync(Ptr, Str);
int cuMemAllocFromPoolAsync(Ptr*, size_t, Pool, Str);
int cuMemPoolCreate(Pool*, const void*);
int cuMemPoolDestroy(Pool);
int cuMemPoolTrimTo(Pool, size_t);
int cuMemPoolSetAttribute(Pool, int, void*);
int cuMemPoolGetAttribute(Pool, int, void*);
int cuDeviceGetDefaultMemPool(Pool*, int);
int cuDeviceGetMemPool(Pool*, int);
int cuDeviceSetMemPool(int, Pool);
int cuMemHostRegister_v2(void*, size_t, unsigned);
int cuMemHostUnregister(void*);
int cuMemHostGetDevicePointer_v2(Ptr*, void*, unsigned);
int cuLaunchHostFunc(Str, void (*)(void*), void*);
int cuGraphNodeGetType(void*, int*);
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int*, Fn, int, size_t);
int cuMemHostAlloc(void**, size_t, unsigned);
int cuMemFreeHost(void*);
int cuMemcpyHtoD_v2(Ptr, const void*, size_t);
int cuMemcpyDtoH_v2(void*, Ptr, size_t);
int cuMemcpyDtoD_v2(Ptr, Ptr, size_t);
int cuMemcpyHtoDAsync_v2(Ptr, const void*, size_t, Str);
int cuMemcpyDtoHAsync_v2(void*, Ptr, size_t, Str);
int cuMemsetD8_v2(Ptr, unsigned char, size_t);
int cuMemsetD32_v2(Ptr, unsigned, size_t);
int cuMemsetD32Async(Ptr, unsigned, size_t, Str);
int cuModuleLoadData(Mod*, const void*);
int cuModuleUnload(Mod);
int cuModuleGetFunction(Fn*, Mod, const char*);
int cuFuncGetAttribute(int*, int, Fn);
int cuFuncSetAttribute(Fn, int, int);
int cuLaunchKernel(Fn, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Str,
                   void**, void**);
int cuLaunchKernelEx(const Config*, Fn, void**, void**);
int cuOccupancyMaxActiveClusters(int*, Fn, const Config*);
int cuLaunchCooperativeKernel(Fn, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,
                              unsigned, Str, void**);
int cuStreamCreate(Str*, unsigned);
int cuStreamDestroy_v2(Str);
int cuStreamSynchronize(Str);
int cuStreamQuery(Str);
int cuStreamWaitEvent(Str, Ev, unsigned);
int cuEventCreate(Ev*, unsigned);
int cuEventDestroy_v2(Ev);
int cuEventRecord(Ev, Str);
int cuEventSynchronize(Ev);
int cuEventQuery(Ev);
int cuEventElapsedTime(float*, Ev, Ev);
int cuStreamBeginCapture_v2(Str, int);
int cuStreamEndCapture(Str, Gr*);
int cuStreamIsCapturing(Str, int*);
int cuGraphInstantiateWithFlags(Ex*, Gr, unsigned long long);
int cuGraphLaunch(Ex, Str);
int cuGraphDestroy(Gr);
int cuGraphExecDestroy(Ex);
int cuGraphGetNodes(Gr, void**, size_t*);
int cuGetErrorName(int, const char**);
int cuGetErrorString(int, const char**);
int cuGetProcAddress_v2(const char*, void**, int, unsigned long long, int*);
int gatunEmuSetOrder(int, unsigned long long);
const char* gatunEmuLastFault();
int gatunEmuClearFault();
int gatunEmuSetWatchdogMillis(long long);
}

/* CUlaunchAttribute and CUlaunchConfig. */
struct Attribute {
  int id;  // 2 cooperative, 4 cluster dimension
  int pad;
  union {
    char bytes[64];
    int cooperative;
    unsigned cluster[3];
  } value;
};
struct Config {
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, shared;
  Str stream;
  Attribute* attributes;
  unsigned count;
};

inline int failed = 0, passed = 0;
inline std::string label;         // the order that the checks run in
inline std::vector<Mod> modules;  // fn() looks in all of them

inline void check(bool ok, const char* what, const std::string& seen = "") {
  (ok ? passed : failed)++;
  printf("%s %s%s%s%s\n", ok ? "ok  " : "FAIL", label.c_str(), what, seen.empty() ? "" : " : ",
         seen.c_str());
}

inline void must(int result, const char* what) {
  if (result == 0) return;
  const char* name = nullptr;
  cuGetErrorName(result, &name);
  printf("FAIL %s%s returned %d %s %s\n", label.c_str(), what, result, name ? name : "?",
         gatunEmuLastFault());
  exit(1);
}
#define MUST(call) must(call, #call)

inline double seconds() {
  timeval t;
  gettimeofday(&t, nullptr);
  return double(t.tv_sec) + double(t.tv_usec) * 1e-6;
}

inline Fn fn(const char* name) {
  Fn f;
  for (Mod m : modules) {
    if (cuModuleGetFunction(&f, m, name) == 0) return f;
  }
  must(500, name);
  return nullptr;
}

template <class... A>
int launchOn(Str stream, Fn f, unsigned grid, unsigned block, unsigned shared, A... arguments) {
  void* p[] = {static_cast<void*>(&arguments)..., nullptr};
  return cuLaunchKernel(f, grid, 1, 1, block, 1, 1, shared, stream, p, nullptr);
}
template <class... A>
int run(const char* name, unsigned grid, unsigned block, A... arguments) {
  if (int e = launchOn(nullptr, fn(name), grid, block, 0, arguments...)) return e;
  return cuCtxSynchronize();
}

/** A fault of that code, whose text holds each part; the fault is cleared. */
inline void faults(const char* what, int result, int code, std::vector<const char*> parts) {
  std::string text = gatunEmuLastFault();
  bool ok = result == code;
  for (const char* part : parts) ok = ok && text.find(part) != std::string::npos;
  bool sticky = cuCtxSynchronize() == code;
  check(ok && sticky, what, "error " + std::to_string(result) + ", " + text);
  gatunEmuClearFault();
}

template <class T>
struct Device {
  Ptr p = 0;
  size_t n;
  explicit Device(size_t n_) : n(n_) { MUST(cuMemAlloc_v2(&p, n * sizeof(T))); }
  Device(const std::vector<T>& v) : Device(v.size()) {
    MUST(cuMemcpyHtoD_v2(p, v.data(), n * sizeof(T)));
  }
  ~Device() { cuMemFree_v2(p); }
  std::vector<T> get() const {
    std::vector<T> v(n);
    MUST(cuMemcpyDtoH_v2(v.data(), p, n * sizeof(T)));
    return v;
  }
};

inline std::vector<float> ramp(size_t n) {
  std::vector<float> v(n);
  for (size_t i = 0; i < n; ++i) v[i] = float(i);
  return v;
}

/* Each runs once an order. */
void tiles();
void clusters();
void pools();
/* And once, at the end. */
void tileTimings();
void clusterPlants();

#endif
