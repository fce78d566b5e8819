/* gatun_emulator_abi.h - what a kernel module and the emulator's runtime say to each other.
 * Change GATUN_EMU_ABI with any layout here: a module built against another one is refused.
 */
#ifndef GATUN_EMULATOR_ABI_H_
#define GATUN_EMULATOR_ABI_H_

#include <cstddef>
#include <cstdint>

#define GATUN_EMU_ABI 2u

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
  constexpr dim3(uint3 v) : x(v.x), y(v.y), z(v.z) {}
};

/* ---- between a module and the runtime ---- */

struct GatunEmuBlock {
  uint3 blockIdx;
  dim3 blockDim;
  dim3 gridDim;
  unsigned clusterRank; /* of this block in its cluster, x fastest */
  unsigned clusterSize; /* 1 without a cluster launch */
};

struct GatunEmuThread {
  uint3 threadIdx;
  unsigned lane;
  unsigned spins; /* atomics, and acquiring loads 128-fold, since this thread last let others run */
  const GatunEmuBlock* block;
};

enum GatunEmuBarrier { GATUN_EMU_SYNC, GATUN_EMU_COUNT, GATUN_EMU_AND, GATUN_EMU_OR };
enum GatunEmuWarpOp { GATUN_EMU_WARP_SYNC, GATUN_EMU_WARP_SHUFFLE, GATUN_EMU_WARP_BALLOT };

struct GatunEmuRuntime {
  unsigned abi;
  int (*blockBarrier)(int kind, int predicate, const char* what, const char* file, int line);
  uint64_t (*warpOp)(int kind, unsigned mask, uint64_t value, int sourceLane, const char* what,
                     const char* file, int line);
  void (*gridBarrier)(const char* file, int line);
  void (*yield)();
  void* (*sharedArray)(const void* slot, const char* name, size_t bytes, size_t align);
  void* (*dynamicShared)(size_t* bytes);
  void (*trap)(int code, const char* text, const char* file, int line);
  unsigned (*activeMask)();
  void (*copyAsync)(void* to, const void* from, unsigned bytes, unsigned sourceBytes,
                    const char* file, int line);
  void (*copyCommit)();
  void (*copyWait)(unsigned groupsLeft);
  /* Waits for all 32 lanes, then fn runs once with what each of them passed. */
  void (*warpCollective)(void* own, void (*fn)(void* const* lanes), const char* what,
                         const char* file, int line);
  /* A fault unless p is so aligned and [p, p + bytes) lies in a shared array of this block. */
  void (*requireShared)(const void* p, unsigned bytes, unsigned align, const char* what,
                        const char* file, int line);
  void (*requireCooperative)(const char* file, int line);
  void (*clusterArrive)(const char* file, int line);
  void (*clusterWait)(const char* file, int line);
  void* (*clusterMap)(const void* shared, unsigned rank, const char* file, int line);
};

struct GatunEmuKernel {
  const char* name;
  void (*thunk)(void* const* arguments);
  const unsigned* sizes;
  const unsigned* aligns;
  unsigned count;
  unsigned maxThreads;
  const GatunEmuKernel* next;
};

struct GatunEmuModule {
  unsigned abi;
  const GatunEmuKernel* kernels;
  GatunEmuThread** self;
};

#endif
