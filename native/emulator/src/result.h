// result.h - CUresult values in use, named as in cuda.h, which a machine without the toolkit lacks.
#ifndef GATUN_RESULT_H_
#define GATUN_RESULT_H_

// code, name, text
#define GATUN_RESULTS(X)                                                                       \
  X(0, CUDA_SUCCESS, "no error")                                                               \
  X(1, CUDA_ERROR_INVALID_VALUE, "invalid argument")                                           \
  X(2, CUDA_ERROR_OUT_OF_MEMORY, "out of memory")                                              \
  X(3, CUDA_ERROR_NOT_INITIALIZED, "initialization error")                                     \
  X(4, CUDA_ERROR_DEINITIALIZED, "driver shutting down")                                       \
  X(100, CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected")                           \
  X(101, CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal")                                  \
  X(200, CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid")                           \
  X(201, CUDA_ERROR_INVALID_CONTEXT, "invalid device context")                                 \
  X(209, CUDA_ERROR_NO_BINARY_FOR_GPU, "no kernel image is available for execution on the device") \
  X(216, CUDA_ERROR_CONTEXT_ALREADY_IN_USE, "exclusive-thread device already in use by a different thread") \
  X(218, CUDA_ERROR_INVALID_PTX, "a PTX JIT compilation failed")                               \
  X(301, CUDA_ERROR_FILE_NOT_FOUND, "file not found")                                          \
  X(400, CUDA_ERROR_INVALID_HANDLE, "invalid resource handle")                                 \
  X(500, CUDA_ERROR_NOT_FOUND, "named symbol not found")                                       \
  X(600, CUDA_ERROR_NOT_READY, "device not ready")                                             \
  X(700, CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered")               \
  X(701, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES, "too many resources requested for launch")        \
  X(702, CUDA_ERROR_LAUNCH_TIMEOUT, "the launch timed out and was terminated")                 \
  X(708, CUDA_ERROR_PRIMARY_CONTEXT_ACTIVE, "cannot set while device is active in this process") \
  X(709, CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed")                              \
  X(710, CUDA_ERROR_ASSERT, "device-side assert triggered")                                    \
  X(712, CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED, "part or all of the requested memory range is already mapped") \
  X(713, CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED, "pointer does not correspond to a registered memory region") \
  X(716, CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned address")                                  \
  X(719, CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure")                               \
  X(720, CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE, "too many blocks in cooperative launch")     \
  X(801, CUDA_ERROR_NOT_SUPPORTED, "operation not supported")                                  \
  X(900, CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, "operation not permitted when stream is capturing") \
  X(901, CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, "operation failed due to a previous error during capture") \
  X(903, CUDA_ERROR_STREAM_CAPTURE_UNMATCHED, "capture was not initiated in this stream")      \
  X(904, CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "capturing stream has unjoined work")             \
  X(905, CUDA_ERROR_STREAM_CAPTURE_ISOLATION, "dependency created on uncaptured work in another stream") \
  X(906, CUDA_ERROR_STREAM_CAPTURE_IMPLICIT, "operation would make the legacy stream depend on a capturing blocking stream") \
  X(907, CUDA_ERROR_CAPTURED_EVENT, "operation not permitted on an event last recorded in a capturing stream") \
  X(908, CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD, "attempt to terminate a thread-local capture sequence from another thread") \
  X(912, CUDA_ERROR_INVALID_CLUSTER_SIZE, "cluster misconfiguration")                          \
  X(999, CUDA_ERROR_UNKNOWN, "unknown error")

namespace gatun {
enum Result {
#define GATUN_RESULT_ENUM(code, name, text) name = code,
  GATUN_RESULTS(GATUN_RESULT_ENUM)
#undef GATUN_RESULT_ENUM
};
}  // namespace gatun

#endif
