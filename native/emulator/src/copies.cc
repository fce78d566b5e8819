// copies.cc - allocation, copies, fills.
#include <cstdio>
#include <cstring>

#include "driver.h"
#include "memory.h"
#include "pools.h"

using namespace gatun;

namespace {

using DevicePtr = unsigned long long;

void* at(DevicePtr p) { return reinterpret_cast<void*>(uintptr_t(p)); }

/** A copy of rows; each side is a pitch and a device or host address. */
struct Copy {
  char* to;
  const char* from;
  size_t row, rows, toPitch, fromPitch;
  void run() const {
    for (size_t i = 0; i < rows; ++i) memmove(to + i * toPitch, from + i * fromPitch, row);
  }
  size_t toSpan() const { return rows == 0 ? 0 : (rows - 1) * toPitch + row; }
  size_t fromSpan() const { return rows == 0 ? 0 : (rows - 1) * fromPitch + row; }
};

enum Side { kHost, kDevice, kEither };

/** Device memory, or host memory that the device reaches. */
bool onDevice(const void* p, size_t bytes) {
  auto address = reinterpret_cast<uintptr_t>(p);
  return find(address, bytes) != nullptr || isPinned(address, bytes);
}

bool lives(const void* p, size_t bytes) {
  auto address = reinterpret_cast<uintptr_t>(p);
  const Allocation* a = find(address, bytes);
  return a != nullptr ? a->live : isPinned(address, bytes);
}

Fault runChecked(const Copy& copy, bool toDevice, bool fromDevice) {
  // Freed between the call and its turn, or not there yet?
  bool badTo = toDevice && !lives(copy.to, copy.toSpan());
  if (badTo || (fromDevice && !lives(copy.from, copy.fromSpan()))) {
    const void* bad = badTo ? copy.to : copy.from;
    return {CUDA_ERROR_ILLEGAL_ADDRESS,
            "a copy uses " + describeAddress(reinterpret_cast<uintptr_t>(bad))};
  }
  copy.run();
  return {};
}

int copyAny(Context* c, const std::shared_ptr<Stream>& s, Copy copy, Side to, Side from, bool wait) {
  size_t bytes = copy.row * copy.rows;
  if (bytes == 0) return 0;
  if (copy.to == nullptr || copy.from == nullptr) return CUDA_ERROR_INVALID_VALUE;
  bool toDevice = onDevice(copy.to, copy.toSpan());
  bool fromDevice = onDevice(copy.from, copy.fromSpan());
  // A host pointer where a device one belongs, or an allocation too short.
  if ((to == kDevice && !toDevice) || (from == kDevice && !fromDevice)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (wait) {
    if (int e = captureForbids(c, s.get())) return e;
  }
  bool pageableFrom = !fromDevice;
  bool pageableTo = !toDevice;
  Work work;
  work.type = WorkType::kMemcpy;
  if (pageableFrom && !s->capture && !wait) {
    // As the driver does: pageable memory is staged before the call returns.
    auto staged = std::make_shared<std::vector<char>>(bytes);
    for (size_t i = 0; i < copy.rows; ++i) {
      memcpy(staged->data() + i * copy.row, copy.from + i * copy.fromPitch, copy.row);
    }
    copy.from = staged->data();
    copy.fromPitch = copy.row;
    work.run = [copy, staged, toDevice] { return runChecked(copy, toDevice, false); };
  } else {
    work.run = [copy, toDevice, fromDevice] { return runChecked(copy, toDevice, fromDevice); };
  }
  bool captured = s->capture != nullptr;
  if (int e = enqueue(s, std::move(work))) return e;
  return (wait || pageableTo) && !captured ? drain(s.get(), s->queuedLast) : 0;
}

Copy flat(void* to, const void* from, size_t bytes) {
  return {static_cast<char*>(to), static_cast<const char*>(from), bytes, 1, bytes, bytes};
}

template <class T>
int fill(Context* c, const std::shared_ptr<Stream>& s, DevicePtr to, size_t pitch, T value,
         size_t width, size_t height, bool wait) {
  if (width == 0 || height == 0) return 0;
  if (to % sizeof(T) != 0) return CUDA_ERROR_INVALID_VALUE;
  size_t span = (height - 1) * pitch + width * sizeof(T);
  if (!onDevice(at(to), span)) return CUDA_ERROR_INVALID_VALUE;
  if (wait) {
    if (int e = captureForbids(c, s.get())) return e;
  }
  Work work;
  work.type = WorkType::kMemset;
  work.run = [=]() -> Fault {
    if (!lives(at(to), span)) {
      return {CUDA_ERROR_ILLEGAL_ADDRESS, "a fill uses " + describeAddress(uintptr_t(to))};
    }
    for (size_t i = 0; i < height; ++i) {
      T* row = static_cast<T*>(at(to + i * pitch));
      for (size_t j = 0; j < width; ++j) row[j] = value;
    }
    return {};
  };
  if (int e = enqueue(s, std::move(work))) return e;
  return wait ? drain(s.get(), s->queuedLast) : 0;
}

#define GATUN_STREAM(handle)                                \
  std::shared_ptr<Stream> s = streamOf(in.context, handle); \
  if (!s) return CUDA_ERROR_INVALID_HANDLE

int memoryFree(Context* c, DevicePtr p) {
  std::string complaint;
  if (!release(uintptr_t(p), &complaint)) return CUDA_ERROR_INVALID_VALUE;
  if (!complaint.empty()) {
    noteFault(c, {CUDA_ERROR_ILLEGAL_ADDRESS, complaint});
    return c->sticky;
  }
  return 0;
}

}  // namespace

/* ---- allocation ---- */

GATUN_API int cuMemAlloc_v2(DevicePtr* p, size_t bytes) {
  GATUN_ENTER();
  if (p == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (int e = captureForbids(in.context, nullptr)) return e;
  makeRoom(bytes);
  uintptr_t begin = allocate(in.context, bytes, false);
  if (begin == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  *p = begin;
  return 0;
}

GATUN_API int cuMemAllocPitch_v2(DevicePtr* p, size_t* pitch, size_t width, size_t height,
                                 unsigned) {
  *pitch = (width + 511) / 512 * 512;
  return cuMemAlloc_v2(p, *pitch * height);
}

GATUN_API int cuMemAllocManaged(DevicePtr* p, size_t bytes, unsigned) {
  return cuMemAlloc_v2(p, bytes);
}

GATUN_API int cuMemFree_v2(DevicePtr p) {
  GATUN_ENTER();
  if (p == 0) return 0;
  if (int e = captureForbids(in.context, nullptr)) return e;
  const Allocation* a = find(uintptr_t(p), 1);
  if (a == nullptr || a->begin != p || a->host || a->retired) return CUDA_ERROR_INVALID_VALUE;
  if (int e = drainAll(in.context)) return e;
  if (a->pool != nullptr) leavePool(*a);
  return memoryFree(in.context, p);
}

GATUN_API int cuMemGetInfo_v2(size_t* free, size_t* total) {
  GATUN_ENTER();
  if (free) *free = totalBytes() - usedBytes() - keptByPools();
  if (total) *total = totalBytes();
  return 0;
}

GATUN_API int cuMemGetAddressRange_v2(DevicePtr* base, size_t* bytes, DevicePtr p) {
  GATUN_ENTER();
  const Allocation* a = find(uintptr_t(p), 1);
  if (a == nullptr) return CUDA_ERROR_NOT_FOUND;
  if (base) *base = a->begin;
  if (bytes) *bytes = a->bytes;
  return 0;
}

GATUN_API int cuMemHostAlloc(void** p, size_t bytes, unsigned) {
  GATUN_ENTER();
  if (p == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  uintptr_t begin = allocate(in.context, bytes, true);
  if (begin == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  *p = reinterpret_cast<void*>(begin);
  return 0;
}
GATUN_API int cuMemAllocHost_v2(void** p, size_t bytes) { return cuMemHostAlloc(p, bytes, 0); }

GATUN_API int cuMemFreeHost(void* p) {
  GATUN_ENTER();
  const Allocation* a = find(reinterpret_cast<uintptr_t>(p), 1);
  if (a == nullptr || !a->host || a->begin != reinterpret_cast<uintptr_t>(p)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (int e = drainAll(in.context)) return e;
  return memoryFree(in.context, DevicePtr(reinterpret_cast<uintptr_t>(p)));
}

GATUN_API int cuMemHostGetDevicePointer_v2(DevicePtr* p, void* host, unsigned) {
  GATUN_ENTER();
  if (p == nullptr || !isPinned(reinterpret_cast<uintptr_t>(host), 1)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *p = DevicePtr(reinterpret_cast<uintptr_t>(host));
  return 0;
}

GATUN_API int cuMemHostGetFlags(unsigned* flags, void* p) {
  GATUN_ENTER();
  if (flags == nullptr || !isPinned(reinterpret_cast<uintptr_t>(p), 1)) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  *flags = 2;
  return 0;
}

GATUN_API int cuMemHostRegister_v2(void* p, size_t bytes, unsigned) {
  GATUN_ENTER();
  if (p == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (isPinned(reinterpret_cast<uintptr_t>(p), 1) ||
      !registerHost(in.context, reinterpret_cast<uintptr_t>(p), bytes)) {
    return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  }
  return 0;
}

GATUN_API int cuMemHostUnregister(void* p) {
  GATUN_ENTER();
  if (int e = drainAll(in.context)) return e;
  return unregisterHost(reinterpret_cast<uintptr_t>(p)) ? 0
                                                        : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}

GATUN_API int cuPointerGetAttribute(void* value, int attribute, DevicePtr p) {
  GATUN_ENTER();
  const Allocation* a = find(uintptr_t(p), 1);
  if (a == nullptr) return CUDA_ERROR_INVALID_VALUE;
  switch (attribute) {
    case 1: *static_cast<Context**>(value) = a->context; return 0;
    case 2: *static_cast<unsigned*>(value) = a->host ? 1 : 2; return 0;
    case 3: *static_cast<DevicePtr*>(value) = p; return 0;
    case 4: *static_cast<void**>(value) = a->host ? at(p) : nullptr; return 0;
    case 9: *static_cast<int*>(value) = 0; return 0;
    case 11: *static_cast<DevicePtr*>(value) = a->begin; return 0;
    case 12: *static_cast<size_t*>(value) = a->bytes; return 0;
    default: return CUDA_ERROR_NOT_SUPPORTED;
  }
}

/* ---- copies ---- */

GATUN_API int cuMemcpyHtoD_v2(DevicePtr to, const void* from, size_t n) {
  GATUN_ENTER();
  return copyAny(in.context, in.context->legacy, flat(at(to), from, n), kDevice, kHost, true);
}
GATUN_API int cuMemcpyDtoH_v2(void* to, DevicePtr from, size_t n) {
  GATUN_ENTER();
  return copyAny(in.context, in.context->legacy, flat(to, at(from), n), kHost, kDevice, true);
}
GATUN_API int cuMemcpyDtoD_v2(DevicePtr to, DevicePtr from, size_t n) {
  GATUN_ENTER();
  return copyAny(in.context, in.context->legacy, flat(at(to), at(from), n), kDevice, kDevice, true);
}
GATUN_API int cuMemcpy(DevicePtr to, DevicePtr from, size_t n) {
  GATUN_ENTER();
  return copyAny(in.context, in.context->legacy, flat(at(to), at(from), n), kEither, kEither, true);
}
GATUN_API int cuMemcpyHtoDAsync_v2(DevicePtr to, const void* from, size_t n, Stream* stream) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  return copyAny(in.context, s, flat(at(to), from, n), kDevice, kHost, false);
}
GATUN_API int cuMemcpyDtoHAsync_v2(void* to, DevicePtr from, size_t n, Stream* stream) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  return copyAny(in.context, s, flat(to, at(from), n), kHost, kDevice, false);
}
GATUN_API int cuMemcpyDtoDAsync_v2(DevicePtr to, DevicePtr from, size_t n, Stream* stream) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  return copyAny(in.context, s, flat(at(to), at(from), n), kDevice, kDevice, false);
}
GATUN_API int cuMemcpyAsync(DevicePtr to, DevicePtr from, size_t n, Stream* stream) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  return copyAny(in.context, s, flat(at(to), at(from), n), kEither, kEither, false);
}

namespace {
// CUDA_MEMCPY2D; memory types: 1 host, 2 device, 3 array, 4 unified.
struct Memcpy2D {
  size_t srcX, srcY;
  int srcType;
  const void* srcHost;
  DevicePtr srcDevice;
  void* srcArray;
  size_t srcPitch;
  size_t dstX, dstY;
  int dstType;
  void* dstHost;
  DevicePtr dstDevice;
  void* dstArray;
  size_t dstPitch;
  size_t width, height;
};

int copy2D(Context* c, const std::shared_ptr<Stream>& s, const Memcpy2D* p, bool wait) {
  if (p == nullptr || p->srcType == 3 || p->dstType == 3) return CUDA_ERROR_NOT_SUPPORTED;
  size_t fromPitch = p->srcPitch ? p->srcPitch : p->width;
  size_t toPitch = p->dstPitch ? p->dstPitch : p->width;
  if (fromPitch < p->width || toPitch < p->width) return CUDA_ERROR_INVALID_VALUE;
  auto* from = static_cast<const char*>(p->srcType == 1 ? p->srcHost : at(p->srcDevice));
  auto* to = static_cast<char*>(p->dstType == 1 ? p->dstHost : at(p->dstDevice));
  Copy copy{to + p->dstY * toPitch + p->dstX, from + p->srcY * fromPitch + p->srcX, p->width,
            p->height, toPitch, fromPitch};
  auto side = [](int type) { return type == 1 ? kHost : type == 2 ? kDevice : kEither; };
  return copyAny(c, s, copy, side(p->dstType), side(p->srcType), wait);
}
}  // namespace

GATUN_API int cuMemcpy2D_v2(const Memcpy2D* p) {
  GATUN_ENTER();
  return copy2D(in.context, in.context->legacy, p, true);
}
GATUN_API int cuMemcpy2DUnaligned_v2(const Memcpy2D* p) { return cuMemcpy2D_v2(p); }
GATUN_API int cuMemcpy2DAsync_v2(const Memcpy2D* p, Stream* stream) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  return copy2D(in.context, s, p, false);
}

/* ---- fills ---- */

#define GATUN_FILL(BITS, T)                                                                     \
  GATUN_API int cuMemsetD##BITS##_v2(DevicePtr p, T value, size_t n) {                          \
    GATUN_ENTER();                                                                              \
    return fill<T>(in.context, in.context->legacy, p, 0, value, n, 1, true);                    \
  }                                                                                             \
  GATUN_API int cuMemsetD##BITS##Async(DevicePtr p, T value, size_t n, Stream* stream) {        \
    GATUN_ENTER();                                                                              \
    GATUN_STREAM(stream);                                                                       \
    return fill<T>(in.context, s, p, 0, value, n, 1, false);                                    \
  }                                                                                             \
  GATUN_API int cuMemsetD2D##BITS##_v2(DevicePtr p, size_t pitch, T value, size_t w, size_t h) { \
    GATUN_ENTER();                                                                              \
    return fill<T>(in.context, in.context->legacy, p, pitch, value, w, h, true);                \
  }                                                                                             \
  GATUN_API int cuMemsetD2D##BITS##Async(DevicePtr p, size_t pitch, T value, size_t w, size_t h, \
                                         Stream* stream) {                                      \
    GATUN_ENTER();                                                                              \
    GATUN_STREAM(stream);                                                                       \
    return fill<T>(in.context, s, p, pitch, value, w, h, false);                                \
  }
GATUN_FILL(8, unsigned char)
GATUN_FILL(16, unsigned short)
GATUN_FILL(32, unsigned)
