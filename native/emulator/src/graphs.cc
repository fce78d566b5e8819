// graphs.cc - capture, graphs, replay.
#include "driver.h"
#include "graph_launch.h"

namespace gatun {

Fault runGraph(const GraphExec& exec) {
  size_t n = exec.works.size();
  std::vector<size_t> missing(n), ready;
  std::vector<std::vector<size_t>> followers(n);
  for (size_t i = 0; i < n; ++i) {
    missing[i] = exec.needs[i].size();
    for (size_t need : exec.needs[i]) followers[need].push_back(i);
    if (missing[i] == 0) ready.push_back(i);
  }
  while (!ready.empty()) {
    // Nodes without an edge between them run in the drawn order.
    size_t at = order() == Order::kFifo ? 0
                : order() == Order::kLifo ? ready.size() - 1
                                          : size_t(nextRandom() % ready.size());
    size_t i = ready[at];
    ready.erase(ready.begin() + long(at));
    Fault fault = exec.works[i].execute();
    if (fault.code != 0) return fault;
    for (size_t next : followers[i]) {
      if (--missing[next] == 0) ready.push_back(next);
    }
  }
  return {};
}

}  // namespace gatun

using namespace gatun;

namespace {

void leaveCapture(Capture* capture) {
  driver().captures.erase(capture);
  for (Stream* member : std::set<Stream*>(capture->members)) {
    member->captureTail.clear();
    if (member != capture->origin) member->capture.reset();
  }
  capture->origin->capture.reset();
}

bool reaches(const std::vector<GraphNode*>& from, const GraphNode* to,
             std::set<const GraphNode*>& seen) {
  for (const GraphNode* node : from) {
    if (node == to) return true;
    if (seen.insert(node).second && reaches(node->needs, to, seen)) return true;
  }
  return false;
}

bool joined(Capture* capture, const std::vector<GraphNode*>& tail) {
  for (Stream* member : capture->members) {
    for (const GraphNode* node : member->captureTail) {
      std::set<const GraphNode*> seen;
      if (!reaches(tail, node, seen)) return false;
    }
  }
  return true;
}

std::shared_ptr<Graph> graphOf(const Graph* handle) {
  auto found = driver().graphs.find(handle);
  return found == driver().graphs.end() ? nullptr : found->second;
}

}  // namespace

#define GATUN_STREAM(handle)                                \
  std::shared_ptr<Stream> s = streamOf(in.context, handle); \
  if (!s) return CUDA_ERROR_INVALID_HANDLE
#define GATUN_GRAPH(handle)                     \
  std::shared_ptr<Graph> graph = graphOf(handle); \
  if (!graph) return CUDA_ERROR_INVALID_VALUE

GATUN_API int cuStreamBeginCapture_v2(Stream* stream, int mode) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  if (mode < 0 || mode > 2) return CUDA_ERROR_INVALID_VALUE;
  // The legacy stream cannot be captured.
  if (s == in.context->legacy) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (s->capture) return CUDA_ERROR_INVALID_VALUE;
  auto capture = std::make_shared<Capture>();
  capture->origin = s.get();
  capture->mode = mode;
  capture->thread = threadId();
  capture->id = ++driver().ids;
  capture->members.insert(s.get());
  s->capture = capture;
  s->captureTail.clear();
  driver().captures.insert(capture.get());
  return 0;
}

GATUN_API int cuStreamEndCapture(Stream* stream, Graph** out) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *out = nullptr;
  if (!s->capture) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Capture> capture = s->capture;
  if (capture->origin != s.get()) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  if (capture->mode != 2 && capture->thread != threadId()) {
    return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
  }
  bool whole = joined(capture.get(), s->captureTail);
  leaveCapture(capture.get());
  if (capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (!whole) return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
  driver().graphs[capture->graph.get()] = capture->graph;
  *out = capture->graph.get();
  return 0;
}

GATUN_API int cuStreamIsCapturing(Stream* stream, int* status) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  *status = !s->capture ? 0 : s->capture->invalid ? 2 : 1;
  return 0;
}

GATUN_API int cuStreamGetCaptureInfo_v2(Stream* stream, int* status, unsigned long long* id,
                                        Graph** graph, GraphNode*** needs, size_t* count) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  if (status) *status = !s->capture ? 0 : s->capture->invalid ? 2 : 1;
  if (!s->capture) return 0;
  if (id) *id = s->capture->id;
  if (graph) *graph = s->capture->graph.get();
  if (needs) *needs = s->captureTail.data();
  if (count) *count = s->captureTail.size();
  return 0;
}

GATUN_API int cuThreadExchangeStreamCaptureMode(int* mode) {
  static thread_local int mine = 0;
  if (mode == nullptr || *mode < 0 || *mode > 2) return CUDA_ERROR_INVALID_VALUE;
  std::swap(mine, *mode);
  return 0;
}

GATUN_API int cuGraphCreate(Graph** out, unsigned) {
  GATUN_ENTER(Entry::kInit);
  auto graph = std::make_shared<Graph>();
  driver().graphs[graph.get()] = graph;
  *out = graph.get();
  return 0;
}

GATUN_API int cuGraphDestroy(Graph* handle) {
  GATUN_ENTER(Entry::kInit);
  return driver().graphs.erase(handle) ? 0 : CUDA_ERROR_INVALID_VALUE;
}

GATUN_API int cuGraphGetNodes(Graph* handle, GraphNode** nodes, size_t* count) {
  GATUN_ENTER(Entry::kInit);
  GATUN_GRAPH(handle);
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (nodes != nullptr) {
    for (size_t i = 0; i < *count; ++i) {
      nodes[i] = i < graph->nodes.size() ? graph->nodes[i].get() : nullptr;
    }
    if (*count > graph->nodes.size()) *count = graph->nodes.size();
  } else {
    *count = graph->nodes.size();
  }
  return 0;
}

GATUN_API int cuGraphNodeGetType(GraphNode* node, int* type) {
  GATUN_ENTER(Entry::kInit);
  *type = int(node->work.type);
  return 0;
}

GATUN_API int cuGraphNodeGetDependencies(GraphNode* node, GraphNode** needs, size_t* count) {
  GATUN_ENTER(Entry::kInit);
  if (needs != nullptr) {
    for (size_t i = 0; i < *count; ++i) needs[i] = i < node->needs.size() ? node->needs[i] : nullptr;
  }
  *count = node->needs.size();
  return 0;
}

namespace {
int addNode(const std::shared_ptr<Graph>& graph, GraphNode** out, GraphNode* const* needs,
            size_t count, Work work) {
  if (out == nullptr || (count > 0 && needs == nullptr)) return CUDA_ERROR_INVALID_VALUE;
  auto node = std::make_unique<GraphNode>();
  node->graph = graph.get();
  node->work = std::move(work);
  for (size_t i = 0; i < count; ++i) {
    if (needs[i] == nullptr || needs[i]->graph != graph.get()) return CUDA_ERROR_INVALID_VALUE;
    node->needs.push_back(needs[i]);
  }
  *out = node.get();
  graph->nodes.push_back(std::move(node));
  return 0;
}

// CUDA_KERNEL_NODE_PARAMS_v2
struct KernelNodeParams {
  Function* function;
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes;
  void** parameters;
  void** extra;
  void* kernel;
  void* context;
};

/** In the mode of the launch that *out holds, if any. */
int launchOf(const KernelNodeParams* p, std::shared_ptr<KernelLaunch>* out) {
  if (p == nullptr) return CUDA_ERROR_INVALID_VALUE;
  LaunchMode mode;
  if (*out) mode = {(*out)->cooperative, (*out)->cluster};
  return prepareLaunch(p->function, {p->gridX, p->gridY, p->gridZ},
                       {p->blockX, p->blockY, p->blockZ}, p->sharedBytes, mode, p->parameters,
                       p->extra, out);
}
}  // namespace

GATUN_API int cuGraphAddKernelNode_v2(GraphNode** out, Graph* handle, GraphNode* const* needs,
                                      size_t count, const KernelNodeParams* p) {
  GATUN_ENTER();
  GATUN_GRAPH(handle);
  Work work;
  work.type = WorkType::kKernel;
  if (int e = launchOf(p, &work.launch)) return e;
  return addNode(graph, out, needs, count, std::move(work));
}

GATUN_API int cuGraphAddEmptyNode(GraphNode** out, Graph* handle, GraphNode* const* needs,
                                  size_t count) {
  GATUN_ENTER();
  GATUN_GRAPH(handle);
  return addNode(graph, out, needs, count, Work());
}

GATUN_API int cuGraphInstantiateWithFlags(GraphExec** out, Graph* handle, unsigned long long) {
  GATUN_ENTER();
  GATUN_GRAPH(handle);
  if (out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto exec = std::make_shared<GraphExec>();
  for (size_t i = 0; i < graph->nodes.size(); ++i) exec->indexOf[graph->nodes[i].get()] = i;
  for (auto& node : graph->nodes) {
    Work work = node->work;
    // Its own copy: parameters of the instance may be set without touching the graph.
    if (work.launch) {
      auto copy = std::make_shared<KernelLaunch>(*work.launch);
      auto* from = work.launch->storage.data();
      for (size_t i = 0; i < copy->arguments.size(); ++i) {
        auto word = static_cast<uint64_t*>(work.launch->arguments[i]) - from;
        copy->arguments[i] = copy->storage.data() + word;
      }
      work.launch = copy;
    }
    exec->works.push_back(std::move(work));
    std::vector<size_t> needs;
    for (GraphNode* need : node->needs) needs.push_back(exec->indexOf.at(need));
    exec->needs.push_back(std::move(needs));
  }
  driver().execs[exec.get()] = exec;
  *out = exec.get();
  return 0;
}

GATUN_API int cuGraphInstantiate_v2(GraphExec** out, Graph* graph, GraphNode** bad, char* log,
                                    size_t length) {
  if (bad) *bad = nullptr;
  if (log && length) *log = 0;
  return cuGraphInstantiateWithFlags(out, graph, 0);
}

GATUN_API int cuGraphExecKernelNodeSetParams_v2(GraphExec* handle, GraphNode* node,
                                                const KernelNodeParams* p) {
  GATUN_ENTER();
  auto found = driver().execs.find(handle);
  if (found == driver().execs.end()) return CUDA_ERROR_INVALID_VALUE;
  auto index = found->second->indexOf.find(node);
  if (index == found->second->indexOf.end()) return CUDA_ERROR_INVALID_VALUE;
  // Launches already queued keep the parameters they had.
  drainAll(in.context);
  return launchOf(p, &found->second->works[index->second].launch);
}

GATUN_API int cuGraphUpload(GraphExec* handle, Stream*) {
  GATUN_ENTER();
  return driver().execs.count(handle) ? 0 : CUDA_ERROR_INVALID_VALUE;
}

GATUN_API int cuGraphLaunch(GraphExec* handle, Stream* stream) {
  GATUN_ENTER();
  GATUN_STREAM(stream);
  auto found = driver().execs.find(handle);
  if (found == driver().execs.end()) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<GraphExec> exec = found->second;
  Work work;
  work.type = WorkType::kGraph;
  work.run = [exec] { return runGraph(*exec); };
  return enqueue(s, std::move(work));
}

GATUN_API int cuGraphExecDestroy(GraphExec* handle) {
  GATUN_ENTER(Entry::kInit);
  return driver().execs.erase(handle) ? 0 : CUDA_ERROR_INVALID_VALUE;
}
