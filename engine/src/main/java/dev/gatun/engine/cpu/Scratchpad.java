package dev.gatun.engine.cpu;

import dev.gatun.engine.Buffer;

/**
 * Scratch memory that all primitives of a device share, since they run one at a time. It grows, so
 * a primitive looks at {@link #version} before it runs and binds again if that has changed.
 */
final class Scratchpad implements AutoCloseable {
  private final CpuDevice device;
  private Buffer buffer;
  private int version;

  Scratchpad(CpuDevice device) {
    this.device = device;
  }

  void reserve(long sizeBytes) {
    if (sizeBytes > 0 && (buffer == null || buffer.sizeBytes() < sizeBytes)) {
      Buffer larger = device.allocate(sizeBytes);
      if (buffer != null) {
        buffer.close();
      }
      buffer = larger;
      version++;
    }
  }

  long address() {
    return buffer == null ? 0 : buffer.address();
  }

  int version() {
    return version;
  }

  @Override
  public void close() {
    if (buffer != null) {
      buffer.close();
    }
  }
}
