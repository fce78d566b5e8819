// scheduler.cc - fibres for the threads of the resident blocks, and everything they wait at.
//
// A thread runs until it waits or ends; the one to run next is drawn from the ready ones in the chosen
// order. A fibre whose thread ends takes the next thread that has not begun, so threads that never
// wait share one stack. When nobody is ready and not all have ended, somebody waits for ever.

#include "scheduler.h"

#include <signal.h>
#include <sys/mman.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <vector>

#include "faults.h"
#include "fibre.h"
#include "memory.h"
#include "result.h"

namespace gatun {
namespace {

constexpr size_t kPage = 4096;
constexpr unsigned kWarp = 32;

enum class State : uint8_t {
  kReady, kAtBlockBarrier, kAtWarpOp, kAtGridBarrier, kAtClusterBarrier, kExited
};
constexpr uint8_t kCollective = 0xff;  // a Thread's kind beside GatunEmuWarpOp

struct BlockRun;

struct AsyncCopy {
  void* to;
  const void* from;
  unsigned bytes;
  unsigned sourceBytes;
  unsigned group;
  bool read;  // already, when it was asked for
  unsigned char bytesRead[16];
};

// Two cache lines; the first is all that a thread without barriers needs.
struct alignas(64) Thread {
  GatunEmuThread shown;  // first: the module's view of this thread
  Fibre* fibre;
  BlockRun* block;
  State state;
  uint8_t kind;
  uint8_t warp;  // its number in the block
  bool arrived;  // at the cluster's barrier, and has not waited yet
  unsigned group;  // of asynchronous copies; all that a new block resets lies above
  const char* what;
  const char* file;
  int line;
  unsigned mask;
  int source;
  int arriveLine;
  uint64_t value;
  uint64_t result;
  std::vector<AsyncCopy>* copies;
  uint64_t arrivedPhase;  // of the cluster, when it arrived
  const char* arriveFile;
};
static_assert(sizeof(Thread) == 128);

struct SharedArray {
  const void* slot;
  const char* name;
  size_t bytes;
  char* base;
  char* low;   // slack before base, up to it
  char* high;  // end of the slack after it
  uint64_t epoch;
};

/** The shared memory of one resident block. */
struct Arena {
  static constexpr size_t kBytes = 1 << 20;
  char* region = nullptr;
  size_t used = 0;
  bool guarded = false;
  bool sealed = false;  // its block has exited, others of the cluster have not: nobody may touch it
  std::vector<SharedArray> arrays;
};

/** Blocks that reach each other's shared memory; one block unless launched as clusters. */
struct ClusterRun {
  BlockRun* first;
  unsigned size;
  unsigned arrived;  // threads, at the barrier of this phase
  uint64_t phase;
  unsigned alive() const;
};

struct BlockRun {
  GatunEmuBlock shown;
  Thread* threads;
  unsigned count;
  unsigned alive;
  unsigned waiting;  // at the block's barrier
  Arena* arena;
  ClusterRun* cluster;
  bool begun;
  size_t sharedBytes;  // arrays in use, with the dynamic one
  uint64_t epoch;
  // Lanes of each warp, as masks: ended, and waiting at a warp's operation.
  uint32_t ended[1024 / kWarp];
  uint32_t atWarp[1024 / kWarp];
  void* arguments[1024];  // of those at a collective
};

unsigned ClusterRun::alive() const {
  unsigned n = 0;
  for (unsigned r = 0; r < size; ++r) n += first[r].alive;
  return n;
}

struct Machine {
  Order order = Order::kFifo;
  uint64_t random = 0x9e3779b97f4a7c15ull;
  const LaunchSpec* spec = nullptr;
  Thread* current = nullptr;
  std::unique_ptr<Thread[]> threads;
  size_t threadCapacity = 0;
  std::vector<BlockRun> blocks;
  std::vector<ClusterRun> clusters;
  // By kernel: what another one placed is no memory of this one.
  std::unordered_map<void (*)(void* const*), std::vector<Arena*>> arenas;
  std::vector<Thread*> ready;  // a ring
  size_t head = 0, readyCount = 0, ringMask = 0;
  unsigned aliveTotal = 0;
  unsigned atGrid = 0;
  uint64_t epoch = 0;
  Fault fault;
  char text[1024];
};

Machine* const theMachine = new Machine();  // outlives exit(): other threads may still run
inline Machine& machine() { return *theMachine; }

void* abandoned;  // where a stopped fibre's stack pointer goes: nobody resumes it

const char* baseName(const char* file) {
  const char* slash = strrchr(file, '/');
  return slash ? slash + 1 : file;
}

/* ---- leaving a kernel early ---- */

/** Back to the scheduler with the fault that is set. */
[[noreturn]] void leave() {
  kernelRun.inFibre = false;
  gatun_fibre_switch(&abandoned, kernelRun.schedulerSp);
  __builtin_unreachable();
}

[[noreturn]] void stop(int code, const char* format, ...) __attribute__((format(printf, 2, 3)));
void stop(int code, const char* format, ...) {
  Machine& m = machine();
  kernelRun.critical = true;
  va_list list;
  va_start(list, format);
  vsnprintf(m.text, sizeof m.text, format, list);
  va_end(list);
  m.fault.code = code;
  leave();
}

/** The same, followed by the place of t. */
[[noreturn]] void stopAt(const Thread* t, int code, const char* format, ...)
    __attribute__((format(printf, 3, 4)));
void stopAt(const Thread* t, int code, const char* format, ...) {
  char text[512];
  kernelRun.critical = true;
  va_list list;
  va_start(list, format);
  vsnprintf(text, sizeof text, format, list);
  va_end(list);
  const uint3 b = t->block->shown.blockIdx, i = t->shown.threadIdx;
  stop(code, "%s: block (%u,%u,%u) thread (%u,%u,%u)", text, b.x, b.y, b.z, i.x, i.y, i.z);
}

/** For what outlives the kernel: the watchdog must not cut it short. */
struct Critical {
  Critical() { kernelRun.critical = true; }
  ~Critical() {
    kernelRun.critical = false;
    if (kernelRun.expired) stop(CUDA_ERROR_LAUNCH_TIMEOUT, "%s", "");
  }
};

/* ---- the ready ring ---- */

void makeReady(Machine& m, Thread* t) {
  t->state = State::kReady;
  m.ready[(m.head + m.readyCount++) & m.ringMask] = t;
}

Thread* pickReady(Machine& m) {
  if (m.readyCount == 0) return nullptr;
  if (m.order == Order::kFifo) {
    Thread* t = m.ready[m.head];
    m.head = (m.head + 1) & m.ringMask;
    --m.readyCount;
    return t;
  }
  Thread*& last = m.ready[(m.head + --m.readyCount) & m.ringMask];
  if (m.order == Order::kShuffle) {
    size_t i = size_t((nextRandom() >> 32) * uint64_t(m.readyCount + 1) >> 32);
    std::swap(last, m.ready[(m.head + i) & m.ringMask]);
  }
  return last;
}

void setCurrent(Machine& m, Thread* t) {
  m.current = t;
  *m.spec->self = &t->shown;
}

Fibre* freshFibre() {
  Critical critical;
  Fibre* f = takeFibre();
  if (f == nullptr) stop(CUDA_ERROR_OUT_OF_MEMORY, "no memory for another fibre stack");
  return f;
}

/** Gives the processor to another thread; comes back when t is picked again. */
void block(Machine& m, Thread* t) {
  Thread* next = pickReady(m);
  if (next == t) return;
  if (next == nullptr) {
    kernelRun.inFibre = false;
    gatun_fibre_switch(&t->fibre->sp, kernelRun.schedulerSp);
    return;
  }
  if (next->fibre == nullptr) next->fibre = freshFibre();
  setCurrent(m, next);
  gatun_fibre_switch(&t->fibre->sp, next->fibre->sp);
}

void onExit(Machine& m, Thread* t);
void poisonEarlyWrites(BlockRun& b);

void fibreMain() {
  Machine& m = machine();
  for (;;) {
    Thread* t = m.current;
    if (!t->block->begun) poisonEarlyWrites(*t->block);
    m.spec->entry(m.spec->arguments);
    onExit(m, t);
    Fibre* mine = t->fibre;
    if (!mine->guarded && stackSmashed(mine)) {
      stop(CUDA_ERROR_LAUNCH_FAILED, "fibre stack overflow (%zu KiB; GATUN_EMU_STACK_KB)",
           stackBytes() / 1024);
    }
    t->fibre = nullptr;
    Thread* next = pickReady(m);
    if (next == nullptr) {
      idleFibre(mine);
      kernelRun.inFibre = false;
      gatun_fibre_switch(&mine->sp, kernelRun.schedulerSp);
    } else if (next->fibre == nullptr) {
      next->fibre = mine;
      setCurrent(m, next);
    } else {
      idleFibre(mine);
      setCurrent(m, next);
      gatun_fibre_switch(&mine->sp, next->fibre->sp);
    }
  }
}

/* ---- block barriers ---- */

bool sameSite(const Thread& a, const Thread& b) {
  return a.line == b.line && a.kind == b.kind &&
         (a.file == b.file || strcmp(a.file, b.file) == 0);
}

void releaseBlock(Machine& m, BlockRun& b) {
  Thread* first = nullptr;
  int count = 0;
  for (unsigned i = 0; i < b.count; ++i) {
    Thread& t = b.threads[i];
    if (t.state != State::kAtBlockBarrier) continue;
    if (first == nullptr) {
      first = &t;
    } else if (!sameSite(*first, t)) {
      stop(CUDA_ERROR_LAUNCH_FAILED,
           "divergent barrier: block (%u,%u,%u): thread (%u,%u,%u) waits at %s (%s:%d) and thread "
           "(%u,%u,%u) at %s (%s:%d)",
           b.shown.blockIdx.x, b.shown.blockIdx.y, b.shown.blockIdx.z, first->shown.threadIdx.x,
           first->shown.threadIdx.y, first->shown.threadIdx.z, first->what, baseName(first->file),
           first->line, t.shown.threadIdx.x, t.shown.threadIdx.y, t.shown.threadIdx.z, t.what,
           baseName(t.file), t.line);
    }
    count += t.value != 0;
  }
  unsigned waited = b.waiting;
  b.waiting = 0;
  for (unsigned i = 0; i < b.count; ++i) {
    Thread& t = b.threads[i];
    if (t.state != State::kAtBlockBarrier) continue;
    t.result = t.kind == GATUN_EMU_AND  ? count == int(waited)
               : t.kind == GATUN_EMU_OR ? count != 0
                                        : uint64_t(count);
    makeReady(m, &t);
  }
}

int blockBarrier(int kind, int predicate, const char* what, const char* file, int line) {
  Machine& m = machine();
  Thread* t = m.current;
  BlockRun& b = *t->block;
  t->kind = uint8_t(kind);
  t->value = predicate != 0;
  t->what = what;
  t->file = file;
  t->line = line;
  t->state = State::kAtBlockBarrier;
  if (++b.waiting == b.alive) releaseBlock(m, b);
  block(m, t);
  return int(t->result);
}

/* ---- grid barrier ---- */

void releaseGrid(Machine& m) {
  m.atGrid = 0;
  for (BlockRun& b : m.blocks) {
    for (unsigned i = 0; i < b.count; ++i) {
      if (b.threads[i].state == State::kAtGridBarrier) makeReady(m, &b.threads[i]);
    }
  }
}

void requireCooperative(const char* file, int line) {
  if (machine().spec->cooperative) return;
  stop(CUDA_ERROR_LAUNCH_FAILED, "grid sync (%s:%d) in a kernel not launched cooperatively",
       baseName(file), line);
}

void gridBarrier(const char* file, int line) {
  Machine& m = machine();
  Thread* t = m.current;
  t->what = "grid sync";
  t->file = file;
  t->line = line;
  requireCooperative(file, line);
  t->state = State::kAtGridBarrier;
  if (++m.atGrid == m.aliveTotal) releaseGrid(m);
  block(m, t);
}

/* ---- the barrier of a cluster, in two halves ---- */

void releaseCluster(Machine& m, ClusterRun& c) {
  c.arrived = 0;
  ++c.phase;
  for (unsigned r = 0; r < c.size; ++r) {
    BlockRun& b = c.first[r];
    if (b.alive == 0) continue;
    const Thread* lead = nullptr;
    for (unsigned i = 0; i < b.count; ++i) {
      Thread& t = b.threads[i];
      if (i % kWarp == 0) lead = nullptr;
      if (t.state == State::kExited) continue;
      // Both halves are .aligned: a warp executes them together.
      if (lead == nullptr) lead = &t;
      if (t.arriveLine != lead->arriveLine || strcmp(t.arriveFile, lead->arriveFile) != 0) {
        stopAt(&t, CUDA_ERROR_LAUNCH_FAILED,
               "divergent cluster barrier: lanes of a warp arrive at %s:%d and at %s:%d",
               baseName(lead->arriveFile), lead->arriveLine, baseName(t.arriveFile), t.arriveLine);
      }
      if (t.state == State::kAtClusterBarrier) makeReady(m, &t);
    }
  }
}

void clusterArrive(const char* file, int line) {
  Machine& m = machine();
  Thread* t = m.current;
  ClusterRun& c = *t->block->cluster;
  if (t->arrived) {
    stopAt(t, CUDA_ERROR_LAUNCH_FAILED, "a second cluster arrival (%s:%d) without a wait between",
           baseName(file), line);
  }
  t->arrived = true;
  t->arrivedPhase = c.phase;
  t->arriveFile = file;
  t->arriveLine = line;
  if (++c.arrived == c.alive()) releaseCluster(m, c);
}

void clusterWait(const char* file, int line) {
  Machine& m = machine();
  Thread* t = m.current;
  if (!t->arrived) {
    stopAt(t, CUDA_ERROR_LAUNCH_FAILED, "a cluster wait (%s:%d) without an arrival", baseName(file),
           line);
  }
  t->arrived = false;
  t->what = "cluster wait";
  t->kind = 0;
  t->file = file;
  t->line = line;
  if (t->block->cluster->phase == t->arrivedPhase) {
    t->state = State::kAtClusterBarrier;
  } else {
    // All have come; let others run first all the same, as any barrier does.
    makeReady(m, t);
  }
  block(m, t);
}

/* ---- warps ---- */

unsigned warpOf(const Thread* t) { return t->warp; }

/** The lanes that a warp has: the last one of a block may be short. */
uint32_t lanesOf(const BlockRun& b, unsigned warp) {
  unsigned n = b.count - warp * kWarp;
  return n >= kWarp ? 0xffffffffu : (1u << n) - 1;
}

/** First in, first out lets a warp go on before the next one: its 32 stacks are in the cache. */
void releaseLanes(Machine& m, Thread* first, uint32_t named) {
  if (m.order == Order::kFifo) {
    for (uint32_t left = named; left != 0;) {
      unsigned lane = 31u - unsigned(__builtin_clz(left));
      left &= ~(1u << lane);
      Thread* t = &first[lane];
      t->state = State::kReady;
      m.head = (m.head - 1) & m.ringMask;
      m.ready[m.head] = t;
      ++m.readyCount;
    }
  } else {
    for (uint32_t left = named; left != 0; left &= left - 1) makeReady(m, &first[__builtin_ctz(left)]);
  }
}

/** Releases the lanes that t's mask names if all of them are there. */
void tryWarp(Machine& m, Thread* t) {
  BlockRun& b = *t->block;
  unsigned warp = warpOf(t);
  uint32_t named = t->mask & lanesOf(b, warp) & ~b.ended[warp];
  if ((named & b.atWarp[warp]) != named) return;
  Thread* first = &b.threads[warp * kWarp];
  uint64_t ballot = 0;
  for (uint32_t left = named; left != 0; left &= left - 1) {
    Thread& o = first[__builtin_ctz(left)];
    if (o.mask != t->mask || !sameSite(o, *t)) return;
    ballot |= uint64_t(o.value != 0) << o.shown.lane;
  }
  for (uint32_t left = named; left != 0; left &= left - 1) {
    Thread& o = first[__builtin_ctz(left)];
    if (o.kind == GATUN_EMU_WARP_SHUFFLE) {
      // A lane that the mask does not name has no defined value: give one that shows.
      unsigned from = unsigned(o.source) & (kWarp - 1);
      o.result = named >> from & 1 ? first[from].value : ~uint64_t(0);
    } else {
      o.result = ballot;
    }
  }
  b.atWarp[warp] &= ~named;
  releaseLanes(m, first, named);
}

[[noreturn]] void stopForExitedLane(const Thread* waiting, unsigned lane) {
  stop(CUDA_ERROR_LAUNCH_FAILED,
       "%s (%s:%d) with mask 0x%08x in block (%u,%u,%u) thread (%u,%u,%u) names lane %u, which has "
       "exited",
       waiting->what, baseName(waiting->file), waiting->line, waiting->mask,
       waiting->block->shown.blockIdx.x, waiting->block->shown.blockIdx.y,
       waiting->block->shown.blockIdx.z, waiting->shown.threadIdx.x, waiting->shown.threadIdx.y,
       waiting->shown.threadIdx.z, lane);
}

uint64_t warpOp(int kind, unsigned mask, uint64_t value, int source, const char* what,
                const char* file, int line) {
  Machine& m = machine();
  Thread* t = m.current;
  t->kind = uint8_t(kind);
  t->mask = mask;
  t->value = value;
  t->source = source;
  t->what = what;
  t->file = file;
  t->line = line;
  if (!(mask >> t->shown.lane & 1)) {
    stopAt(t, CUDA_ERROR_LAUNCH_FAILED,
           "%s (%s:%d) with mask 0x%08x is called by lane %u, which the mask does not name", what,
           baseName(file), line, mask, t->shown.lane);
  }
  unsigned warp = warpOf(t);
  uint32_t gone = mask & t->block->ended[warp];
  if (kind != GATUN_EMU_WARP_SYNC && gone != 0) stopForExitedLane(t, unsigned(__builtin_ctz(gone)));
  t->state = State::kAtWarpOp;
  t->block->atWarp[warp] |= 1u << t->shown.lane;
  tryWarp(m, t);
  block(m, t);
  return t->result;
}

/** Every lane of the warp comes with an argument; the last one runs fn for all. */
void warpCollective(void* own, void (*fn)(void* const*), const char* what, const char* file,
                    int line) {
  Machine& m = machine();
  Thread* t = m.current;
  BlockRun& b = *t->block;
  unsigned warp = warpOf(t);
  t->kind = kCollective;
  t->mask = ~0u;
  b.arguments[warp * kWarp + t->shown.lane] = own;
  t->what = what;
  t->file = file;
  t->line = line;
  if (lanesOf(b, warp) != ~0u) {
    stopAt(t, CUDA_ERROR_LAUNCH_FAILED, "%s (%s:%d) needs 32 lanes and this warp of the block has %d",
           what, baseName(file), line, __builtin_popcount(lanesOf(b, warp)));
  }
  if (b.ended[warp] != 0) stopForExitedLane(t, unsigned(__builtin_ctz(b.ended[warp])));
  t->state = State::kAtWarpOp;
  b.atWarp[warp] |= 1u << t->shown.lane;
  if (b.atWarp[warp] == ~0u) {
    Thread* lanes = &b.threads[warp * kWarp];
    bool together = true;
    for (unsigned i = 0; i < kWarp; ++i) together = together && sameSite(lanes[i], *t);
    // Else some wait elsewhere, and that is told once nobody can go on.
    if (together) {
      fn(&b.arguments[warp * kWarp]);
      b.atWarp[warp] = 0;
      releaseLanes(m, lanes, ~0u);
    }
  }
  block(m, t);
}

unsigned activeMask() {
  const Thread* t = machine().current;
  unsigned warp = warpOf(t);
  return lanesOf(*t->block, warp) & ~t->block->ended[warp];
}

/* ---- other services ---- */

void yieldThread() {
  Machine& m = machine();
  Thread* t = m.current;
  t->shown.spins = 0;
  if (m.readyCount == 0) return;
  // To the far end of the ring, or last-in-first-out order would pick this one again at once.
  if (m.order == Order::kLifo) {
    m.head = (m.head - 1) & m.ringMask;
    m.ready[m.head] = t;
    ++m.readyCount;
  } else {
    makeReady(m, t);
  }
  block(m, t);
}

void trap(int code, const char* text, const char* file, int line) {
  const Thread* t = machine().current;
  stop(code, "%s (%s:%d) in block (%u,%u,%u) thread (%u,%u,%u)", text, baseName(file), line,
       t->block->shown.blockIdx.x, t->block->shown.blockIdx.y, t->block->shown.blockIdx.z,
       t->shown.threadIdx.x, t->shown.threadIdx.y, t->shown.threadIdx.z);
}

bool inShared(const BlockRun& b, const void* p, size_t bytes) {
  auto* at = static_cast<const char*>(p);
  for (const SharedArray& s : b.arena->arrays) {
    if (s.epoch == b.epoch && at >= s.base && at + bytes <= s.base + s.bytes) return true;
  }
  return false;
}

void requireShared(const void* p, unsigned bytes, unsigned align, const char* what,
                   const char* file, int line) {
  const Thread* t = machine().current;
  if (reinterpret_cast<uintptr_t>(p) % align != 0) {
    stopAt(t, CUDA_ERROR_MISALIGNED_ADDRESS, "%s (%s:%d): %p is not aligned to %u bytes", what,
           baseName(file), line, p, align);
  }
  if (!inShared(*t->block, p, bytes)) {
    stopAt(t, CUDA_ERROR_ILLEGAL_ADDRESS,
           "%s (%s:%d): the %u bytes at %p are not within a shared array of this block", what,
           baseName(file), line, bytes, p);
  }
}

void copyAsync(void* to, const void* from, unsigned bytes, unsigned sourceBytes, const char* file,
               int line) {
  Machine& m = machine();
  Thread* t = m.current;
  requireShared(to, bytes, bytes, "cp.async", file, line);
  if (reinterpret_cast<uintptr_t>(from) % bytes != 0) {
    stopAt(t, CUDA_ERROR_MISALIGNED_ADDRESS,
           "cp.async (%s:%d): the source %p is not aligned to %u bytes", baseName(file), line, from,
           bytes);
  }
  // Until waited for, the destination holds what no correct kernel reads.
  memset(to, 0xFF, bytes);
  AsyncCopy copy{to, from, bytes, sourceBytes, t->group, false, {}};
  // Hardware reads at any time up to the wait: in shuffled order now or then, else as late as it may.
  copy.read = m.order == Order::kShuffle && (nextRandom() & 1) != 0;
  if (copy.read) memcpy(copy.bytesRead, from, sourceBytes);
  Critical critical;
  if (t->copies == nullptr) t->copies = new std::vector<AsyncCopy>();
  t->copies->push_back(copy);
}

void copyCommit() { ++machine().current->group; }

void copyWait(unsigned groupsLeft) {
  Thread* t = machine().current;
  if (t->copies == nullptr) return;
  size_t kept = 0;
  for (size_t i = 0; i < t->copies->size(); ++i) {
    AsyncCopy c = (*t->copies)[i];
    if (c.group + groupsLeft < t->group) {
      memcpy(c.to, c.read ? c.bytesRead : c.from, c.sourceBytes);
      memset(static_cast<char*>(c.to) + c.sourceBytes, 0, c.bytes - c.sourceBytes);
    } else {
      (*t->copies)[kept++] = c;
    }
  }
  t->copies->resize(kept);
}

/* ---- shared memory ---- */

const char kDynamicSlot = 0;
constexpr unsigned kGuardedArenas = 16;  // the largest cluster

void resetArena(Arena& a) {
  if (a.used > 0 && a.guarded != a.sealed) {
    mprotect(a.region, Arena::kBytes, a.guarded ? PROT_NONE : PROT_READ | PROT_WRITE);
  }
  a.arrays.clear();
  a.used = 0;
  a.sealed = false;
}

void seal(Arena& a) {
  Critical critical;
  if (a.used > 0) mprotect(a.region, Arena::kBytes, PROT_NONE);
  a.sealed = true;
}

/** Arenas for so many resident blocks of the kernel. */
std::vector<Arena*>& arenasFor(Machine& m, size_t resident) {
  std::vector<Arena*>& arenas = m.arenas[m.spec->entry];
  while (arenas.size() < resident) {
    auto* a = new Arena();
    a->guarded = arenas.size() < kGuardedArenas;
    void* p = mmap(nullptr, Arena::kBytes, a->guarded ? PROT_NONE : PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    a->region = p == MAP_FAILED ? nullptr : static_cast<char*>(p);
    arenas.push_back(a);
  }
  for (Arena* a : arenas) {
    if (a->used > Arena::kBytes / 2) resetArena(*a);
  }
  return arenas;
}

SharedArray* placeArray(Arena& a, const void* slot, const char* name, size_t bytes, size_t align) {
  size_t pages = (bytes + kPage - 1) / kPage * kPage;
  size_t edge = a.guarded ? kPage : 64;
  if (a.region == nullptr || a.used + pages + 2 * edge > Arena::kBytes) return nullptr;
  char* low = a.region + a.used + edge;
  char* high = low + pages;
  if (a.guarded) {
    if (mprotect(low, pages, PROT_READ | PROT_WRITE) != 0) return nullptr;
    a.used += edge + pages;
  } else {
    low -= edge;
    high += edge;
    a.used += 2 * edge + pages;
  }
  // The end of the array at the guard page; what is before it holds the canary.
  char* base = high - (a.guarded ? 0 : edge) - bytes;
  base -= reinterpret_cast<uintptr_t>(base) % align;
  a.arrays.push_back({slot, name, bytes, base, low, high, 0});
  return &a.arrays.back();
}

void beginArray(BlockRun& b, SharedArray& s) {
  fillCanary(s.low, s.base);
  memset(s.base, 0xFF, s.bytes);
  fillCanary(s.base + s.bytes, s.high);
  s.epoch = b.epoch;
}

SharedArray& arrayOf(BlockRun& b, const void* slot, const char* name, size_t bytes, size_t align) {
  Arena& a = *b.arena;
  SharedArray* found = nullptr;
  for (SharedArray& s : a.arrays) {
    if (s.slot == slot && s.bytes == bytes) {
      found = &s;
      break;
    }
  }
  if (found == nullptr) {
    Critical critical;
    found = placeArray(a, slot, name, bytes, align);
    if (found == nullptr) {
      stop(CUDA_ERROR_LAUNCH_FAILED, "no room for the shared array %s of %zu bytes", name, bytes);
    }
  }
  if (found->epoch != b.epoch) {
    beginArray(b, *found);
    b.sharedBytes += bytes;
    // 48 KiB unless the function's attribute allows more, then 227 KiB.
    size_t most = machine().spec->maxDynamicShared > 48 * 1024 ? 232448 : 48 * 1024;
    if (b.sharedBytes > most) {
      stop(CUDA_ERROR_LAUNCH_FAILED,
           "%zu bytes of shared arrays in a block, the last of them %s; %zu is the most", b.sharedBytes,
           name, most);
    }
  }
  return *found;
}

void* sharedArray(const void* slot, const char* name, size_t bytes, size_t align) {
  return arrayOf(*machine().current->block, slot, name, bytes, align).base;
}

/** What others of the cluster wrote into a block that had not begun is lost, as it may be on a GPU. */
void poisonEarlyWrites(BlockRun& b) {
  b.begun = true;
  if (b.cluster->size == 1) return;
  for (SharedArray& s : b.arena->arrays) {
    if (s.epoch == b.epoch) beginArray(b, s);
  }
}

void* clusterMap(const void* shared, unsigned rank, const char* file, int line) {
  const Thread* t = machine().current;
  BlockRun& b = *t->block;
  auto* at = static_cast<const char*>(shared);
  if (rank >= b.cluster->size) {
    stopAt(t, CUDA_ERROR_ILLEGAL_ADDRESS, "cluster_map (%s:%d) to rank %u of a cluster of %u blocks",
           baseName(file), line, rank, b.cluster->size);
  }
  for (const SharedArray& s : b.arena->arrays) {
    if (s.epoch != b.epoch || at < s.base || at > s.base + s.bytes) continue;
    BlockRun& other = b.cluster->first[rank];
    if (other.alive == 0) {
      stopAt(t, CUDA_ERROR_ILLEGAL_ADDRESS,
             "cluster_map (%s:%d) to rank %u, whose block (%u,%u,%u) has exited", baseName(file), line,
             rank, other.shown.blockIdx.x, other.shown.blockIdx.y, other.shown.blockIdx.z);
    }
    size_t align = size_t(1) << __builtin_ctzll(reinterpret_cast<uintptr_t>(s.base) | kPage);
    return arrayOf(other, s.slot, s.name, s.bytes, align).base + (at - s.base);
  }
  stopAt(t, CUDA_ERROR_ILLEGAL_ADDRESS, "cluster_map (%s:%d) of %p, which is in no shared array",
         baseName(file), line, shared);
}

void* dynamicShared(size_t* bytes) {
  unsigned size = machine().spec->sharedBytes;
  if (bytes != nullptr) *bytes = size;
  return sharedArray(&kDynamicSlot, "(dynamic)", size == 0 ? 16 : size, 16);
}

void checkShared(Machine& m, BlockRun& b) {
  for (const SharedArray& s : b.arena->arrays) {
    if (s.epoch != b.epoch) continue;
    bool before = canaryBroken(s.low, s.base) != nullptr;
    if (!before && canaryBroken(s.base + s.bytes, s.high) == nullptr) continue;
    snprintf(m.text, sizeof m.text,
             "out-of-bounds write %s the shared array %s of %zu bytes in block (%u,%u,%u)",
             before ? "before" : "past the end of", s.name, s.bytes, b.shown.blockIdx.x,
             b.shown.blockIdx.y, b.shown.blockIdx.z);
    m.fault.code = CUDA_ERROR_ILLEGAL_ADDRESS;
    return;
  }
}

/* ---- the end of a thread, a block, a kernel ---- */

/** A thread that has ended counts as arrived; a block that has ended has no shared memory. */
void leaveCluster(Machine& m, Thread* t, ClusterRun& c) {
  BlockRun& b = *t->block;
  if (t->arrived && t->arrivedPhase == c.phase) --c.arrived;
  unsigned alive = c.alive();
  if (alive == 0) return;
  if (b.alive == 0) {
    checkShared(m, b);
    if (m.fault.code != 0) leave();
    seal(*b.arena);
  }
  if (c.arrived == alive) releaseCluster(m, c);
}

void onExit(Machine& m, Thread* t) {
  t->state = State::kExited;
  BlockRun& b = *t->block;
  --b.alive;
  --m.aliveTotal;
  unsigned warp = warpOf(t);
  b.ended[warp] |= 1u << t->shown.lane;
  for (uint32_t left = b.atWarp[warp]; left != 0; left &= left - 1) {
    Thread* o = &b.threads[warp * kWarp + unsigned(__builtin_ctz(left))];
    if (o->state != State::kAtWarpOp || !(o->mask >> t->shown.lane & 1)) continue;
    if (o->kind != GATUN_EMU_WARP_SYNC) stopForExitedLane(o, t->shown.lane);
    tryWarp(m, o);
  }
  ClusterRun& c = *b.cluster;
  if (c.size > 1 || c.arrived > 0) leaveCluster(m, t, c);
  // Threads that have ended count as arrived, as on sm_70 and later.
  if (b.alive > 0 && b.waiting == b.alive) releaseBlock(m, b);
  if (m.aliveTotal > 0 && m.atGrid == m.aliveTotal) releaseGrid(m);
}

/** Nobody can go on: who waits where. */
void describeDeadlock(Machine& m) {
  size_t n = size_t(snprintf(m.text, sizeof m.text, "a barrier that can never complete: "));
  int listed = 0;
  const BlockRun* where = nullptr;
  for (BlockRun& b : m.blocks) {
    for (unsigned i = 0; i < b.count && listed < 4; ++i) {
      const Thread& t = b.threads[i];
      if (t.state == State::kExited || t.state == State::kReady) continue;
      if (where != nullptr && where != &b) break;
      bool seen = false;
      for (unsigned j = 0; j < i && !seen; ++j) {
        const Thread& o = b.threads[j];
        seen = o.state == t.state && sameSite(o, t) &&
               (t.state != State::kAtWarpOp || (o.mask == t.mask && i / kWarp == j / kWarp));
      }
      if (seen) continue;
      unsigned same = 0;
      for (unsigned j = i; j < b.count; ++j) {
        const Thread& o = b.threads[j];
        same += o.state == t.state && sameSite(o, t) &&
                (t.state != State::kAtWarpOp || (o.mask == t.mask && i / kWarp == j / kWarp));
      }
      if (n >= sizeof m.text) return;
      if (where == nullptr) {
        where = &b;
        n += size_t(snprintf(m.text + n, sizeof m.text - n, "block (%u,%u,%u): ",
                             b.shown.blockIdx.x, b.shown.blockIdx.y, b.shown.blockIdx.z));
        if (n >= sizeof m.text) return;
      }
      char mask[32] = "";
      if (t.state == State::kAtWarpOp) snprintf(mask, sizeof mask, " mask 0x%08x", t.mask);
      n += size_t(snprintf(m.text + n, sizeof m.text - n,
                           "%s%u thread%s from thread (%u,%u,%u) at %s%s (%s:%d)",
                           listed == 0 ? "" : "; ", same, same == 1 ? "" : "s",
                           t.shown.threadIdx.x, t.shown.threadIdx.y, t.shown.threadIdx.z, t.what,
                           mask, baseName(t.file), t.line));
      ++listed;
    }
  }
}

void describeSignal(Machine& m) {
  const SignalFault& f = kernelRun.fault;
  const Thread* t = m.current;
  char place[160];
  snprintf(place, sizeof place, "block (%u,%u,%u) thread (%u,%u,%u)", t->block->shown.blockIdx.x,
           t->block->shown.blockIdx.y, t->block->shown.blockIdx.z, t->shown.threadIdx.x,
           t->shown.threadIdx.y, t->shown.threadIdx.z);
  if (f.signal == kWatchdog) {
    m.fault.code = CUDA_ERROR_LAUNCH_TIMEOUT;
    snprintf(m.text, sizeof m.text, "stopped by the watchdog after %lld ms, %s", watchdogMillis(),
             place);
    return;
  }
  if (f.signal == SIGFPE) {
    m.fault.code = CUDA_ERROR_LAUNCH_FAILED;
    snprintf(m.text, sizeof m.text,
             "integer division by zero (a GPU gives an unspecified value), %s", place);
    return;
  }
  if (f.signal == SIGILL) {
    m.fault.code = CUDA_ERROR_LAUNCH_FAILED;
    snprintf(m.text, sizeof m.text, "illegal instruction or trap, %s", place);
    return;
  }
  if (guardOwner(f.address) != nullptr) {
    m.fault.code = CUDA_ERROR_LAUNCH_FAILED;
    snprintf(m.text, sizeof m.text,
             "fibre stack overflow (%zu KiB; GATUN_EMU_STACK_KB sets another size), %s",
             stackBytes() / 1024, place);
    return;
  }
  m.fault.code = CUDA_ERROR_ILLEGAL_ADDRESS;
  if (f.code == SI_KERNEL) {
    snprintf(m.text, sizeof m.text,
             "misaligned vector access or an address no memory can have, %s", place);
    return;
  }
  std::string where;
  for (const Arena* a : m.arenas[m.spec->entry]) {
    auto low = reinterpret_cast<uintptr_t>(a->region);
    if (f.address < low || f.address >= low + Arena::kBytes) continue;
    if (a->sealed) {
      for (const BlockRun& b : m.blocks) {
        if (b.arena != a) continue;
        char text[120];
        snprintf(text, sizeof text, "the shared memory of block (%u,%u,%u), which has exited",
                 b.shown.blockIdx.x, b.shown.blockIdx.y, b.shown.blockIdx.z);
        where = text;
      }
      break;
    }
    const SharedArray* nearest = nullptr;
    uintptr_t best = ~uintptr_t(0);
    for (const SharedArray& s : a->arrays) {
      auto begin = reinterpret_cast<uintptr_t>(s.base);
      uintptr_t gap = f.address < begin ? begin - f.address : f.address - begin - s.bytes;
      if (gap < best) best = gap, nearest = &s;
    }
    if (nearest == nullptr) break;
    char text[160];
    snprintf(text, sizeof text, "%zu bytes %s the shared array %s of %zu bytes", size_t(best),
             f.address < reinterpret_cast<uintptr_t>(nearest->base) ? "before" : "past the end of",
             nearest->name, nearest->bytes);
    where = text;
  }
  if (where.empty()) where = describeAddress(f.address);
  snprintf(m.text, sizeof m.text, "out-of-bounds %s at 0x%llx (%s), %s",
           f.execute ? "jump" : f.write ? "write" : "read",
           static_cast<unsigned long long>(f.address), where.c_str(), place);
}

void dropCopies(Machine& m, size_t threads) {
  for (size_t i = 0; i < threads; ++i) {
    if (m.threads[i].copies == nullptr) continue;
    delete m.threads[i].copies;
    m.threads[i].copies = nullptr;
  }
}

/** Block rank of the cluster with that number in the grid of clusters. */
void startBlock(Machine& m, BlockRun& b, ClusterRun& c, Thread* threads, unsigned count,
                uint64_t number, unsigned rank, Arena* arena) {
  const LaunchSpec& spec = *m.spec;
  const dim3 size = spec.cluster;
  const unsigned wide = spec.grid.x / size.x, high = spec.grid.y / size.y;
  b.shown.blockIdx = {unsigned(number % wide) * size.x + rank % size.x,
                      unsigned(number / wide % high) * size.y + rank / size.x % size.y,
                      unsigned(number / wide / high) * size.z + rank / size.x / size.y};
  b.shown.blockDim = spec.block;
  b.shown.gridDim = spec.grid;
  b.shown.clusterRank = rank;
  b.shown.clusterSize = c.size;
  b.cluster = &c;
  b.begun = false;
  b.sharedBytes = 0;
  if (arena->sealed) resetArena(*arena);
  b.threads = threads;
  b.count = b.alive = count;
  b.waiting = 0;
  const size_t warps = (count + kWarp - 1) / kWarp;
  memset(b.ended, 0, warps * sizeof b.ended[0]);
  memset(b.atWarp, 0, warps * sizeof b.atWarp[0]);
  b.arena = arena;
  b.epoch = ++m.epoch;
  for (unsigned i = 0; i < count; ++i) {
    Thread& t = threads[i];
    t.shown.spins = 0;
    t.group = 0;
    if (t.copies != nullptr) t.copies->clear();
    t.arrived = false;
    makeReady(m, &t);
  }
  m.aliveTotal += count;
}

/** What stays the same from block to block that runs in b's place. */
void prepareThreads(const LaunchSpec& spec, BlockRun& b, Thread* threads, unsigned count) {
  unsigned x = 0, y = 0, z = 0;
  for (unsigned i = 0; i < count; ++i) {
    Thread& t = threads[i];
    t.shown.threadIdx = {x, y, z};
    t.shown.lane = i % kWarp;
    t.warp = uint8_t(i / kWarp);
    t.shown.block = &b.shown;
    t.fibre = nullptr;  // and again when its thread ends
    t.block = &b;
    if (++x == spec.block.x) {
      x = 0;
      if (++y == spec.block.y) y = 0, ++z;
    }
  }
}

/** Runs the resident threads to their end or the first fault. */
void runResident(Machine& m) {
  kernelRun.schedulerFrame = reinterpret_cast<uintptr_t>(__builtin_frame_address(0));
  while (Thread* t = pickReady(m)) {
    if (t->fibre == nullptr) {
      t->fibre = takeFibre();
      if (t->fibre == nullptr) {
        m.fault.code = CUDA_ERROR_OUT_OF_MEMORY;
        snprintf(m.text, sizeof m.text, "no memory for another fibre stack");
        return;
      }
    }
    setCurrent(m, t);
    kernelRun.inFibre = true;
    gatun_fibre_switch(&kernelRun.schedulerSp, t->fibre->sp);
    asm volatile("" ::: "memory");
    kernelRun.inFibre = false;
    if (kernelRun.fault.signal != 0) {
      describeSignal(m);
      return;
    }
    if (m.fault.code != 0) return;
    if (kernelRun.expired) break;
  }
  if (kernelRun.expired) {
    kernelRun.fault.signal = kWatchdog;
    describeSignal(m);
    return;
  }
  if (m.aliveTotal > 0) {
    m.fault.code = CUDA_ERROR_LAUNCH_FAILED;
    describeDeadlock(m);
    return;
  }
  for (BlockRun& b : m.blocks) {
    if (!b.arena->sealed) checkShared(m, b);
    if (m.fault.code != 0) return;
  }
}

/** A drawn order of the blocks without storing one: an affine map over a power of two. */
struct BlockOrder {
  Order order;
  uint64_t count, mask, factor, add, next = 0;
  BlockOrder(Order o, uint64_t n) : order(o), count(n), mask(1), factor(1), add(0) {
    while (mask < n) mask *= 2;
    --mask;
    if (o == Order::kShuffle) {
      factor = (nextRandom() >> 16 & ~uint64_t(3)) | 1;
      add = nextRandom() >> 16;
    }
  }
  uint64_t take() {
    if (order == Order::kFifo) return next++;
    if (order == Order::kLifo) return count - 1 - next++;
    for (;;) {
      uint64_t i = (next++ * factor + add) & mask;
      if (i < count) return i;
    }
  }
};

}  // namespace

uint64_t nextRandom() {
  uint64_t z = (machine().random += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

void setOrder(Order order, uint64_t seed) {
  machine().order = order;
  machine().random = seed;
}

Order order() { return machine().order; }

void forgetSharedArrays() {
  for (auto& kernel : machine().arenas) {
    for (Arena* a : kernel.second) {
      if (a->region != nullptr) munmap(a->region, Arena::kBytes);
      delete a;
    }
  }
  machine().arenas.clear();
}

Fault runKernel(const LaunchSpec& spec) {
  Machine& m = machine();
  m.spec = &spec;
  m.fault = Fault();
  m.text[0] = 0;
  m.aliveTotal = m.atGrid = 0;
  setFibreEntry(fibreMain);
  unsigned perBlock = spec.block.x * spec.block.y * spec.block.z;
  uint64_t blocks = uint64_t(spec.grid.x) * spec.grid.y * spec.grid.z;
  const unsigned clusterSize = spec.cluster.x * spec.cluster.y * spec.cluster.z;
  size_t resident = spec.cooperative ? size_t(blocks) : clusterSize;
  size_t threads = resident * perBlock;
  if (m.threadCapacity < threads) {
    m.threads.reset(new Thread[threads]());
    m.threadCapacity = threads;
    size_t ring = 1;
    while (ring < threads) ring *= 2;
    m.ready.assign(ring, nullptr);
    m.ringMask = ring - 1;
  }
  m.head = m.readyCount = 0;
  m.blocks.resize(resident);
  m.clusters.resize(resident / clusterSize);
  std::vector<Arena*>& arenas = arenasFor(m, resident);
  for (size_t i = 0; i < resident; ++i) {
    prepareThreads(spec, m.blocks[i], &m.threads[i * perBlock], perBlock);
  }
  BlockOrder order(m.order, blocks / clusterSize);
  {
    KernelScope scope;
    for (uint64_t done = 0; done < blocks && m.fault.code == 0; done += resident) {
      for (size_t i = 0; i < m.clusters.size(); ++i) {
        ClusterRun& c = m.clusters[i];
        c = {&m.blocks[i * clusterSize], clusterSize, 0, 0};
        uint64_t number = spec.cooperative ? i : order.take();
        for (unsigned r = 0; r < clusterSize; ++r) {
          size_t at = i * clusterSize + r;
          startBlock(m, m.blocks[at], c, &m.threads[at * perBlock], perBlock, number, r,
                     arenas[at]);
        }
      }
      runResident(m);
    }
  }
  dropCopies(m, threads);
  if (m.fault.code != 0) {
    if (m.fault.code == CUDA_ERROR_LAUNCH_TIMEOUT && m.text[0] == 0) {
      kernelRun.fault.signal = kWatchdog;
      describeSignal(m);
    }
    m.fault.text = std::string(spec.name) + ": " + m.text;
    resetFibres();
  }
  *spec.self = nullptr;
  m.spec = nullptr;
  return m.fault;
}

namespace {
struct GuardedCall {
  void (*fn)(void*);
  void* argument;
};
void guardedEntry(void* const* arguments) {
  auto* call = static_cast<GuardedCall*>(arguments[0]);
  call->fn(call->argument);
}
}  // namespace

Fault runGuarded(const char* name, void (*fn)(void*), void* argument) {
  GuardedCall call{fn, argument};
  void* arguments[] = {&call};
  GatunEmuThread* self = nullptr;
  LaunchSpec spec{};
  spec.name = name;
  spec.entry = guardedEntry;
  spec.arguments = arguments;
  spec.self = &self;
  return runKernel(spec);
}

const GatunEmuRuntime* runtimeTable() {
  static const GatunEmuRuntime table = {
      GATUN_EMU_ABI, blockBarrier,   warpOp,        gridBarrier,        yieldThread,
      sharedArray,   dynamicShared,  trap,          activeMask,         copyAsync,
      copyCommit,    copyWait,       warpCollective, requireShared,     requireCooperative,
      clusterArrive, clusterWait,    clusterMap};
  return &table;
}

}  // namespace gatun
