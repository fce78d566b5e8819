package dev.gatun.ffi;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import jcuda.driver.JCudaDriver;

/**
 * Page-locked host memory, zeroed, which a GPU reads and writes, too. It is the JVM's: it stays for
 * as long as anybody refers to it, even where a reset of the GPU ends the driver's hold on it.
 */
public final class PinnedMemory implements AutoCloseable {
  private static final long PAGE = 4096;

  private final MemorySegment segment;
  private final CudaPointer pointer;
  private final long deviceAddress;

  /** Memory for the current context. */
  public PinnedMemory(long sizeBytes) {
    // whole pages: the driver locks a page once only
    long bytes = Math.ceilDiv(sizeBytes, PAGE) * PAGE;
    MemorySegment all = Arena.ofAuto().allocate(bytes, PAGE);
    segment = all.asSlice(0, sizeBytes);
    pointer = new CudaPointer(all.address());
    int flags = JCudaDriver.CU_MEMHOSTREGISTER_PORTABLE | JCudaDriver.CU_MEMHOSTREGISTER_DEVICEMAP;
    CudaException.check(
        "cuMemHostRegister", () -> JCudaDriver.cuMemHostRegister(pointer, bytes, flags));
    CudaContext.Address address = new CudaContext.Address();
    try {
      CudaException.check(
          "cuMemHostGetDevicePointer",
          () -> JCudaDriver.cuMemHostGetDevicePointer(address, pointer, 0));
    } catch (RuntimeException e) {
      CudaException.quietly(() -> JCudaDriver.cuMemHostUnregister(pointer));
      throw e;
    }
    deviceAddress = address.value();
  }

  public MemorySegment segment() {
    return segment;
  }

  /** Where kernels find it. */
  public long deviceAddress() {
    return deviceAddress;
  }

  /** Ends the driver's hold on the memory; nothing on a stream uses it any more. */
  @Override
  public void close() {
    CudaException.check("cuMemHostUnregister", () -> JCudaDriver.cuMemHostUnregister(pointer));
  }
}
