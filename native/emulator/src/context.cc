// context.cc - initialisation, the device, contexts.
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "driver.h"
#include "faults.h"
#include "memory.h"
#include "pools.h"

namespace gatun {

Driver& driver() {
  static Driver* d = new Driver();  // outlives exit(): other threads may still be in a call
  return *d;
}

namespace {

// Little: the library's thread-local storage is static (faults.cc), and a JVM has few bytes of that left.
constexpr int kDepth = 8;
thread_local Context* stack[kDepth];
thread_local int depth = 0;

bool parseOrder(const char* text) {
  unsigned long long seed = 0;
  if (strcmp(text, "fifo") == 0) {
    setOrder(Order::kFifo, 0);
  } else if (strcmp(text, "lifo") == 0) {
    setOrder(Order::kLifo, 0);
  } else if (sscanf(text, "shuffle:%llu", &seed) == 1) {
    setOrder(Order::kShuffle, seed);
  } else {
    fprintf(stderr, "gatun emulator: GATUN_EMU_ORDER=%s is not fifo, lifo or shuffle:SEED\n", text);
    return false;
  }
  return true;
}

}  // namespace

long threadId() { return syscall(SYS_gettid); }

Entry::Entry(Need need) : lock_(driver().mutex) {
  if (!driver().initialized) {
    error = CUDA_ERROR_NOT_INITIALIZED;
    return;
  }
  if (need == kInit) return;
  context = currentContext();
  if (context == nullptr) {
    error = CUDA_ERROR_INVALID_CONTEXT;
  } else if (context->destroyed) {
    error = CUDA_ERROR_CONTEXT_IS_DESTROYED;
  } else if (context->sticky != 0 && need != kAnyContext) {
    error = context->sticky;
  }
}

Context* currentContext() { return depth > 0 ? stack[depth - 1] : nullptr; }

void setCurrentContext(Context* c) {
  if (depth == 0) depth = 1;
  stack[depth - 1] = c;
}

Context* newContext(bool primary, unsigned flags) {
  Driver& d = driver();
  auto* c = new Context();  // never freed: a thread may still hold it as current
  c->primary = primary;
  c->flags = flags;
  c->id = ++d.ids;
  c->legacy = std::make_shared<Stream>();
  c->legacy->context = c;
  c->streams.push_back(c->legacy);
  d.contexts.push_back(c);
  return c;
}

void destroyContext(Context* c) {
  if (c->destroyed) return;
  drainAll(c);
  Driver& d = driver();
  c->destroyed = true;
  for (auto& s : c->streams) {
    if (s->capture) d.captures.erase(s->capture.get());
    s->capture.reset();
    s->queue.clear();
    s->pending.clear();
    d.streams.erase(s.get());
  }
  c->streams.clear();
  for (const auto& m : c->modules) {
    for (auto& f : m->functions) d.handles.erase(f.second);
    d.modules.erase(m.get());
  }
  c->modules.clear();
  unregisterAll(c);
  releaseAll(c, [](const Allocation& a) {
    if (a.pool != nullptr && !a.retired) leavePool(a);
  });
  for (size_t i = 0; i < d.contexts.size(); ++i) {
    if (d.contexts[i] == c) {
      d.contexts.erase(d.contexts.begin() + long(i));
      break;
    }
  }
}

}  // namespace gatun

using namespace gatun;

GATUN_API int cuInit(unsigned flags) {
  std::unique_lock<std::recursive_mutex> lock(driver().mutex);
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (driver().initialized) return 0;
  installHandlers();
  if (const char* order = getenv("GATUN_EMU_ORDER")) {
    if (!parseOrder(order)) return CUDA_ERROR_INVALID_VALUE;
  }
  driver().initialized = true;
  return 0;
}

GATUN_API int cuDriverGetVersion(int* version) {
  if (version == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *version = 13000;
  return 0;
}

/* ---- the device ---- */

GATUN_API int cuDeviceGetCount(int* count) {
  GATUN_ENTER(Entry::kInit);
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *count = 1;
  return 0;
}

GATUN_API int cuDeviceGet(int* device, int ordinal) {
  GATUN_ENTER(Entry::kInit);
  if (device == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (ordinal != 0) return CUDA_ERROR_INVALID_DEVICE;
  *device = 0;
  return 0;
}

GATUN_API int cuDeviceGetName(char* name, int length, int device) {
  GATUN_ENTER(Entry::kInit);
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (name == nullptr || length <= 0) return CUDA_ERROR_INVALID_VALUE;
  snprintf(name, size_t(length), "Gatun emulated device");
  return 0;
}

GATUN_API int cuDeviceGetUuid_v2(unsigned char* uuid, int device) {
  GATUN_ENTER(Entry::kInit);
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  memcpy(uuid, "GatunEmulatedDev", 16);
  return 0;
}
GATUN_API int cuDeviceGetUuid(unsigned char* uuid, int device) {
  return cuDeviceGetUuid_v2(uuid, device);
}

GATUN_API int cuDeviceGetPCIBusId(char* id, int length, int device) {
  GATUN_ENTER(Entry::kInit);
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (id == nullptr || length < 13) return CUDA_ERROR_INVALID_VALUE;
  snprintf(id, size_t(length), "0000:00:00.0");
  return 0;
}

GATUN_API int cuDeviceTotalMem_v2(size_t* bytes, int device) {
  GATUN_ENTER(Entry::kInit);
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  *bytes = totalBytes();
  return 0;
}

GATUN_API int cuDeviceComputeCapability(int* major, int* minor, int device) {
  GATUN_ENTER(Entry::kInit);
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  *major = 9;
  *minor = 0;
  return 0;
}

GATUN_API int cuDeviceGetAttribute(int* value, int attribute, int device) {
  GATUN_ENTER(Entry::kInit);
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (value == nullptr || attribute < 1 || attribute > 150) return CUDA_ERROR_INVALID_VALUE;
  // CUdevice_attribute; what is not here is 0: absent or unsupported.
  switch (attribute) {
    case 1: *value = 1024; break;         // threads a block
    case 2: *value = 1024; break;         // block x
    case 3: *value = 1024; break;         // block y
    case 4: *value = 64; break;           // block z
    case 5: *value = 2147483647; break;   // grid x
    case 6: *value = 65535; break;        // grid y
    case 7: *value = 65535; break;        // grid z
    case 8: *value = 49152; break;        // shared memory a block
    case 9: *value = 65536; break;        // constant memory
    case 10: *value = 32; break;          // warp
    case 11: *value = 2147483647; break;  // pitch
    case 12: *value = 65536; break;       // registers a block
    case 13: *value = 1000000; break;     // clock, kHz
    case 14: *value = 512; break;         // texture alignment
    case 15: *value = 1; break;           // copies overlap kernels
    case 16: *value = 132; break;         // multiprocessors
    case 19: *value = 1; break;           // maps host memory
    case 31: *value = 1; break;           // concurrent kernels
    case 36: *value = 1000000; break;     // memory clock, kHz
    case 37: *value = 5120; break;        // memory bus, bits
    case 38: *value = 52428800; break;    // L2
    case 39: *value = 2048; break;        // threads a multiprocessor
    case 40: *value = 1; break;           // copy engines
    case 41: *value = 1; break;           // unified addressing
    case 75: *value = 9; break;           // compute capability
    case 76: *value = 0; break;
    case 78: *value = 1; break;           // stream priorities
    case 81: *value = 233472; break;      // shared memory a multiprocessor
    case 82: *value = 65536; break;       // registers a multiprocessor
    case 95: *value = 1; break;           // cooperative launch
    case 97: *value = 232448; break;      // shared memory a block, opt-in
    case 106: *value = 32; break;         // blocks a multiprocessor
    case 111: *value = 1024; break;       // shared memory the driver keeps
    case 115: *value = 1; break;          // memory pools
    case 120: *value = 1; break;          // clusters
    default: *value = 0;
  }
  return 0;
}

GATUN_API int cuDeviceCanAccessPeer(int* can, int, int) {
  GATUN_ENTER(Entry::kInit);
  *can = 0;
  return 0;
}

/* ---- contexts ---- */

GATUN_API int cuDevicePrimaryCtxRetain(Context** context, int device) {
  GATUN_ENTER(Entry::kInit);
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (context == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Driver& d = driver();
  if (d.primary == nullptr) d.primary = newContext(true, 0);
  ++d.primaryRetained;
  *context = d.primary;
  return 0;
}

GATUN_API int cuDevicePrimaryCtxReset_v2(int device) {
  GATUN_ENTER(Entry::kInit);
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  Driver& d = driver();
  if (d.primary != nullptr) {
    destroyContext(d.primary);
    // The handle stays the same, as on a real device: the retainers hold it.
    Context* c = d.primary;
    c->destroyed = false;
    c->sticky = 0;
    c->legacy = std::make_shared<Stream>();
    c->legacy->context = c;
    c->streams.push_back(c->legacy);
    d.contexts.push_back(c);
  }
  return 0;
}

GATUN_API int cuDevicePrimaryCtxRelease_v2(int device) {
  GATUN_ENTER(Entry::kInit);
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  Driver& d = driver();
  if (d.primaryRetained == 0) return CUDA_ERROR_INVALID_CONTEXT;
  if (--d.primaryRetained == 0) {
    destroyContext(d.primary);
    d.primary = nullptr;
  }
  return 0;
}

GATUN_API int cuDevicePrimaryCtxGetState(int device, unsigned* flags, int* active) {
  GATUN_ENTER(Entry::kInit);
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (flags) *flags = 0;
  if (active) *active = driver().primary != nullptr;
  return 0;
}

GATUN_API int cuDevicePrimaryCtxSetFlags_v2(int device, unsigned) {
  GATUN_ENTER(Entry::kInit);
  return device == 0 ? 0 : CUDA_ERROR_INVALID_DEVICE;
}

GATUN_API int cuCtxCreate_v2(Context** context, unsigned flags, int device) {
  GATUN_ENTER(Entry::kInit);
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (context == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (depth == kDepth) return CUDA_ERROR_INVALID_VALUE;
  *context = newContext(false, flags);
  stack[depth++] = *context;
  return 0;
}
GATUN_API int cuCtxCreate_v4(Context** context, void*, unsigned flags, int device) {
  return cuCtxCreate_v2(context, flags, device);
}

GATUN_API int cuCtxDestroy_v2(Context* context) {
  GATUN_ENTER(Entry::kInit);
  if (context == nullptr || context->primary) return CUDA_ERROR_INVALID_CONTEXT;
  if (context->destroyed) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  destroyContext(context);
  if (currentContext() == context) --depth;
  return 0;
}

GATUN_API int cuCtxSetCurrent(Context* context) {
  GATUN_ENTER(Entry::kInit);
  if (context == nullptr) {
    if (depth > 0) --depth;
    return 0;
  }
  if (context->destroyed) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  setCurrentContext(context);
  return 0;
}

GATUN_API int cuCtxGetCurrent(Context** context) {
  GATUN_ENTER(Entry::kInit);
  *context = currentContext();
  return 0;
}

GATUN_API int cuCtxPushCurrent_v2(Context* context) {
  GATUN_ENTER(Entry::kInit);
  if (context == nullptr || context->destroyed || depth == kDepth) {
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  stack[depth++] = context;
  return 0;
}

GATUN_API int cuCtxPopCurrent_v2(Context** context) {
  GATUN_ENTER(Entry::kInit);
  if (depth == 0) return CUDA_ERROR_INVALID_CONTEXT;
  Context* c = stack[--depth];
  if (context) *context = c;
  return 0;
}

GATUN_API int cuCtxGetDevice(int* device) {
  GATUN_ENTER(Entry::kAnyContext);
  *device = 0;
  return 0;
}

GATUN_API int cuCtxGetFlags(unsigned* flags) {
  GATUN_ENTER(Entry::kAnyContext);
  *flags = in.context->flags;
  return 0;
}

GATUN_API int cuCtxGetId(Context* context, unsigned long long* id) {
  GATUN_ENTER(Entry::kAnyContext);
  *id = (context ? context : in.context)->id;
  return 0;
}

GATUN_API int cuCtxGetApiVersion(Context*, unsigned* version) {
  GATUN_ENTER(Entry::kInit);
  *version = 3020;
  return 0;
}

GATUN_API int cuCtxSynchronize() {
  GATUN_ENTER();
  if (int e = captureForbids(in.context, nullptr)) return e;
  int e = drainAll(in.context);
  trimPools();
  return e;
}

GATUN_API int cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  GATUN_ENTER();
  if (least) *least = 0;
  if (greatest) *greatest = -5;
  return 0;
}

GATUN_API int cuCtxGetLimit(size_t* value, int limit) {
  GATUN_ENTER();
  // Stack size, printf buffer, heap.
  const size_t values[] = {65536, 1048576, 8388608};
  if (value == nullptr || limit < 0 || limit > 2) return CUDA_ERROR_INVALID_VALUE;
  *value = values[limit];
  return 0;
}

GATUN_API int cuCtxSetLimit(int, size_t) {
  GATUN_ENTER();
  return 0;
}

GATUN_API int cuCtxSetCacheConfig(int) {
  GATUN_ENTER();
  return 0;
}

GATUN_API int cuCtxGetCacheConfig(int* config) {
  GATUN_ENTER();
  *config = 0;
  return 0;
}

/* ---- ours: what tests say to the emulator ---- */

GATUN_API int gatunEmuSetOrder(int order, unsigned long long seed) {
  std::unique_lock<std::recursive_mutex> lock(driver().mutex);
  if (order < 0 || order > 2) return CUDA_ERROR_INVALID_VALUE;
  setOrder(Order(order), seed);
  return 0;
}

GATUN_API const char* gatunEmuLastFault() {
  static char texts[64][2048];  // valid until 64 further calls
  static unsigned next = 0;
  std::unique_lock<std::recursive_mutex> lock(driver().mutex);
  char* text = texts[next++ % 64];
  snprintf(text, sizeof texts[0], "%s", driver().lastFault.c_str());
  return text;
}

GATUN_API int gatunEmuClearFault() {
  std::unique_lock<std::recursive_mutex> lock(driver().mutex);
  for (Context* c : driver().contexts) c->sticky = 0;
  driver().lastFault.clear();
  return 0;
}

GATUN_API int gatunEmuSetWatchdogMillis(long long millis) {
  setWatchdogMillis(millis < 0 ? 0 : millis);
  return 0;
}
