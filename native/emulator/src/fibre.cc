#include "fibre.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

asm(R"(
.text
.p2align 4
.globl gatun_fibre_switch
.hidden gatun_fibre_switch
.type gatun_fibre_switch,@function
gatun_fibre_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
.globl gatun_fibre_resume
.hidden gatun_fibre_resume
.type gatun_fibre_resume,@function
gatun_fibre_resume:
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size gatun_fibre_switch, .-gatun_fibre_switch
)");

namespace gatun {
namespace {

constexpr size_t kPage = 4096;
constexpr uint64_t kCanary = 0x5afeba5e5afeba5eull;
constexpr size_t kBatch = 64;

void (*fibreEntry)();

struct Pool {
  std::vector<Fibre*> all;
  Fibre* idle = nullptr;
  size_t guardedLeft = 0;
  size_t stack = 64 * 1024;
  Pool() {
    if (const char* kb = getenv("GATUN_EMU_STACK_KB")) {
      long v = atol(kb);
      if (v >= 16 && v <= 65536) stack = size_t(v + 3) / 4 * kPage;
    }
    // Each guard page costs two mappings; leave three quarters to the allocations and the process.
    long maps = 65530;
    if (FILE* f = fopen("/proc/sys/vm/max_map_count", "r")) {
      if (fscanf(f, "%ld", &maps) != 1) maps = 65530;
      fclose(f);
    }
    guardedLeft = size_t(maps) / 8;
  }
};

Pool& pool() {
  static Pool* p = new Pool();  // never destroyed: threads may run during exit
  return *p;
}

void startAnew(Fibre* f) {
  auto* top = reinterpret_cast<uint64_t*>(f->stack + pool().stack - f->shift);
  top -= 8;
  memset(top, 0, 8 * sizeof(uint64_t));
  top[6] = reinterpret_cast<uint64_t>(fibreEntry);  // popped by ret; top[7] ends any backtrace
  f->sp = top;
  if (!f->guarded) *reinterpret_cast<uint64_t*>(f->stack) = kCanary;
}

bool grow() {
  Pool& p = pool();
  size_t each = p.stack + kPage;
  void* region = mmap(nullptr, each * kBatch, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (region == MAP_FAILED) return false;
  for (size_t i = kBatch; i-- > 0;) {
    auto* f = new Fibre();
    char* low = static_cast<char*>(region) + i * each;
    f->stack = low + kPage;
    if (p.guardedLeft > 0 && mprotect(low, kPage, PROT_NONE) == 0) {
      f->guarded = true;
      --p.guardedLeft;
    }
    // Frames at different offsets in their pages: else all compete for a few cache sets.
    f->shift = unsigned(p.all.size() % 32) * 128;
    startAnew(f);
    p.all.push_back(f);
    f->nextIdle = p.idle;
    p.idle = f;
  }
  return true;
}

}  // namespace

size_t stackBytes() { return pool().stack; }

void setFibreEntry(void (*entry)()) { fibreEntry = entry; }

Fibre* takeFibre() {
  Pool& p = pool();
  if (p.idle == nullptr && !grow()) return nullptr;
  Fibre* f = p.idle;
  p.idle = f->nextIdle;
  return f;
}

void idleFibre(Fibre* f) {
  Pool& p = pool();
  f->nextIdle = p.idle;
  p.idle = f;
}

void resetFibres() {
  Pool& p = pool();
  p.idle = nullptr;
  for (size_t i = p.all.size(); i-- > 0;) {
    startAnew(p.all[i]);
    idleFibre(p.all[i]);
  }
}

bool stackSmashed(const Fibre* f) {
  return !f->guarded && *reinterpret_cast<uint64_t*>(f->stack) != kCanary;
}

const Fibre* guardOwner(uintptr_t address) {
  for (const Fibre* f : pool().all) {
    uintptr_t low = reinterpret_cast<uintptr_t>(f->stack);
    if (f->guarded && address >= low - kPage && address < low) return f;
  }
  return nullptr;
}

}  // namespace gatun
