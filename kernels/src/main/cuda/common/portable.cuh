/* portable.cuh - one source for nvcc, NVRTC and the host emulator.
 * SHARED(T, name, [N][M]) and EXTERN_SHARED(T, name) declare shared memory: a section attribute would
 * be ignored silently by g++ inside templates. KERNEL(name, maxThreads) after a kernel describes it to
 * the emulator, with the limit of its __launch_bounds__; on a GPU it is nothing.
 * No toolkit header is included: NVRTC has none where no toolkit is installed.
 */
#ifndef GATUN_COMMON_PORTABLE_CUH_
#define GATUN_COMMON_PORTABLE_CUH_

#ifdef GATUN_EMULATED
#include "gatun_emulator.h"
#else
#define SHARED(T, name, dims) __shared__ T name dims
/* One symbol for all kernels of a file, cast to what each wants. */
extern __shared__ __align__(16) unsigned char gatun_dynamic_shared[];
#define EXTERN_SHARED(T, name) T* name = reinterpret_cast<T*>(gatun_dynamic_shared)
#define KERNEL(name, maxThreads)
#endif

#define RESTRICT __restrict__
#define WARP_SIZE 32
#define FULL_WARP 0xffffffffu
#define NAN_F32 __int_as_float(0x7fffffff)
#define INFINITY_F32 __int_as_float(0x7f800000)

#endif
