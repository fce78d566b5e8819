// streams.cc - lazy queues, events, the order of streams.
#include <time.h>

#include "driver.h"
#include "memory.h"
#include "pools.h"

namespace gatun {

namespace {
constexpr size_t kLongestQueue = 1024;

bool ready(const Queued& q) {
  for (const Dependency& need : q.needs) {
    if (need.stream->doneLast < need.number) return false;
  }
  return true;
}

/** Frees run as early as their stream allows and allocations as late: who uses memory without waiting
 *  for its stream finds nothing there. */
int rankOf(const Stream& s) {
  WorkType type = s.queue.front().work.type;
  return type == WorkType::kMemFree ? 0 : type == WorkType::kMemAlloc ? 2 : 1;
}

/** A stream whose head may run, drawn in the chosen order; null when all are empty. */
Stream* draw(Context* c) {
  Stream* best = nullptr;
  uint64_t seen = 0;
  for (auto& s : c->streams) {
    if (s->queue.empty() || !ready(s->queue.front())) continue;
    int rank = rankOf(*s), bestRank = best == nullptr ? 3 : rankOf(*best);
    if (rank > bestRank) continue;
    seen = rank < bestRank ? 1 : seen + 1;
    bool take = rank < bestRank;
    if (!take) {
      uint64_t mine = s->queue.front().order, other = best->queue.front().order;
      take = order() == Order::kFifo   ? mine < other
             : order() == Order::kLifo ? mine > other
                                       : nextRandom() % seen == 0;
    }
    if (take) best = s.get();
  }
  return best;
}

bool runOne(Context* c) {
  Stream* s = draw(c);
  if (s == nullptr) return false;
  Queued q = std::move(s->queue.front());
  s->queue.pop_front();
  Fault fault = q.work.execute();
  s->doneLast = q.number;
  if (q.work.launch || q.work.type == WorkType::kGraph) c->ranSinceCheck = true;
  if (q.work.launch) c->lastKernel = q.work.launch->function->kernel->name;
  if (fault.code != 0) noteFault(c, fault);
  return true;
}

int afterWait(Context* c) {
  if (c->sticky == 0 && c->ranSinceCheck) {
    c->ranSinceCheck = false;
    std::string complaint = checkCanaries();
    if (!complaint.empty()) {
      std::string last = c->lastKernel.empty() ? "" : " (last kernel: " + c->lastKernel + ")";
      noteFault(c, {CUDA_ERROR_ILLEGAL_ADDRESS, complaint + last});
    }
  }
  return c->sticky;
}

std::vector<Dependency> takeNeeds(Stream& s) {
  std::vector<Dependency> needs = std::move(s.pending);
  s.pending.clear();
  Context* c = s.context;
  auto add = [&needs](const std::shared_ptr<Stream>& other) {
    if (other->doneLast < other->queuedLast) needs.push_back({other, other->queuedLast});
  };
  if (&s == c->legacy.get()) {
    for (auto& other : c->streams) {
      if (other.get() == &s || !other->blocking()) continue;
      add(other);
      needs.insert(needs.end(), other->pending.begin(), other->pending.end());
    }
  } else if (s.blocking()) {
    add(c->legacy);
  }
  return needs;
}

}  // namespace

int64_t nowNanos() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ll + t.tv_nsec;
}

void noteFault(Context* c, const Fault& fault) {
  driver().lastFault = fault.text;
  c->sticky = fault.code;
  // What was queued behind never runs.
  for (auto& s : c->streams) {
    for (Queued& q : s->queue) {
      // But what memory there is stays known, for who clears the fault.
      if (q.work.type == WorkType::kMemAlloc || q.work.type == WorkType::kMemFree) q.work.execute();
    }
    s->queue.clear();
    s->pending.clear();
    s->doneLast = s->queuedLast;
  }
}

std::shared_ptr<Stream> streamOf(Context* c, const void* handle) {
  auto n = reinterpret_cast<uintptr_t>(handle);
  if (n <= 2) return c->legacy;
  auto found = driver().streams.find(handle);
  return found == driver().streams.end() ? nullptr : found->second;
}

int captureForbids(Context* c, Stream* stream) {
  Driver& d = driver();
  if (d.captures.empty()) return 0;
  if (stream != nullptr && stream->capture) {
    stream->capture->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  for (Capture* capture : d.captures) {
    if (capture->origin->context != c) continue;
    // 0 global, 1 thread-local, 2 relaxed
    if (capture->mode == 0 || (capture->mode == 1 && capture->thread == threadId())) {
      capture->invalid = true;
      return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
    }
  }
  return 0;
}

int enqueue(const std::shared_ptr<Stream>& s, Work work) {
  Context* c = s->context;
  if (s->capture) {
    Capture& capture = *s->capture;
    if (capture.invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    auto node = std::make_unique<GraphNode>();
    node->graph = capture.graph.get();
    node->work = std::move(work);
    node->needs = s->captureTail;
    s->captureTail = {node.get()};
    capture.graph->nodes.push_back(std::move(node));
    return 0;
  }
  if (s == c->legacy) {
    for (Capture* capture : driver().captures) {
      if (capture->origin->context == c && capture->origin->blocking()) {
        capture->invalid = true;
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
      }
    }
  }
  s->queue.push_back({++s->queuedLast, ++driver().order, std::move(work), takeNeeds(*s)});
  // Memory stays bounded for a caller that never waits.
  while (s->queue.size() > kLongestQueue && runOne(c)) {
  }
  return 0;
}

int drain(Stream* s, uint64_t number) {
  Context* c = s->context;
  while (s->doneLast < number && runOne(c)) {
  }
  return afterWait(c);
}

int drainAll(Context* c) {
  while (runOne(c)) {
  }
  return afterWait(c);
}

void step(Context* c) { runOne(c); }

}  // namespace gatun

using namespace gatun;

/* ---- streams ---- */

GATUN_API int cuStreamCreateWithPriority(Stream** stream, unsigned flags, int priority) {
  GATUN_ENTER();
  if (stream == nullptr || flags > 1) return CUDA_ERROR_INVALID_VALUE;
  auto s = std::make_shared<Stream>();
  s->context = in.context;
  s->flags = flags;
  s->priority = priority;
  s->id = ++driver().ids;
  in.context->streams.push_back(s);
  driver().streams[s.get()] = s;
  *stream = s.get();
  return 0;
}

GATUN_API int cuStreamCreate(Stream** stream, unsigned flags) {
  return cuStreamCreateWithPriority(stream, flags, 0);
}

#define GATUN_STREAM(handle)                             \
  std::shared_ptr<Stream> s = streamOf(in.context, handle); \
  if (!s) return CUDA_ERROR_INVALID_HANDLE

GATUN_API int cuStreamDestroy_v2(Stream* stream) {
  GATUN_ENTER(Entry::kAnyContext);
  auto found = driver().streams.find(stream);
  if (found == driver().streams.end()) return CUDA_ERROR_INVALID_HANDLE;
  std::shared_ptr<Stream> s = found->second;
  if (s->capture) {
    driver().captures.erase(s->capture.get());
    s->capture->invalid = true;
    for (Stream* member : std::set<Stream*>(s->capture->members)) {
      if (member != s.get()) member->capture.reset();
    }
    s->capture.reset();
  }
  Context* c = s->context;
  while (s->doneLast < s->queuedLast && runOne(c)) {
  }
  for (size_t i = 0; i < c->streams.size(); ++i) {
    if (c->streams[i] == s) {
      c->streams.erase(c->streams.begin() + long(i));
      break;
    }
  }
  driver().streams.erase(stream);
  return 0;
}

GATUN_API int cuStreamSynchronize(Stream* stream) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  if (int e = captureForbids(in.context, s.get())) return e;
  if (s == in.context->legacy) {
    // The legacy stream's end is the end of all blocking streams.
    for (auto& other : in.context->streams) {
      if (other->blocking()) drain(other.get(), other->queuedLast);
    }
  }
  for (const Dependency& need : std::vector<Dependency>(s->pending)) {
    drain(need.stream.get(), need.number);
  }
  int e = drain(s.get(), s->queuedLast);
  trimPools();
  return e;
}

GATUN_API int cuStreamQuery(Stream* stream) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  if (int e = captureForbids(in.context, s.get())) return e;
  if (s->doneLast < s->queuedLast) {
    step(in.context);
    if (in.context->sticky) return in.context->sticky;
    return CUDA_ERROR_NOT_READY;
  }
  return 0;
}

GATUN_API int cuStreamGetFlags(Stream* stream, unsigned* flags) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  *flags = s->flags;
  return 0;
}

GATUN_API int cuStreamGetPriority(Stream* stream, int* priority) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  *priority = s->priority;
  return 0;
}

GATUN_API int cuStreamGetId(Stream* stream, unsigned long long* id) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  *id = s->id;
  return 0;
}

GATUN_API int cuStreamGetCtx(Stream* stream, Context** context) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  *context = s->context;
  return 0;
}

GATUN_API int cuLaunchHostFunc(Stream* stream, void (*fn)(void*), void* data) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  if (fn == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Work work;
  work.type = WorkType::kHost;
  work.run = [fn, data] {
    fn(data);
    return Fault();
  };
  return enqueue(s, std::move(work));
}

GATUN_API int cuStreamAddCallback(Stream* stream, void (*fn)(Stream*, int, void*), void* data,
                                  unsigned) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  if (s->capture) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  Work work;
  work.type = WorkType::kHost;
  work.run = [fn, stream, data] {
    fn(stream, 0, data);
    return Fault();
  };
  return enqueue(s, std::move(work));
}

/* ---- events ---- */

GATUN_API int cuEventCreate(Event** event, unsigned flags) {
  GATUN_ENTER();
  if (event == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto* e = new Event();
  e->context = in.context;
  e->flags = flags;
  driver().handles.insert(e);
  *event = e;
  return 0;
}

#define GATUN_EVENT(e) \
  if (driver().handles.count(e) == 0) return CUDA_ERROR_INVALID_HANDLE

GATUN_API int cuEventDestroy_v2(Event* event) {
  GATUN_ENTER(Entry::kAnyContext);
  GATUN_EVENT(event);
  driver().handles.erase(event);
  delete event;
  return 0;
}

GATUN_API int cuEventRecord(Event* event, Stream* stream) {
  GATUN_ENTER();
  GATUN_EVENT(event);
  GATUN_STREAM(stream);
  if (event->context != s->context) return CUDA_ERROR_INVALID_HANDLE;
  if (s->capture) {
    event->captured = true;
    event->capture = s->capture;
    event->captureTail = s->captureTail;
    return 0;
  }
  event->captured = false;
  event->capture.reset();
  event->captureTail.clear();
  auto nanos = std::make_shared<int64_t>(0);
  Work work;
  work.type = WorkType::kEventRecord;
  work.run = [nanos] {
    *nanos = nowNanos();
    return Fault();
  };
  if (int e = enqueue(s, std::move(work))) return e;
  event->recorded = true;
  event->stream = s;
  event->number = s->queuedLast;
  event->nanos = nanos;
  return 0;
}

GATUN_API int cuEventRecordWithFlags(Event* event, Stream* stream, unsigned flags) {
  // 1 external: a node of its own in a capture, which is not emulated.
  if (flags != 0) {
    GATUN_ENTER();
    GATUN_STREAM(stream);
    if (s->capture) return CUDA_ERROR_NOT_SUPPORTED;
  }
  return cuEventRecord(event, stream);
}

GATUN_API int cuEventQuery(Event* event) {
  GATUN_ENTER();
  GATUN_EVENT(event);
  if (auto capture = event->capture.lock()) {
    capture->invalid = true;
    return CUDA_ERROR_CAPTURED_EVENT;
  }
  if (event->captured) return CUDA_ERROR_CAPTURED_EVENT;
  if (event->done()) return 0;
  step(in.context);
  return in.context->sticky ? in.context->sticky : int(CUDA_ERROR_NOT_READY);
}

GATUN_API int cuEventSynchronize(Event* event) {
  GATUN_ENTER();
  GATUN_EVENT(event);
  if (auto capture = event->capture.lock()) {
    capture->invalid = true;
    return CUDA_ERROR_CAPTURED_EVENT;
  }
  if (event->captured) return CUDA_ERROR_CAPTURED_EVENT;
  int e = event->recorded ? drain(event->stream.get(), event->number) : 0;
  trimPools();
  return e;
}

GATUN_API int cuEventElapsedTime(float* millis, Event* start, Event* end) {
  GATUN_ENTER();
  GATUN_EVENT(start);
  GATUN_EVENT(end);
  if (millis == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (!start->recorded || !end->recorded || ((start->flags | end->flags) & 2)) {
    return CUDA_ERROR_INVALID_HANDLE;
  }
  if (!start->done() || !end->done()) return CUDA_ERROR_NOT_READY;
  *millis = float(double(*end->nanos - *start->nanos) * 1e-6);
  return 0;
}
GATUN_API int cuEventElapsedTime_v2(float* millis, Event* start, Event* end) {
  return cuEventElapsedTime(millis, start, end);
}

GATUN_API int cuStreamWaitEvent(Stream* stream, Event* event, unsigned) {
  GATUN_ENTER();
  GATUN_EVENT(event);
  GATUN_STREAM(stream);
  if (auto capture = event->capture.lock()) {
    if (s->capture && s->capture != capture) return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
    if (!s->capture) {
      // The stream joins the capture that the event comes from.
      s->capture = capture;
      s->captureTail.clear();
      capture->members.insert(s.get());
    }
    for (GraphNode* node : event->captureTail) {
      bool known = false;
      for (GraphNode* have : s->captureTail) known |= have == node;
      if (!known) s->captureTail.push_back(node);
    }
    return 0;
  }
  if (event->captured) return CUDA_ERROR_CAPTURED_EVENT;
  if (!event->recorded) return 0;
  if (s->capture) {
    s->capture->invalid = true;
    return CUDA_ERROR_STREAM_CAPTURE_ISOLATION;
  }
  if (!event->done()) s->pending.push_back({event->stream, event->number});
  return 0;
}
