// memory.h - device memory: one mapping per allocation, between guard pages.
#ifndef GATUN_MEMORY_H_
#define GATUN_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace gatun {

struct Context;

struct Allocation {
  uintptr_t begin;
  size_t bytes;
  uintptr_t low;   // the accessible pages: [low, high)
  uintptr_t high;
  Context* context;
  bool host;       // page-locked host memory
};

/** Zero when out of memory. New memory holds 0xFF bytes, unless GATUN_EMU_POISON=0. */
uintptr_t allocate(Context* context, size_t bytes, bool host);
/** False when no allocation begins there. A broken canary is told in *complaint. */
bool release(uintptr_t begin, std::string* complaint);
void releaseAll(Context* context);

/** The allocation that holds [address, address + bytes), or null. */
const Allocation* find(uintptr_t address, size_t bytes);

void registerHost(uintptr_t begin, size_t bytes);
bool unregisterHost(uintptr_t begin);
/** Page-locked host memory holds all of it: copies may be deferred. */
bool isPinned(uintptr_t address, size_t bytes);

size_t freeBytes();
size_t totalBytes();

/** "12 bytes past the end of a 4096-byte allocation", as well as it can be said. */
std::string describeAddress(uintptr_t address);

/** What fills the slack beside an allocation: a NaN to whoever reads it. */
void fillCanary(char* low, char* high);
/** The first changed byte, or null. */
const char* canaryBroken(const char* low, const char* high);
/** Checks the slack of every allocation; empty when all is well. */
std::string checkCanaries();

}  // namespace gatun

#endif
