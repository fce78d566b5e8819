// pools.h - stream-ordered memory pools.
#ifndef GATUN_POOLS_H_
#define GATUN_POOLS_H_

#include <cstddef>

#include "memory.h"

namespace gatun {

/** A pool's allocation is freed or about to be: it counts no longer. */
void leavePool(const Allocation& allocation);
/** What a host-side wait does: pools give back what they keep beyond their release threshold. */
void trimPools();
/** Bytes that pools hold and nobody uses. */
size_t keptByPools();
/** Pools give all of that back when the bytes fit the device only so. */
void makeRoom(size_t bytes);

}  // namespace gatun

#endif
