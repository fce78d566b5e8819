package dev.gatun.ffi;

import dev.gatun.ffi.cuda.CudaDriver;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import jcuda.driver.CUmemAllocationType;
import jcuda.driver.CUmemLocation;
import jcuda.driver.CUmemLocationType;
import jcuda.driver.CUmemPoolProps;
import jcuda.driver.CUmemoryPool;
import jcuda.driver.JCudaDriver;

/**
 * Memory of a GPU that is given and taken in a stream's order: neither waits for work under way,
 * and what was freed is used again without a call to the operating system.
 *
 * <p>Where the GPU has no such pools (some virtual ones), each allocation is the driver's own.
 */
public final class CudaPool implements AutoCloseable {
  /**
   * Bytes that allocations have, and that the driver holds for them; now and at most since the pool
   * was made. Zeros where the GPU has no pools.
   */
  public record Statistics(
      long usedBytes, long usedHighBytes, long reservedBytes, long reservedHighBytes) {}

  private static final class Handle extends CUmemoryPool {
    long value() {
      return getNativePointer();
    }
  }

  // the attribute CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED
  private static final int POOLS_SUPPORTED = 115;

  private final Handle handle; // null: no pools

  private CudaPool(Handle handle) {
    this.handle = handle;
  }

  /** A pool that keeps what is freed until {@link #trim}. The context is current. */
  static CudaPool create(jcuda.driver.CUdevice device, int ordinal) {
    int[] supported = new int[1];
    CudaException.check(
        "cuDeviceGetAttribute",
        () -> JCudaDriver.cuDeviceGetAttribute(supported, POOLS_SUPPORTED, device));
    if (supported[0] == 0) {
      return new CudaPool(null);
    }
    CUmemPoolProps properties = new CUmemPoolProps();
    properties.allocType = CUmemAllocationType.CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.location = new CUmemLocation(CUmemLocationType.CU_MEM_LOCATION_TYPE_DEVICE, ordinal);
    Handle handle = new Handle();
    CudaException.check("cuMemPoolCreate", () -> JCudaDriver.cuMemPoolCreate(handle, properties));
    CudaPool pool = new CudaPool(handle);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment all = arena.allocateFrom(ValueLayout.JAVA_LONG, -1L);
      int status =
          CudaDriver.cuMemPoolSetAttribute(
              pool.segment(), CudaDriver.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD(), all);
      if (status != 0) {
        throw CudaException.ofStatus("cuMemPoolSetAttribute", status);
      }
    } catch (RuntimeException e) {
      CudaException.quietly(() -> JCudaDriver.cuMemPoolDestroy(handle));
      throw e;
    }
    return pool;
  }

  private MemorySegment segment() {
    return MemorySegment.ofAddress(handle.value());
  }

  /** Memory for work that is added to the stream from now on; its content is not defined. */
  public long allocate(long sizeBytes, CudaStream stream) {
    CudaContext.Address address = new CudaContext.Address();
    if (handle == null) {
      CudaException.check("cuMemAlloc", () -> JCudaDriver.cuMemAlloc(address, sizeBytes));
    } else {
      CudaException.check(
          "cuMemAllocFromPoolAsync",
          () -> JCudaDriver.cuMemAllocFromPoolAsync(address, sizeBytes, handle, stream.handle()));
    }
    return address.value();
  }

  /** Takes memory back once the stream's work so far is done. */
  public void free(long address, CudaStream stream) {
    CudaContext.Address pointer = new CudaContext.Address(address);
    if (handle == null) {
      stream.synchronize();
      CudaException.check("cuMemFree", () -> JCudaDriver.cuMemFree(pointer));
    } else {
      CudaException.check(
          "cuMemFreeAsync", () -> JCudaDriver.cuMemFreeAsync(pointer, stream.handle()));
    }
  }

  /** Gives what is not in use back to the GPU, but for {@code keepBytes}. */
  public void trim(long keepBytes) {
    if (handle != null) {
      CudaException.check("cuMemPoolTrimTo", () -> JCudaDriver.cuMemPoolTrimTo(handle, keepBytes));
    }
  }

  public Statistics statistics() {
    return handle == null
        ? new Statistics(0, 0, 0, 0)
        : new Statistics(
            attribute(CudaDriver.CU_MEMPOOL_ATTR_USED_MEM_CURRENT()),
            attribute(CudaDriver.CU_MEMPOOL_ATTR_USED_MEM_HIGH()),
            attribute(CudaDriver.CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT()),
            attribute(CudaDriver.CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH()));
  }

  private long attribute(int which) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment value = arena.allocate(ValueLayout.JAVA_LONG);
      int status = CudaDriver.cuMemPoolGetAttribute(segment(), which, value);
      if (status != 0) {
        throw CudaException.ofStatus("cuMemPoolGetAttribute", status);
      }
      return value.get(ValueLayout.JAVA_LONG, 0);
    }
  }

  /** Ends the pool; nothing of it may be in use. */
  @Override
  public void close() {
    if (handle != null) {
      CudaException.check("cuMemPoolDestroy", () -> JCudaDriver.cuMemPoolDestroy(handle));
    }
  }
}
