/* refuse.cuh - a kernel that meets data it cannot use says so.
 * It writes NaN where the result would be, and the first of its threads to get there notes down what was
 * wrong in 4 words of host memory that the host looks at when it waits. The mark on the device keeps what
 * comes after from using the result: adam.cu leaves the weights as they are.
 */
#ifndef GATUN_COMMON_REFUSE_CUH_
#define GATUN_COMMON_REFUSE_CUH_

#include "common/portable.cuh"

enum Refused { REFUSED_TARGET = 1, REFUSED_LEVEL, REFUSED_LABEL, REFUSED_STEP, REFUSED_NOISE, REFUSED_ROW, REFUSED_TIME, REFUSED_BOUND,
               REFUSED_LATENT, REFUSED_OBJECTIVE,
               REFUSED_RELAXED, REFUSED_DRAWN, REFUSED_CODE, REFUSED_CHOICE, REFUSED_PIXEL };

struct Refusal {
  int kind;   // 0 until something is refused
  int unused;
  int* host;  // kind, place, value, limit
};

__device__ __forceinline__ void refuse(Refusal* refusal, int kind, int place, int value, int limit) {
  if (atomicCAS(&refusal->kind, 0, kind) == 0) {
    refusal->host[1] = place;
    refusal->host[2] = value;
    refusal->host[3] = limit;
    __threadfence_system();
    refusal->host[0] = kind;
  }
}

#endif
