// driver.h - the driver's objects: contexts, streams of lazy work, events, modules, graphs.
//
// Work is queued and runs when somebody waits for it. Which stream goes first is drawn in the chosen
// order among those whose dependencies are done, so a missing event shows. Everything is under one lock.
#ifndef GATUN_DRIVER_H_
#define GATUN_DRIVER_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <unordered_set>
#include <vector>

#include "../include/gatun_emulator_abi.h"
#include "result.h"
#include "scheduler.h"

#define GATUN_API extern "C" __attribute__((visibility("default")))

namespace gatun {

struct Stream;
struct Graph;

struct Module {
  void* library = nullptr;
  int fd = -1;
  const GatunEmuModule* table = nullptr;
  std::map<std::string, struct Function*> functions;
  ~Module();
};

struct Function {
  const GatunEmuKernel* kernel;
  std::shared_ptr<Module> module;
  int maxDynamicShared = 48 * 1024;
  bool largeClusters = false;  // more than the 8 blocks that every device has room for
};

/** A launch with its parameters copied: capture and lazy streams outlive the caller's. */
struct KernelLaunch {
  Function* function = nullptr;
  std::shared_ptr<Module> module;  // keeps the code mapped
  dim3 grid, block, cluster;
  unsigned sharedBytes = 0;
  unsigned maxDynamicShared = 0;  // the function's, when it was launched
  bool cooperative = false;
  std::vector<uint64_t> storage;  // 16-byte slots
  std::vector<void*> arguments;
  Fault run() const;
};

enum class WorkType { kKernel = 0, kMemcpy = 1, kMemset = 2, kHost = 3, kGraph = 4, kEmpty = 5,
                      kWaitEvent = 6, kEventRecord = 7, kMemAlloc = 10, kMemFree = 11 };

struct Work {
  WorkType type = WorkType::kEmpty;
  std::function<Fault()> run;
  std::shared_ptr<KernelLaunch> launch;  // for kernels; run is empty then
  Fault execute() const { return launch ? launch->run() : run ? run() : Fault(); }
};

struct Dependency {
  std::shared_ptr<Stream> stream;
  uint64_t number;
};

struct Queued {
  uint64_t number;  // within the stream
  uint64_t order;   // over all streams
  Work work;
  std::vector<Dependency> needs;
};

struct GraphNode {
  Graph* graph;
  Work work;
  std::vector<GraphNode*> needs;
};

struct Graph {
  std::vector<std::unique_ptr<GraphNode>> nodes;
};

/** One capture, begun in origin and joined by the streams that waited for its events. */
struct Capture {
  std::shared_ptr<Graph> graph = std::make_shared<Graph>();
  Stream* origin = nullptr;
  int mode = 0;
  long thread = 0;
  bool invalid = false;
  uint64_t id = 0;
  std::set<Stream*> members;
};

struct GraphExec {
  std::vector<Work> works;
  std::vector<std::vector<size_t>> needs;
  std::map<const GraphNode*, size_t> indexOf;
};

struct Context;

struct Stream : std::enable_shared_from_this<Stream> {
  Context* context;
  unsigned flags = 0;
  int priority = 0;
  uint64_t id = 0;
  uint64_t queuedLast = 0, doneLast = 0;
  std::deque<Queued> queue;
  std::vector<Dependency> pending;  // waits that the next work inherits
  std::shared_ptr<Capture> capture;
  std::vector<GraphNode*> captureTail;
  bool blocking() const { return (flags & 1) == 0; }
};

struct Event {
  Context* context;
  unsigned flags = 0;
  bool recorded = false;
  std::shared_ptr<Stream> stream;
  uint64_t number = 0;
  std::shared_ptr<int64_t> nanos;  // of the latest record
  bool captured = false;           // the latest record was in a capture: no point in time
  std::weak_ptr<Capture> capture;  // while that goes on
  std::vector<GraphNode*> captureTail;
  bool done() const { return !recorded || stream->doneLast >= number; }
};

struct Context {
  bool primary = false;
  bool destroyed = false;
  int sticky = 0;  // the fault that made the context unusable
  unsigned flags = 0;
  uint64_t id = 0;
  std::shared_ptr<Stream> legacy;
  std::vector<std::shared_ptr<Stream>> streams;  // legacy first
  bool ranSinceCheck = false;
  std::string lastKernel;
  std::set<std::shared_ptr<Module>> modules;
};

struct Driver {
  std::recursive_mutex mutex;
  bool initialized = false;
  Context* primary = nullptr;
  int primaryRetained = 0;
  std::vector<Context*> contexts;
  uint64_t order = 0, ids = 0;
  std::string lastFault;
  std::unordered_set<const void*> handles;  // events, functions, modules, graphs, execs, nodes
  std::map<const void*, std::shared_ptr<Stream>> streams;
  std::map<const void*, std::shared_ptr<Module>> modules;
  std::map<const void*, std::shared_ptr<Graph>> graphs;
  std::map<const void*, std::shared_ptr<GraphExec>> execs;
  std::set<Capture*> captures;
};

Driver& driver();

/** Locks the driver and finds the thread's context; error tells why the call cannot go on. */
class Entry {
 public:
  enum Need { kInit, kContext, kAnyContext };  // kAnyContext: also one with a fault
  explicit Entry(Need need = kContext);
  int error = 0;
  Context* context = nullptr;

 private:
  std::unique_lock<std::recursive_mutex> lock_;
};

#define GATUN_ENTER(...)        \
  gatun::Entry in{__VA_ARGS__}; \
  if (in.error) return in.error

Context* currentContext();
void setCurrentContext(Context* context);
Context* newContext(bool primary, unsigned flags);
void destroyContext(Context* context);

/** The stream behind a handle (null, 1: legacy; 2: per-thread, taken as legacy), or null. */
std::shared_ptr<Stream> streamOf(Context* context, const void* handle);
int enqueue(const std::shared_ptr<Stream>& stream, Work work);
/** Runs work until the stream has done that number. Returns the context's fault. */
int drain(Stream* stream, uint64_t number);
int drainAll(Context* context);
/** One piece of work, for those who poll. */
void step(Context* context);
void noteFault(Context* context, const Fault& fault);
/** An error when a call that waits, or allocates, would break a capture. */
int captureForbids(Context* context, Stream* stream);
long threadId();
int64_t nowNanos();

Fault runGraph(const GraphExec& exec);

}  // namespace gatun

#endif
