/* nvrtc_minimal.h - what Gatun calls of NVRTC, declared by Gatun: the toolkit's nvrtc.h need not be there.
 * The same in CUDA 12 and 13. HeadersTest compiles this beside the real header where there is one:
 * with GATUN_BESIDE_THE_REAL_HEADER the types are the real ones, so that a wrong declaration conflicts.
 */
#ifndef GATUN_NVRTC_MINIMAL_H_
#define GATUN_NVRTC_MINIMAL_H_

#include <stddef.h>

#ifndef GATUN_BESIDE_THE_REAL_HEADER
typedef enum {
  NVRTC_SUCCESS = 0,
  NVRTC_ERROR_COMPILATION = 6
} nvrtcResult;

typedef struct _nvrtcProgram* nvrtcProgram;
#endif

const char* nvrtcGetErrorString(nvrtcResult result);
nvrtcResult nvrtcVersion(int* major, int* minor);
nvrtcResult nvrtcGetNumSupportedArchs(int* count);
nvrtcResult nvrtcGetSupportedArchs(int* architectures);

nvrtcResult nvrtcCreateProgram(nvrtcProgram* program, const char* source, const char* name,
                               int headerCount, const char* const* headers,
                               const char* const* includeNames);
nvrtcResult nvrtcDestroyProgram(nvrtcProgram* program);
nvrtcResult nvrtcCompileProgram(nvrtcProgram program, int optionCount, const char* const* options);

nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram program, size_t* bytes);
nvrtcResult nvrtcGetProgramLog(nvrtcProgram program, char* log);
nvrtcResult nvrtcGetCUBINSize(nvrtcProgram program, size_t* bytes);
nvrtcResult nvrtcGetCUBIN(nvrtcProgram program, char* cubin);
nvrtcResult nvrtcGetPTXSize(nvrtcProgram program, size_t* bytes);
nvrtcResult nvrtcGetPTX(nvrtcProgram program, char* ptx);

#endif
