// pools.cc - stream-ordered allocation.
//
// An allocation has its address at once and its memory when its turn in the stream comes; a free takes
// the memory away when its turn comes. Addresses are not used again, so whoever is out of order meets
// a page that is not there. What a pool uses and reserves is counted in the order of the calls, as if
// memory freed were used again wherever a driver may do so.
#include "pools.h"

#include <algorithm>
#include <vector>

#include "driver.h"

namespace gatun {

struct Pool {
  uint64_t limit = 0;  // 0: none
  uint64_t releaseThreshold = 0;
  uint64_t used = 0, usedHigh = 0;
  uint64_t reserved = 0, reservedHigh = 0;
  bool destroyed = false;
  void keepAtMost(uint64_t bytes) { reserved = std::max(used, std::min(reserved, bytes)); }
};

namespace {

using DevicePtr = unsigned long long;

struct Pools {
  std::vector<Pool*> all;  // never freed: allocations and queued frees may still name one
  Pool* standard;
  Pool* current;
  Pools() : standard(new Pool()), current(standard) { all.push_back(standard); }
};
Pools& pools() {
  static Pools* p = new Pools();
  return *p;
}

bool known(const Pool* pool) {
  for (const Pool* p : pools().all) {
    if (p == pool) return !p->destroyed;
  }
  return false;
}

int allocateFrom(Context* c, Pool* pool, DevicePtr* p, size_t bytes, Stream* stream) {
  if (p == nullptr || bytes == 0 || !known(pool)) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Stream> s = streamOf(c, stream);
  if (!s) return CUDA_ERROR_INVALID_HANDLE;
  if (s->capture) {
    s->capture->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  if (pool->limit != 0 && pool->used + bytes > pool->limit) return CUDA_ERROR_OUT_OF_MEMORY;
  if (pool->used + bytes > pool->reserved) makeRoom(pool->used + bytes - pool->reserved);
  uintptr_t begin = reserve(c, bytes, pool);
  if (begin == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  Work work;
  work.type = WorkType::kMemAlloc;
  work.run = [begin]() -> Fault {
    if (awaken(begin)) return {};
    return {CUDA_ERROR_OUT_OF_MEMORY, "cuMemAllocAsync: the host has no memory for it"};
  };
  if (int e = enqueue(s, std::move(work))) {
    std::string complaint;
    release(begin, &complaint);
    return e;
  }
  pool->used += bytes;
  pool->usedHigh = std::max(pool->usedHigh, pool->used);
  pool->reserved = std::max(pool->reserved, pool->used);
  pool->reservedHigh = std::max(pool->reservedHigh, pool->reserved);
  *p = begin;
  return 0;
}

}  // namespace

void leavePool(const Allocation& a) { a.pool->used -= a.bytes; }

void trimPools() {
  for (Pool* p : pools().all) p->keepAtMost(p->destroyed ? 0 : p->releaseThreshold);
}

size_t keptByPools() {
  size_t kept = 0;
  for (const Pool* p : pools().all) kept += p->reserved - p->used;
  return kept;
}

void makeRoom(size_t bytes) {
  if (usedBytes() + keptByPools() + bytes <= totalBytes()) return;
  for (Pool* p : pools().all) p->keepAtMost(0);
}

}  // namespace gatun

using namespace gatun;

GATUN_API int cuMemAllocAsync(DevicePtr* p, size_t bytes, Stream* stream) {
  GATUN_ENTER();
  return allocateFrom(in.context, pools().current, p, bytes, stream);
}

GATUN_API int cuMemAllocFromPoolAsync(DevicePtr* p, size_t bytes, Pool* pool, Stream* stream) {
  GATUN_ENTER();
  return allocateFrom(in.context, pool, p, bytes, stream);
}

GATUN_API int cuMemFreeAsync(DevicePtr p, Stream* stream) {
  GATUN_ENTER();
  std::shared_ptr<Stream> s = streamOf(in.context, stream);
  if (!s) return CUDA_ERROR_INVALID_HANDLE;
  if (p == 0) return 0;
  const Allocation* a = find(uintptr_t(p), 1);
  if (a == nullptr || a->begin != p || a->pool == nullptr || a->retired) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (s->capture) {
    s->capture->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  leavePool(*a);
  retire(uintptr_t(p));
  Work work;
  work.type = WorkType::kMemFree;
  work.run = [p]() -> Fault {
    const Allocation* there = find(uintptr_t(p), 1);
    bool early = there != nullptr && !there->live;
    std::string complaint;
    release(uintptr_t(p), &complaint);
    if (early) {
      return {CUDA_ERROR_ILLEGAL_ADDRESS,
              "cuMemFreeAsync: the free's turn comes before the allocation's; no event orders their "
              "streams"};
    }
    return complaint.empty() ? Fault() : Fault{CUDA_ERROR_ILLEGAL_ADDRESS, complaint};
  };
  return enqueue(s, std::move(work));
}

GATUN_API int cuDeviceGetDefaultMemPool(Pool** pool, int device) {
  GATUN_ENTER(Entry::kInit);
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (pool == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pool = pools().standard;
  return 0;
}

GATUN_API int cuDeviceGetMemPool(Pool** pool, int device) {
  GATUN_ENTER(Entry::kInit);
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (pool == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *pool = pools().current;
  return 0;
}

GATUN_API int cuDeviceSetMemPool(int device, Pool* pool) {
  GATUN_ENTER(Entry::kInit);
  if (device != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (!known(pool)) return CUDA_ERROR_INVALID_VALUE;
  pools().current = pool;
  return 0;
}

namespace {
// CUmemPoolProps
struct PoolProperties {
  int allocationType;  // 1 pinned, the only one
  int handleTypes;     // 0: not shared with other processes
  int locationType;    // 1 device
  int locationId;
  void* security;
  size_t maxSize;
  unsigned short usage;
  unsigned char reserved[54];
};
}  // namespace

GATUN_API int cuMemPoolCreate(Pool** pool, const PoolProperties* properties) {
  GATUN_ENTER(Entry::kInit);
  if (pool == nullptr || properties == nullptr || properties->allocationType != 1 ||
      properties->locationType != 1) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (properties->locationId != 0) return CUDA_ERROR_INVALID_DEVICE;
  if (properties->handleTypes != 0) return CUDA_ERROR_NOT_SUPPORTED;
  auto* made = new Pool();
  made->limit = properties->maxSize;
  pools().all.push_back(made);
  *pool = made;
  return 0;
}

GATUN_API int cuMemPoolDestroy(Pool* pool) {
  GATUN_ENTER(Entry::kInit);
  if (!known(pool) || pool == pools().standard) return CUDA_ERROR_INVALID_VALUE;
  // What it gave lives on until it is freed.
  pool->destroyed = true;
  pool->keepAtMost(0);
  if (pools().current == pool) pools().current = pools().standard;
  return 0;
}

GATUN_API int cuMemPoolTrimTo(Pool* pool, size_t keep) {
  GATUN_ENTER(Entry::kInit);
  if (!known(pool)) return CUDA_ERROR_INVALID_VALUE;
  pool->keepAtMost(keep);
  return 0;
}

GATUN_API int cuMemPoolSetAttribute(Pool* pool, int attribute, void* value) {
  GATUN_ENTER(Entry::kInit);
  if (!known(pool) || value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto& number = *static_cast<uint64_t*>(value);
  switch (attribute) {
    case 1: case 2: case 3: return 0;  // reuse policies: nothing here depends on them
    case 4: pool->releaseThreshold = number; return 0;
    case 6:
      if (number != 0) return CUDA_ERROR_INVALID_VALUE;
      pool->reservedHigh = pool->reserved;
      return 0;
    case 8:
      if (number != 0) return CUDA_ERROR_INVALID_VALUE;
      pool->usedHigh = pool->used;
      return 0;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
}

GATUN_API int cuMemPoolGetAttribute(Pool* pool, int attribute, void* value) {
  GATUN_ENTER(Entry::kInit);
  if (!known(pool) || value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto& number = *static_cast<uint64_t*>(value);
  switch (attribute) {
    case 1: case 2: case 3: *static_cast<int*>(value) = 1; return 0;
    case 4: number = pool->releaseThreshold; return 0;
    case 5: number = pool->reserved; return 0;
    case 6: number = pool->reservedHigh; return 0;
    case 7: number = pool->used; return 0;
    case 8: number = pool->usedHigh; return 0;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
}
