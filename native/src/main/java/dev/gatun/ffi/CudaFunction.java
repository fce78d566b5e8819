package dev.gatun.ffi;

import dev.gatun.ffi.cuda.CudaDriver;
import java.lang.foreign.MemorySegment;
import jcuda.driver.CUfunction;

/** A kernel, launched without JCuda, whose launch costs a hundred times as much. */
public final class CudaFunction {
  static final class Handle extends CUfunction {
    long value() {
      return getNativePointer();
    }
  }

  private final String name;
  private final Handle handle;
  private final MemorySegment segment;

  CudaFunction(String name, Handle handle) {
    this.name = name;
    this.handle = handle;
    this.segment = MemorySegment.ofAddress(handle.value());
  }

  public String name() {
    return name;
  }

  /** As JCuda takes it. */
  CUfunction handle() {
    return handle;
  }

  /**
   * Adds a launch to the stream; the parameters are copied before it returns. The context must be
   * current.
   */
  public void launch(
      CudaStream stream,
      int gridX,
      int gridY,
      int gridZ,
      int blockX,
      int blockY,
      int blockZ,
      int sharedBytes,
      CudaParameters parameters) {
    int status =
        CudaDriver.cuLaunchKernel(
            segment,
            gridX,
            gridY,
            gridZ,
            blockX,
            blockY,
            blockZ,
            sharedBytes,
            stream.segment(),
            parameters.pointers(),
            MemorySegment.NULL);
    if (status != 0) {
      throw CudaException.ofStatus("cuLaunchKernel " + name, status);
    }
  }

  /**
   * As {@link #launch}, on the configuration's stream and with its attributes.
   *
   * @throws CudaException if the GPU cannot do it, such as clusters below compute capability 9.0
   */
  public void launchEx(CudaLaunchConfig config, CudaParameters parameters) {
    int status =
        CudaDriver.cuLaunchKernelEx(
            config.segment(), segment, parameters.pointers(), MemorySegment.NULL);
    if (status != 0) {
      throw CudaException.ofStatus("cuLaunchKernelEx " + name, status);
    }
  }
}
