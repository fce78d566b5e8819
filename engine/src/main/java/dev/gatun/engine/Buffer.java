package dev.gatun.engine;

import java.lang.foreign.MemorySegment;
import java.util.concurrent.atomic.AtomicBoolean;

/**
 * Memory on a device, zeroed when allocated, or the caller's own ({@link Device#wrap}). The address
 * is the device's own and opaque: only the backend that made the buffer may turn it into a pointer.
 */
public final class Buffer implements AutoCloseable {
  private final Device device;
  private final long address;
  private final long sizeBytes;
  private final Runnable free;
  private final MemorySegment wrapped;
  private final AtomicBoolean closed = new AtomicBoolean();
  private volatile long version;
  private volatile boolean scratch;

  /** For backends: wraps memory that {@code free} gives back. */
  public Buffer(Device device, long address, long sizeBytes, Runnable free) {
    this.device = device;
    this.address = address;
    this.sizeBytes = sizeBytes;
    this.free = free;
    wrapped = null;
  }

  /** The caller's memory, which it may change or free without telling. */
  Buffer(Device device, MemorySegment memory) {
    this.device = device;
    address = memory.address();
    sizeBytes = memory.byteSize();
    free = () -> {};
    wrapped = memory;
    markScratch();
  }

  public Device device() {
    return device;
  }

  /**
   * The device address.
   *
   * @throws IllegalStateException after {@link #close}, or after the arena of wrapped memory was
   *     closed
   */
  public long address() {
    if (closed.get()) {
      throw new IllegalStateException(
          "buffer of " + sizeBytes + " bytes on " + device.name() + " used after close");
    }
    if (wrapped != null && !wrapped.scope().isAlive()) {
      throw new IllegalStateException(
          "buffer of "
              + sizeBytes
              + " bytes on "
              + device.name()
              + " used after its owner closed the arena");
    }
    return address;
  }

  public long sizeBytes() {
    return sizeBytes;
  }

  /** For backends: the caller's memory where this buffer wraps some, else null. */
  public MemorySegment wrapped() {
    return wrapped;
  }

  /**
   * Changes whenever the content may have: what is derived from it (packed weights) is then stale.
   */
  public long version() {
    if (scratch) {
      touch();
    }
    return version;
  }

  /** Says that launches write here without telling, so that every look finds a new version. */
  void markScratch() {
    scratch = true;
  }

  /** Says that the content has changed; called by whoever writes. */
  @SuppressWarnings("NonAtomicOperationOnVolatileField")
  public void touch() {
    version++;
  }

  @Override
  public void close() {
    if (closed.compareAndSet(false, true)) {
      free.run();
    }
  }
}
