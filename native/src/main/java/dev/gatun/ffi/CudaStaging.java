package dev.gatun.ffi;

import java.lang.foreign.MemorySegment;
import jcuda.driver.CUevent;
import jcuda.driver.CUevent_flags;
import jcuda.driver.JCudaDriver;

/**
 * Page-locked host memory that copies pass through, a part at a time: the GPU reads one part while
 * the host fills the next. The host's own memory is free again when {@link #upload} returns, which
 * it does before the GPU has read the last parts.
 */
public final class CudaStaging implements AutoCloseable {
  private static final int PARTS = 4;
  // large enough that the copy, not the call, is what costs
  private static final long PART_BYTES = 1 << 20;

  private final CudaStream stream;
  private final PinnedMemory memory;
  private final CUevent[] read = new CUevent[PARTS]; // when the GPU had done with a part
  private int next;

  /** For copies in the order of a stream; the context is current. */
  public CudaStaging(CudaStream stream) {
    this.stream = stream;
    memory = new PinnedMemory(PARTS * PART_BYTES);
    try {
      for (int i = 0; i < PARTS; i++) {
        CUevent event = new CUevent();
        CudaException.check(
            "cuEventCreate",
            () -> JCudaDriver.cuEventCreate(event, CUevent_flags.CU_EVENT_DISABLE_TIMING));
        read[i] = event;
      }
    } catch (RuntimeException e) {
      try {
        close();
      } catch (CudaException late) {
        e.addSuppressed(late);
      }
      throw e;
    }
  }

  private MemorySegment part() {
    CUevent event = read[next];
    CudaException.check("cuEventSynchronize", () -> JCudaDriver.cuEventSynchronize(event));
    return memory.segment().asSlice(next * PART_BYTES, PART_BYTES);
  }

  private void given() {
    CUevent event = read[next];
    CudaException.check("cuEventRecord", () -> JCudaDriver.cuEventRecord(event, stream.handle()));
    next = (next + 1) % PARTS;
  }

  /** Copies to the device, after what the stream has. */
  public void upload(MemorySegment source, long address) {
    for (long done = 0; done < source.byteSize(); ) {
      long count = Math.min(source.byteSize() - done, PART_BYTES);
      MemorySegment part = part().asSlice(0, count).copyFrom(source.asSlice(done, count));
      CudaContext.Address device = new CudaContext.Address(address + done);
      CudaException.check(
          "cuMemcpyHtoDAsync",
          () ->
              JCudaDriver.cuMemcpyHtoDAsync(
                  device, new CudaPointer(part.address()), count, stream.handle()));
      given();
      done += count;
    }
  }

  /** Copies from the device, after what the stream has; done when it returns. */
  public void download(long address, MemorySegment target) {
    stream.synchronize(); // even where there is nothing to copy
    for (long done = 0; done < target.byteSize(); ) {
      long count = Math.min(target.byteSize() - done, PARTS * PART_BYTES);
      CudaContext.Address device = new CudaContext.Address(address + done);
      CudaException.check(
          "cuMemcpyDtoHAsync",
          () ->
              JCudaDriver.cuMemcpyDtoHAsync(
                  new CudaPointer(memory.segment().address()), device, count, stream.handle()));
      stream.synchronize();
      target.asSlice(done, count).copyFrom(memory.segment().asSlice(0, count));
      done += count;
    }
  }

  /** Gives the memory back; the stream has nothing to do any more. */
  @Override
  public void close() {
    try {
      for (CUevent event : read) {
        if (event != null) {
          CudaException.check("cuEventDestroy", () -> JCudaDriver.cuEventDestroy(event));
        }
      }
    } finally {
      memory.close();
    }
  }
}
