package dev.gatun.ffi;

import java.lang.foreign.MemorySegment;
import jcuda.NativePointerObject;
import jcuda.driver.CUgraph;
import jcuda.driver.CUstream;
import jcuda.driver.CUstreamCaptureMode;
import jcuda.driver.JCudaDriver;

/** Work that the GPU does in the order it was given. */
public final class CudaStream implements AutoCloseable {
  /** Reads what JCuda keeps to itself and its subclasses. */
  static final class Handle extends CUstream {
    long value() {
      return getNativePointer();
    }
  }

  private final Handle handle;
  private final MemorySegment segment;

  /** Reads any of JCuda's handles. */
  private static final class Reader extends NativePointerObject {
    Reader(NativePointerObject other) {
      super(other);
    }

    long value() {
      return getNativePointer();
    }
  }

  /**
   * A stream that somebody else made: it can be launched on, and no more. Closing it does nothing.
   *
   * @param address a {@code CUstream}
   */
  public static CudaStream external(long address) {
    return new CudaStream(address);
  }

  /** As {@link #external(long)}. */
  public static CudaStream external(CUstream stream) {
    return new CudaStream(new Reader(stream).value());
  }

  private CudaStream(long address) {
    handle = null;
    segment = MemorySegment.ofAddress(address);
  }

  CudaStream(Handle handle) {
    this.handle = handle;
    this.segment = MemorySegment.ofAddress(handle.value());
  }

  /** As JCuda and JCudnn take it. */
  public CUstream handle() {
    return handle;
  }

  /** As the generated bindings take it. */
  MemorySegment segment() {
    return segment;
  }

  /**
   * Waits until all work is done; throws what went wrong in it.
   *
   * @throws IllegalStateException if it is somebody else's, who is to wait for it
   */
  public void synchronize() {
    if (handle == null) {
      throw new IllegalStateException("a stream of the caller's is the caller's to wait for");
    }
    CudaException.check("cuStreamSynchronize", () -> JCudaDriver.cuStreamSynchronize(handle));
  }

  /** From now on work is noted down instead of done. Other threads may go on as they like. */
  public void beginCapture() {
    CudaException.check(
        "cuStreamBeginCapture",
        () ->
            JCudaDriver.cuStreamBeginCapture(
                handle, CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  }

  /** Ends the capture and makes of it what can be replayed. */
  public CudaGraph endCapture() {
    CUgraph graph = new CUgraph();
    CudaException.check("cuStreamEndCapture", () -> JCudaDriver.cuStreamEndCapture(handle, graph));
    return new CudaGraph(graph);
  }

  /** Ends a capture that failed, without a word: the failure has been told. */
  public void abandonCapture() {
    CudaException.quietly(() -> {
      CUgraph graph = new CUgraph();
      JCudaDriver.cuStreamEndCapture(handle, graph); // one that is invalid has no graph
      return JCudaDriver.cuGraphDestroy(graph);
    });
  }

  @Override
  public void close() {
    if (handle == null) {
      return;
    }
    CudaException.check("cuStreamDestroy", () -> JCudaDriver.cuStreamDestroy(handle));
  }
}
