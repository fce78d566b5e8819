/* refuse.cuh - a kernel that meets data it cannot use says so.
 * It writes NaN where the result would be, and the first of its threads to get there notes down what was
 * wrong: kind, place, value, limit, in 4 words of host memory that the host looks at when it waits.
 */
#ifndef GATUN_COMMON_REFUSE_CUH_
#define GATUN_COMMON_REFUSE_CUH_

#include "common/portable.cuh"

enum Refused { REFUSED_TARGET = 1, REFUSED_LEVEL, REFUSED_LABEL, REFUSED_STEP };

__device__ __forceinline__ void refuse(int* refusal, int kind, int place, int value, int limit) {
  if (atomicCAS(refusal, 0, kind) == 0) {
    refusal[1] = place;
    refusal[2] = value;
    refusal[3] = limit;
  }
}

#endif
