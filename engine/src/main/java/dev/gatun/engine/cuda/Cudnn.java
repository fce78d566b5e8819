package dev.gatun.engine.cuda;

import static jcuda.jcudnn.JCudnn.cudnnCreate;
import static jcuda.jcudnn.JCudnn.cudnnDestroy;
import static jcuda.jcudnn.JCudnn.cudnnSetStream;

import dev.gatun.ffi.CudaException;
import dev.gatun.ffi.CudaLibrary;
import dev.gatun.ffi.CudaStream;
import jcuda.jcudnn.cudnnHandle;
import jcuda.runtime.cudaStream_t;

/** cuDNN on one stream. */
final class Cudnn implements AutoCloseable {
  private final cudnnHandle handle = new cudnnHandle();

  /**
   * @throws dev.gatun.ffi.LibraryException if there is no cuDNN
   */
  Cudnn(CudaLibrary library, CudaStream stream) {
    library.openDnn();
    CudaException.checkDnn("cudnnCreate", () -> cudnnCreate(handle));
    try {
      CudaException.checkDnn(
          "cudnnSetStream", () -> cudnnSetStream(handle, new cudaStream_t(stream.handle())));
    } catch (RuntimeException e) {
      cudnnDestroy(handle);
      throw e;
    }
  }

  cudnnHandle handle() {
    return handle;
  }

  @Override
  public void close() {
    CudaException.checkDnn("cudnnDestroy", () -> cudnnDestroy(handle));
  }
}
