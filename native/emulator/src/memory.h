// memory.h - device memory: one mapping per allocation, between guard pages.
#ifndef GATUN_MEMORY_H_
#define GATUN_MEMORY_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>

namespace gatun {

struct Context;
struct Pool;

struct Allocation {
  uintptr_t begin;
  size_t bytes;
  uintptr_t low;   // the accessible pages: [low, high)
  uintptr_t high;
  Context* context;
  bool host;       // page-locked host memory
  Pool* pool;      // null: not stream-ordered
  bool live;       // stream-ordered memory begins to live when its allocation's turn comes
  bool retired;    // its free is queued: it no longer counts as used
};

/** Zero when out of memory. New memory holds 0xFF bytes, unless GATUN_EMU_POISON=0. */
uintptr_t allocate(Context* context, size_t bytes, bool host);
/** Address and bytes are taken, but nothing is there before awaken(). */
uintptr_t reserve(Context* context, size_t bytes, Pool* pool);
bool awaken(uintptr_t begin);
void retire(uintptr_t begin);
/** False when no allocation begins there. A broken canary is told in *complaint. */
bool release(uintptr_t begin, std::string* complaint);
void releaseAll(Context* context, const std::function<void(const Allocation&)>& each);

/** The allocation that holds [address, address + bytes), or null; it need not live yet. */
const Allocation* find(uintptr_t address, size_t bytes);

/** False when some of it is registered already. */
bool registerHost(const Context* c, uintptr_t begin, size_t bytes);
bool unregisterHost(uintptr_t begin);
void unregisterAll(const Context* c);
/** Page-locked host memory holds all of it: copies may be deferred. */
bool isPinned(uintptr_t address, size_t bytes);

/** Device memory given out, without what pools keep for later. */
size_t usedBytes();
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
