package dev.gatun.engine;

/**
 * Memory on a device, zeroed when allocated. The address is the device's own and opaque: only the
 * backend that made the buffer may turn it into a pointer.
 */
public final class Buffer implements AutoCloseable {
  private final Device device;
  private final long address;
  private final long sizeBytes;
  private final Runnable free;
  private volatile long version;
  private volatile boolean scratch;
  private boolean closed;

  /** For backends: wraps memory that {@code free} gives back. */
  public Buffer(Device device, long address, long sizeBytes, Runnable free) {
    this.device = device;
    this.address = address;
    this.sizeBytes = sizeBytes;
    this.free = free;
  }

  public Device device() {
    return device;
  }

  /**
   * The device address.
   *
   * @throws IllegalStateException after {@link #close}
   */
  public long address() {
    if (closed) {
      throw new IllegalStateException(
          "buffer of " + sizeBytes + " bytes on " + device.name() + " used after close");
    }
    return address;
  }

  public long sizeBytes() {
    return sizeBytes;
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
  public synchronized void close() {
    if (!closed) {
      closed = true;
      free.run();
    }
  }
}
