#include "memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>

namespace gatun {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kPoisonLimit = size_t(64) << 20;
constexpr size_t kFreedKept = 4096;

struct Freed {
  uintptr_t begin;
  size_t bytes;
};

/** Host memory that its owner had locked, of a context. */
struct Registered {
  size_t bytes;
  const Context* context;
};

struct Heap {
  std::map<uintptr_t, Allocation> live;  // by first accessible page
  std::map<uintptr_t, Registered> registered;
  std::deque<Freed> freed;
  uintptr_t begin = 0, end = 0, cursor = 0;
  size_t used = 0;
  size_t total = size_t(8) << 30;
  size_t align = 16;
  bool atStart = false;
  bool poison = true;

  Heap() {
    if (const char* mb = getenv("GATUN_EMU_MEMORY_MB")) {
      if (atoll(mb) > 0) total = size_t(atoll(mb)) << 20;
    }
    if (const char* a = getenv("GATUN_EMU_ALIGN")) {
      size_t v = size_t(atoll(a));
      if (v >= 1 && v <= kPage && (v & (v - 1)) == 0) align = v;
    }
    if (const char* g = getenv("GATUN_EMU_GUARD")) atStart = strcmp(g, "start") == 0;
    if (const char* p = getenv("GATUN_EMU_POISON")) poison = strcmp(p, "0") != 0;
    size_t reserve = std::max(4 * total, size_t(32) << 30);
    void* p = mmap(nullptr, reserve, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED) return;
    begin = cursor = reinterpret_cast<uintptr_t>(p);
    end = begin + reserve;
  }
};

Heap& heap() {
  static Heap* h = new Heap();
  return *h;
}

/** Room for bytes and a guard page on each side. Addresses come back only when all have been used,
 *  so that a use after free finds nothing there. */
uintptr_t findRoom(Heap& h, size_t pages) {
  size_t need = pages + 2 * kPage;
  uintptr_t at = h.cursor;
  for (int round = 0; round < 2; ++round) {
    auto next = h.live.lower_bound(at);
    if (next != h.live.begin()) at = std::max(at, std::prev(next)->second.high);
    for (; next != h.live.end() && next->first < at + need; ++next) at = next->second.high;
    if (at + need <= h.end) return at;
    at = h.begin;
  }
  return 0;
}

}  // namespace

void fillCanary(char* low, char* high) {
  for (char* p = low; p < high; ++p) *p = reinterpret_cast<uintptr_t>(p) & 1 ? '\xFF' : '\xFE';
}

const char* canaryBroken(const char* low, const char* high) {
  for (const char* p = low; p < high; ++p) {
    if (*p != (reinterpret_cast<uintptr_t>(p) & 1 ? '\xFF' : '\xFE')) return p;
  }
  return nullptr;
}

namespace {

Allocation* place(Context* context, size_t bytes, bool host, Pool* pool) {
  Heap& h = heap();
  size_t pages = (bytes + kPage - 1) / kPage * kPage;
  if (h.begin == 0 || pages < bytes || bytes > h.total) return nullptr;
  if (!host && h.used + bytes > h.total) return nullptr;
  uintptr_t room = findRoom(h, pages);
  if (room == 0) return nullptr;
  uintptr_t low = room + kPage;
  uintptr_t high = low + pages;
  uintptr_t begin = h.atStart ? low : (high - bytes) & ~uintptr_t(h.align - 1);
  h.cursor = high;
  if (!host) h.used += bytes;
  return &(h.live[low] = {begin, bytes, low, high, context, host, pool, false, false});
}

bool open(Allocation& a) {
  const Heap& h = heap();
  if (mprotect(reinterpret_cast<void*>(a.low), a.high - a.low, PROT_READ | PROT_WRITE) != 0) {
    return false;
  }
  a.live = true;
  fillCanary(reinterpret_cast<char*>(a.low), reinterpret_cast<char*>(a.begin));
  fillCanary(reinterpret_cast<char*>(a.begin + a.bytes), reinterpret_cast<char*>(a.high));
  if (h.poison && a.bytes <= kPoisonLimit) memset(reinterpret_cast<void*>(a.begin), 0xFF, a.bytes);
  return true;
}

Allocation* beginningAt(uintptr_t begin) {
  Heap& h = heap();
  auto next = h.live.upper_bound(begin);
  if (next == h.live.begin()) return nullptr;
  Allocation& a = std::prev(next)->second;
  return a.begin == begin ? &a : nullptr;
}

void uncount(Allocation& a) {
  if (!a.host && !a.retired) heap().used -= a.bytes;
  a.retired = true;
}

}  // namespace

uintptr_t allocate(Context* context, size_t bytes, bool host) {
  Allocation* a = place(context, bytes, host, nullptr);
  if (a == nullptr) return 0;
  if (!open(*a)) {
    uncount(*a);
    heap().live.erase(a->low);
    return 0;
  }
  return a->begin;
}

uintptr_t reserve(Context* context, size_t bytes, Pool* pool) {
  Allocation* a = place(context, bytes, false, pool);
  return a == nullptr ? 0 : a->begin;
}

bool awaken(uintptr_t begin) {
  Allocation* a = beginningAt(begin);
  return a != nullptr && open(*a);
}

void retire(uintptr_t begin) {
  if (Allocation* a = beginningAt(begin)) uncount(*a);
}

namespace {

std::string complaintOf(const Allocation& a) {
  if (!a.live) return "";
  char text[160];
  const char* before =
      canaryBroken(reinterpret_cast<char*>(a.low), reinterpret_cast<char*>(a.begin));
  const char* after =
      canaryBroken(reinterpret_cast<char*>(a.begin + a.bytes), reinterpret_cast<char*>(a.high));
  if (before == nullptr && after == nullptr) return "";
  snprintf(text, sizeof text, "out-of-bounds write noticed later: %s a %zu-byte allocation at 0x%llx",
           before != nullptr ? "before the start of" : "past the end of", a.bytes,
           static_cast<unsigned long long>(a.begin));
  return text;
}

const Allocation* holding(uintptr_t address) {
  Heap& h = heap();
  auto next = h.live.upper_bound(address);
  if (next == h.live.begin()) return nullptr;
  const Allocation& a = std::prev(next)->second;
  return address < a.high ? &a : nullptr;
}

void unmap(Heap& h, Allocation& a) {
  // A fresh PROT_NONE mapping drops the pages and keeps the addresses reserved.
  mmap(reinterpret_cast<void*>(a.low), a.high - a.low, PROT_NONE,
       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  uncount(a);
  h.freed.push_back({a.begin, a.bytes});
  if (h.freed.size() > kFreedKept) h.freed.pop_front();
}

}  // namespace

bool release(uintptr_t begin, std::string* complaint) {
  Allocation* a = beginningAt(begin);
  if (a == nullptr) return false;
  *complaint = complaintOf(*a);
  uintptr_t key = a->low;
  unmap(heap(), *a);
  heap().live.erase(key);
  return true;
}

void releaseAll(Context* context, const std::function<void(const Allocation&)>& each) {
  Heap& h = heap();
  for (auto i = h.live.begin(); i != h.live.end();) {
    if (i->second.context != context) {
      ++i;
      continue;
    }
    each(i->second);
    unmap(h, i->second);
    i = h.live.erase(i);
  }
}

const Allocation* find(uintptr_t address, size_t bytes) {
  const Allocation* a = holding(address);
  if (a == nullptr || address < a->begin || bytes > a->bytes ||
      address - a->begin > a->bytes - bytes) {
    return nullptr;
  }
  return a;
}

bool registerHost(const Context* c, uintptr_t begin, size_t bytes) {
  Heap& h = heap();
  auto next = h.registered.lower_bound(begin);
  if (next != h.registered.end() && next->first < begin + bytes) return false;
  if (next != h.registered.begin()) {
    --next;
    if (next->first + next->second.bytes > begin) return false;
  }
  h.registered[begin] = {bytes, c};
  return true;
}
bool unregisterHost(uintptr_t begin) { return heap().registered.erase(begin) != 0; }

void unregisterAll(const Context* c) {
  std::map<uintptr_t, Registered>& all = heap().registered;
  for (auto i = all.begin(); i != all.end();) {
    i = i->second.context == c ? all.erase(i) : std::next(i);
  }
}

bool isPinned(uintptr_t address, size_t bytes) {
  const Allocation* a = find(address, bytes);
  if (a != nullptr) return a->host;
  Heap& h = heap();
  auto next = h.registered.upper_bound(address);
  if (next == h.registered.begin()) return false;
  --next;
  const size_t all = next->second.bytes;
  return address - next->first <= all && bytes <= all - (address - next->first);
}

size_t totalBytes() { return heap().total; }
size_t usedBytes() { return heap().used; }

std::string describeAddress(uintptr_t address) {
  Heap& h = heap();
  char text[200];
  if (address < kPage) return "a null pointer";
  if (address < h.begin || address >= h.end) return "not device memory";
  for (size_t i = h.freed.size(); i-- > 0;) {
    const Freed& f = h.freed[i];
    if (address < f.begin || address >= f.begin + f.bytes) continue;
    snprintf(text, sizeof text, "%zu bytes into a freed %zu-byte allocation",
             size_t(address - f.begin), f.bytes);
    return text;
  }
  const Allocation* at = find(address, 1);
  if (at != nullptr && !at->live) {
    snprintf(text, sizeof text,
             "%zu bytes into a stream-ordered %zu-byte allocation whose turn has not come",
             size_t(address - at->begin), at->bytes);
    return text;
  }
  auto next = h.live.upper_bound(address);
  const Allocation* after = next == h.live.end() ? nullptr : &next->second;
  const Allocation* before = next == h.live.begin() ? nullptr : &std::prev(next)->second;
  uintptr_t past = before ? address - (before->begin + before->bytes) : ~uintptr_t(0);
  uintptr_t ahead = after ? after->begin - address : ~uintptr_t(0);
  if (before == nullptr && after == nullptr) return "no allocation lives";
  // The one whose guard page was hit; otherwise the nearer.
  bool tail = past <= ahead;
  snprintf(text, sizeof text, "%zu bytes %s a %zu-byte allocation", size_t(tail ? past : ahead),
           tail ? "past the end of" : "before the start of", tail ? before->bytes : after->bytes);
  return text;
}

std::string checkCanaries() {
  for (const auto& entry : heap().live) {
    std::string complaint = complaintOf(entry.second);
    if (!complaint.empty()) {
      // Told once; the slack is whole again.
      const Allocation& a = entry.second;
      fillCanary(reinterpret_cast<char*>(a.low), reinterpret_cast<char*>(a.begin));
      fillCanary(reinterpret_cast<char*>(a.begin + a.bytes), reinterpret_cast<char*>(a.high));
      return complaint;
    }
  }
  return "";
}

}  // namespace gatun
