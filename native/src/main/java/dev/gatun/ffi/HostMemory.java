package dev.gatun.ffi;

import java.lang.foreign.MemorySegment;

/** Turns addresses into memory: the one place where bounds are asserted rather than known. */
public final class HostMemory {
  private HostMemory() {}

  /**
   * The bytes at {@code address}; the caller answers for their being there as long as it is used.
   */
  public static MemorySegment at(long address, long sizeBytes) {
    return MemorySegment.ofAddress(address).reinterpret(sizeBytes);
  }
}
