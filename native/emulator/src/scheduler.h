// scheduler.h - runs one kernel: blocks, warps and barriers over fibres.
#ifndef GATUN_SCHEDULER_H_
#define GATUN_SCHEDULER_H_

#include <cstdint>
#include <string>

#include "../include/gatun_emulator_abi.h"

namespace gatun {

struct Fault {
  int code = 0;  // a CUresult; 0: none
  std::string text;
};

struct LaunchSpec {
  const char* name;
  void (*entry)(void* const* arguments);
  void* const* arguments;
  GatunEmuThread** self;  // the module's running-thread variable
  dim3 grid;
  dim3 block;
  dim3 cluster;  // blocks; divides the grid
  unsigned sharedBytes = 0;
  unsigned maxDynamicShared = 48 * 1024;
  bool cooperative = false;
};

enum class Order { kFifo, kLifo, kShuffle };

/** Runs every thread of the launch, or up to the first fault. The caller holds the global lock. */
Fault runKernel(const LaunchSpec& spec);

/** Runs fn(argument) on a fibre, so that a bad access in it is a fault and not the process's end. */
Fault runGuarded(const char* name, void (*fn)(void*), void* argument);

void setOrder(Order order, uint64_t seed);
Order order();
/** The next number of the seeded sequence; also draws the order of streams. */
uint64_t nextRandom();

/** Forgets shared arrays of all kernels: their slots' addresses may be reused by another module. */
void forgetSharedArrays();

const GatunEmuRuntime* runtimeTable();

}  // namespace gatun

#endif
