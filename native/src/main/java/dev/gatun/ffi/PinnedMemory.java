package dev.gatun.ffi;

import java.lang.foreign.MemorySegment;
import jcuda.Pointer;
import jcuda.driver.JCudaDriver;

/** Page-locked host memory, zeroed, which a GPU reads and writes at the same address. */
public final class PinnedMemory implements AutoCloseable {
  private static final class Address extends Pointer {
    long value() {
      return getNativePointer();
    }
  }

  private final Address pointer = new Address();
  private final MemorySegment segment;

  /** Memory for the current context. */
  public PinnedMemory(long sizeBytes) {
    int flags = JCudaDriver.CU_MEMHOSTALLOC_PORTABLE | JCudaDriver.CU_MEMHOSTALLOC_DEVICEMAP;
    CudaException.check(
        "cuMemHostAlloc", () -> JCudaDriver.cuMemHostAlloc(pointer, sizeBytes, flags));
    segment = MemorySegment.ofAddress(pointer.value()).reinterpret(sizeBytes);
    segment.fill((byte) 0);
  }

  /** Not to be used after {@link #close}. */
  public MemorySegment segment() {
    return segment;
  }

  @Override
  public void close() {
    CudaException.check("cuMemFreeHost", () -> JCudaDriver.cuMemFreeHost(pointer));
  }
}
