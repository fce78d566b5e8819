// modules.cc - host images of kernels, functions, launches.
#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "graph_launch.h"
#include "memory.h"

namespace gatun {

Module::~Module() {
  for (auto& f : functions) delete f.second;
  forgetSharedArrays();
  if (library == nullptr) return;
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  dlclose(library);
  // A library that stays mapped keeps its number, or the next one under it would be taken for it.
  void* still = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
  if (still != nullptr) {
    dlclose(still);
  } else {
    close(fd);
  }
}

Fault KernelLaunch::run() const {
  LaunchSpec spec{};
  spec.name = function->kernel->name;
  spec.entry = function->kernel->thunk;
  spec.arguments = arguments.data();
  spec.self = module->table->self;
  spec.grid = grid;
  spec.block = block;
  spec.cluster = cluster;
  spec.maxDynamicShared = maxDynamicShared;
  spec.sharedBytes = sharedBytes;
  spec.cooperative = cooperative;
  return runKernel(spec);
}

namespace {

struct ElfImage {
  size_t bytes;
  int machine;
};

/** Zero bytes when it is no ELF file. The caller gives no length: the headers say it. */
ElfImage elfOf(const void* image) {
  auto* h = static_cast<const Elf64_Ehdr*>(image);
  if (memcmp(h->e_ident, ELFMAG, SELFMAG) != 0 || h->e_ident[EI_CLASS] != ELFCLASS64) return {0, 0};
  auto* base = static_cast<const char*>(image);
  size_t end = sizeof *h;
  auto cover = [&end](size_t to) {
    if (to > end) end = to;
  };
  cover(h->e_shoff + size_t(h->e_shentsize) * h->e_shnum);
  cover(h->e_phoff + size_t(h->e_phentsize) * h->e_phnum);
  for (unsigned i = 0; i < h->e_phnum; ++i) {
    auto* p = reinterpret_cast<const Elf64_Phdr*>(base + h->e_phoff + size_t(i) * h->e_phentsize);
    cover(p->p_offset + p->p_filesz);
  }
  return {end, h->e_machine};
}

int load(Context* c, const void* image, Module** out) {
  if (image == nullptr || out == nullptr) return CUDA_ERROR_INVALID_VALUE;
  unsigned magic;
  memcpy(&magic, image, 4);
  // A fatbin or its wrapper, PTX text: images for a real GPU.
  if (magic == 0xba55ed50u || magic == 0x466243b1u) return CUDA_ERROR_NO_BINARY_FOR_GPU;
  auto* text = static_cast<const char*>(image);
  if (strncmp(text, "//", 2) == 0 || strncmp(text, ".version", 8) == 0) {
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
  }
  ElfImage elf = elfOf(image);
  if (elf.bytes == 0) return CUDA_ERROR_INVALID_IMAGE;
  if (elf.machine != EM_X86_64) return CUDA_ERROR_NO_BINARY_FOR_GPU;
  auto module = std::make_shared<Module>();
  int fd = memfd_create("gatun-kernels", MFD_CLOEXEC);
  if (fd < 0) return CUDA_ERROR_OUT_OF_MEMORY;
  for (size_t done = 0; done < elf.bytes;) {
    ssize_t n = write(fd, text + done, elf.bytes - done);
    if (n <= 0) {
      close(fd);
      return CUDA_ERROR_OUT_OF_MEMORY;
    }
    done += size_t(n);
  }
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  void* library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    driver().lastFault = std::string("cuModuleLoadData: ") + dlerror();
    close(fd);
    return CUDA_ERROR_INVALID_IMAGE;
  }
  module->library = library;
  module->fd = fd;
  using Open = const GatunEmuModule* (*)(const GatunEmuRuntime*);
  auto open = reinterpret_cast<Open>(dlsym(library, "gatun_emu_module"));
  if (open != nullptr) module->table = open(runtimeTable());
  if (module->table == nullptr || module->table->abi != GATUN_EMU_ABI) {
    driver().lastFault = "cuModuleLoadData: not built with this emulator's gatun_emulator.h";
    return CUDA_ERROR_INVALID_IMAGE;
  }
  for (const GatunEmuKernel* k = module->table->kernels; k != nullptr; k = k->next) {
    auto* f = new Function();
    f->kernel = k;
    module->functions[k->name] = f;
    driver().handles.insert(f);
  }
  c->modules.insert(module);
  driver().modules[module.get()] = module;
  *out = module.get();
  return 0;
}

std::shared_ptr<Module> moduleOf(const Module* handle) {
  auto found = driver().modules.find(handle);
  return found == driver().modules.end() ? nullptr : found->second;
}

bool known(const Function* f) { return f != nullptr && driver().handles.count(f) != 0; }

constexpr uint64_t kThreadsPerMultiprocessor = 2048;
constexpr uint64_t kMultiprocessors = 132;
constexpr uint64_t kMultiprocessorsTogether = 16;  // what one cluster can spread over
constexpr uint64_t kPortableCluster = 8, kLargestCluster = 16;
constexpr int kMostDynamicShared = 232448;

int blocksPerMultiprocessor(uint64_t threads, uint64_t shared) {
  if (threads == 0) return 0;
  uint64_t byThreads = kThreadsPerMultiprocessor / ((threads + 31) / 32 * 32);
  uint64_t byShared = 233472 / (shared + 1024);
  uint64_t n = byThreads < byShared ? byThreads : byShared;
  return int(n < 32 ? n : 32);
}

}  // namespace

std::shared_ptr<Module> ownerOf(const Function* f) {
  for (auto& m : driver().modules) {
    auto found = m.second->functions.find(f->kernel->name);
    if (found != m.second->functions.end() && found->second == f) return m.second;
  }
  return nullptr;
}

int prepareLaunch(Function* f, dim3 grid, dim3 block, unsigned sharedBytes, LaunchMode mode,
                  void** parameters, void** extra, std::shared_ptr<KernelLaunch>* out) {
  if (!known(f)) return CUDA_ERROR_INVALID_HANDLE;
  const GatunEmuKernel& k = *f->kernel;
  uint64_t threads = uint64_t(block.x) * block.y * block.z;
  if (grid.x == 0 || grid.y == 0 || grid.z == 0 || threads == 0 || grid.x > 2147483647u ||
      grid.y > 65535 || grid.z > 65535 || block.x > 1024 || block.y > 1024 || block.z > 64 ||
      threads > 1024) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (k.maxThreads != 0 && threads > k.maxThreads) return CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES;
  if (sharedBytes > unsigned(f->maxDynamicShared)) return CUDA_ERROR_INVALID_VALUE;
  const dim3 cluster = mode.cluster;
  if (cluster.x == 0 || cluster.y == 0 || cluster.z == 0 || grid.x % cluster.x != 0 ||
      grid.y % cluster.y != 0 || grid.z % cluster.z != 0) {
    return CUDA_ERROR_INVALID_VALUE;
  }
  if (uint64_t(cluster.x) * cluster.y * cluster.z >
      (f->largeClusters ? kLargestCluster : kPortableCluster)) {
    return CUDA_ERROR_INVALID_CLUSTER_SIZE;
  }
  if (mode.cooperative &&
      uint64_t(grid.x) * grid.y * grid.z >
          kMultiprocessors * unsigned(blocksPerMultiprocessor(threads, sharedBytes))) {
    return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
  }
  auto launch = std::make_shared<KernelLaunch>();
  launch->function = f;
  launch->module = ownerOf(f);
  launch->grid = grid;
  launch->block = block;
  launch->sharedBytes = sharedBytes;
  launch->maxDynamicShared = unsigned(f->maxDynamicShared);
  launch->cooperative = mode.cooperative;
  launch->cluster = cluster;
  const char* buffer = nullptr;
  size_t bufferBytes = 0;
  if (parameters == nullptr && extra != nullptr) {
    // Pairs of a tag and a value: 1 the buffer, 2 a pointer to its size, 0 the end.
    for (void** e = extra; *e != nullptr; e += 2) {
      if (*e == reinterpret_cast<void*>(1)) buffer = static_cast<const char*>(e[1]);
      if (*e == reinterpret_cast<void*>(2)) bufferBytes = *static_cast<size_t*>(e[1]);
    }
  }
  if (k.count > 0 && parameters == nullptr && buffer == nullptr) return CUDA_ERROR_INVALID_VALUE;
  size_t words = 0;
  for (unsigned i = 0; i < k.count; ++i) words += (k.sizes[i] + 15) / 16 * 2;
  launch->storage.assign(words + 2, 0);
  auto base = reinterpret_cast<uintptr_t>(launch->storage.data());
  auto* slot = launch->storage.data() + (base % 16 ? 1 : 0);
  size_t offset = 0;
  for (unsigned i = 0; i < k.count; ++i) {
    const void* from;
    if (parameters != nullptr) {
      from = parameters[i];
      if (from == nullptr) return CUDA_ERROR_INVALID_VALUE;
    } else {
      offset = (offset + k.aligns[i] - 1) / k.aligns[i] * k.aligns[i];
      if (offset + k.sizes[i] > bufferBytes) return CUDA_ERROR_INVALID_VALUE;
      from = buffer + offset;
      offset += k.sizes[i];
    }
    memcpy(slot, from, k.sizes[i]);
    launch->arguments.push_back(slot);
    slot += (k.sizes[i] + 15) / 16 * 2;
  }
  *out = std::move(launch);
  return 0;
}

}  // namespace gatun

using namespace gatun;

GATUN_API int cuModuleLoadData(Module** module, const void* image) {
  GATUN_ENTER();
  return load(in.context, image, module);
}
GATUN_API int cuModuleLoadDataEx(Module** module, const void* image, unsigned, int*, void**) {
  return cuModuleLoadData(module, image);
}
GATUN_API int cuModuleLoadFatBinary(Module** module, const void* image) {
  return cuModuleLoadData(module, image);
}
GATUN_API int cuModuleLoad(Module** module, const char* path) {
  GATUN_ENTER();
  FILE* f = path ? fopen(path, "rb") : nullptr;
  if (f == nullptr) return CUDA_ERROR_FILE_NOT_FOUND;
  std::vector<char> image;
  char part[65536];
  for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;) image.insert(image.end(), part, part + n);
  fclose(f);
  if (image.size() < sizeof(Elf64_Ehdr)) return CUDA_ERROR_INVALID_IMAGE;
  return load(in.context, image.data(), module);
}

GATUN_API int cuModuleUnload(Module* handle) {
  GATUN_ENTER(Entry::kAnyContext);
  std::shared_ptr<Module> module = moduleOf(handle);
  if (!module) return CUDA_ERROR_INVALID_HANDLE;
  drainAll(in.context);
  for (auto& f : module->functions) driver().handles.erase(f.second);
  driver().modules.erase(handle);
  for (Context* c : driver().contexts) c->modules.erase(module);
  return 0;
}

GATUN_API int cuModuleGetFunction(Function** function, Module* handle, const char* name) {
  GATUN_ENTER();
  std::shared_ptr<Module> module = moduleOf(handle);
  if (!module) return CUDA_ERROR_INVALID_HANDLE;
  if (function == nullptr || name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto found = module->functions.find(name);
  if (found == module->functions.end()) return CUDA_ERROR_NOT_FOUND;
  *function = found->second;
  return 0;
}

GATUN_API int cuModuleGetGlobal_v2(unsigned long long* p, size_t* bytes, Module* handle,
                                   const char* name) {
  GATUN_ENTER();
  std::shared_ptr<Module> module = moduleOf(handle);
  if (!module) return CUDA_ERROR_INVALID_HANDLE;
  // Copies to it would need its size, which only the module's own symbol table has.
  if (p) *p = 0;
  if (bytes) *bytes = 0;
  return name && dlsym(module->library, name) ? CUDA_ERROR_NOT_SUPPORTED : CUDA_ERROR_NOT_FOUND;
}

GATUN_API int cuModuleGetLoadingMode(int* mode) {
  *mode = 1;
  return 0;
}

GATUN_API int cuFuncGetModule(Module** module, Function* f) {
  GATUN_ENTER();
  if (!known(f)) return CUDA_ERROR_INVALID_HANDLE;
  *module = ownerOf(f).get();
  return 0;
}

GATUN_API int cuFuncGetName(const char** name, Function* f) {
  GATUN_ENTER();
  if (!known(f)) return CUDA_ERROR_INVALID_HANDLE;
  *name = f->kernel->name;
  return 0;
}

GATUN_API int cuFuncGetParamInfo(Function* f, size_t index, size_t* offset, size_t* bytes) {
  GATUN_ENTER();
  if (!known(f)) return CUDA_ERROR_INVALID_HANDLE;
  const GatunEmuKernel& k = *f->kernel;
  if (index >= k.count) return CUDA_ERROR_INVALID_VALUE;
  size_t at = 0;
  for (size_t i = 0; i <= index; ++i) {
    at = (at + k.aligns[i] - 1) / k.aligns[i] * k.aligns[i];
    if (i < index) at += k.sizes[i];
  }
  if (offset) *offset = at;
  if (bytes) *bytes = k.sizes[index];
  return 0;
}

GATUN_API int cuFuncGetAttribute(int* value, int attribute, Function* f) {
  GATUN_ENTER();
  if (!known(f)) return CUDA_ERROR_INVALID_HANDLE;
  switch (attribute) {
    case 0: *value = f->kernel->maxThreads ? int(f->kernel->maxThreads) : 1024; return 0;
    case 1: case 2: case 3: *value = 0; return 0;  // static shared, constant, local bytes: not known
    case 4: *value = 32; return 0;                  // registers
    case 5: case 6: *value = 90; return 0;          // PTX and binary version
    case 7: *value = 0; return 0;
    case 8: *value = f->maxDynamicShared; return 0;
    case 9: *value = -1; return 0;
    case 14: *value = f->largeClusters; return 0;
    default: return attribute > 0 && attribute < 16 ? (*value = 0, 0) : int(CUDA_ERROR_INVALID_VALUE);
  }
}

GATUN_API int cuFuncSetAttribute(Function* f, int attribute, int value) {
  GATUN_ENTER();
  if (!known(f)) return CUDA_ERROR_INVALID_HANDLE;
  if (attribute == 8) {
    if (value < 0 || value > kMostDynamicShared) return CUDA_ERROR_INVALID_VALUE;
    f->maxDynamicShared = value;
  }
  if (attribute == 14) f->largeClusters = value != 0;
  return attribute >= 8 && attribute <= 15 ? 0 : CUDA_ERROR_INVALID_VALUE;
}

GATUN_API int cuFuncSetCacheConfig(Function* f, int) {
  GATUN_ENTER();
  return known(f) ? 0 : CUDA_ERROR_INVALID_HANDLE;
}

GATUN_API int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, Function* f, int threads,
                                                          size_t shared) {
  GATUN_ENTER();
  if (!known(f)) return CUDA_ERROR_INVALID_HANDLE;
  if (threads <= 0 || threads > 1024) return CUDA_ERROR_INVALID_VALUE;
  *blocks = blocksPerMultiprocessor(uint64_t(threads), shared);
  return 0;
}
GATUN_API int cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, Function* f,
                                                                   int threads, size_t shared,
                                                                   unsigned) {
  return cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, f, threads, shared);
}

namespace {
int launch(Entry& in, Function* f, dim3 grid, dim3 block, unsigned shared, Stream* stream,
           LaunchMode mode, void** parameters, void** extra) {
  std::shared_ptr<Stream> s = streamOf(in.context, stream);
  if (!s) return CUDA_ERROR_INVALID_HANDLE;
  Work work;
  work.type = WorkType::kKernel;
  if (int e = prepareLaunch(f, grid, block, shared, mode, parameters, extra, &work.launch)) {
    return e;
  }
  return enqueue(s, std::move(work));
}

// CUlaunchConfig and CUlaunchAttribute: 64-byte values behind an id.
struct LaunchAttribute {
  int id;
  char pad[4];
  union {
    char bytes[64];
    int cooperative;
    struct {
      unsigned x, y, z;
    } cluster;
  } value;
};
struct LaunchConfig {
  unsigned gridX, gridY, gridZ, blockX, blockY, blockZ, sharedBytes;
  Stream* stream;
  LaunchAttribute* attributes;
  unsigned count;
};

LaunchMode modeOf(const LaunchConfig& config) {
  LaunchMode mode;
  for (unsigned i = 0; i < config.count; ++i) {
    const LaunchAttribute& a = config.attributes[i];
    if (a.id == 2) mode.cooperative = a.value.cooperative != 0;
    if (a.id == 4) mode.cluster = {a.value.cluster.x, a.value.cluster.y, a.value.cluster.z};
  }
  return mode;
}
}  // namespace

GATUN_API int cuLaunchKernel(Function* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                             unsigned by, unsigned bz, unsigned shared, Stream* stream,
                             void** parameters, void** extra) {
  GATUN_ENTER();
  return launch(in, f, {gx, gy, gz}, {bx, by, bz}, shared, stream, {}, parameters, extra);
}

GATUN_API int cuLaunchCooperativeKernel(Function* f, unsigned gx, unsigned gy, unsigned gz,
                                        unsigned bx, unsigned by, unsigned bz, unsigned shared,
                                        Stream* stream, void** parameters) {
  GATUN_ENTER();
  return launch(in, f, {gx, gy, gz}, {bx, by, bz}, shared, stream, {true, {}}, parameters,
                nullptr);
}

GATUN_API int cuLaunchKernelEx(const LaunchConfig* config, Function* f, void** parameters,
                               void** extra) {
  GATUN_ENTER();
  if (config == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return launch(in, f, {config->gridX, config->gridY, config->gridZ},
                {config->blockX, config->blockY, config->blockZ}, config->sharedBytes,
                config->stream, modeOf(*config), parameters, extra);
}

GATUN_API int cuOccupancyMaxActiveClusters(int* clusters, Function* f, const LaunchConfig* config) {
  GATUN_ENTER();
  if (!known(f)) return CUDA_ERROR_INVALID_HANDLE;
  if (clusters == nullptr || config == nullptr) return CUDA_ERROR_INVALID_VALUE;
  uint64_t threads = uint64_t(config->blockX) * config->blockY * config->blockZ;
  const dim3 cluster = modeOf(*config).cluster;
  uint64_t size = uint64_t(cluster.x) * cluster.y * cluster.z;
  if (threads == 0 || threads > 1024 || size == 0) return CUDA_ERROR_INVALID_VALUE;
  if (size > (f->largeClusters ? kLargestCluster : kPortableCluster)) {
    return CUDA_ERROR_INVALID_CLUSTER_SIZE;
  }
  uint64_t blocks = uint64_t(blocksPerMultiprocessor(threads, config->sharedBytes));
  *clusters = int(kMultiprocessors / kMultiprocessorsTogether *
                  (kMultiprocessorsTogether * blocks / size));
  return 0;
}

GATUN_API int cuOccupancyMaxPotentialClusterSize(int* size, Function* f, const LaunchConfig*) {
  GATUN_ENTER();
  if (!known(f)) return CUDA_ERROR_INVALID_HANDLE;
  if (size == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *size = int(f->largeClusters ? kLargestCluster : kPortableCluster);
  return 0;
}

namespace {
struct HostOp {
  std::string name;
  void (*fn)(void*);
  std::vector<uint64_t> argument;
};
}  // namespace

/* For libraries beside the driver: fn runs in the stream's order with a copy of the argument, its bad
 * accesses are faults. */
GATUN_API int gatunEmuEnqueueHostOp(Stream* stream, const char* name, void (*fn)(void*),
                                    const void* argument, size_t bytes) {
  GATUN_ENTER();
  std::shared_ptr<Stream> s = streamOf(in.context, stream);
  if (!s) return CUDA_ERROR_INVALID_HANDLE;
  auto op = std::make_shared<HostOp>();
  op->name = name;
  op->fn = fn;
  op->argument.assign((bytes + 7) / 8, 0);
  memcpy(op->argument.data(), argument, bytes);
  Work work;
  work.type = WorkType::kHost;
  work.run = [op] { return runGuarded(op->name.c_str(), op->fn, op->argument.data()); };
  return enqueue(s, std::move(work));
}

/* True when an allocation holds [p, p + bytes). */
GATUN_API int gatunEmuIsDevice(const void* p, size_t bytes) {
  std::unique_lock<std::recursive_mutex> lock(driver().mutex);
  return find(reinterpret_cast<uintptr_t>(p), bytes) != nullptr;
}
