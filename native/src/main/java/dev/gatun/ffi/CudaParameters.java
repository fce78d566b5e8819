package dev.gatun.ffi;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;

/** A kernel's arguments, laid out once and used at every launch. */
public final class CudaParameters {
  // as far as numbers and structs of them can want to be aligned; tensor maps are larger, and
  // further
  private static final long ALIGNMENT = 16;

  // of the global scope: a call need not hold the arena open
  private final MemorySegment pointers;

  /**
   * Copies the arguments.
   *
   * @param arena whose end is the caller's to order: no launch may be under way with them
   * @param arguments each as the kernel's parameter lies in memory, in the kernel's order
   */
  public CudaParameters(Arena arena, List<byte[]> arguments) {
    MemorySegment table = arena.allocate(ValueLayout.JAVA_LONG, Math.max(1, arguments.size()));
    for (int i = 0; i < arguments.size(); i++) {
      byte[] bytes = arguments.get(i);
      MemorySegment value = arena.allocate(bytes.length, alignment(bytes.length));
      value.copyFrom(MemorySegment.ofArray(bytes));
      table.setAtIndex(ValueLayout.JAVA_LONG, i, value.address());
    }
    pointers = MemorySegment.ofAddress(table.address());
  }

  private static long alignment(int length) {
    return length == CudaTensorMap.BYTES ? CudaTensorMap.ALIGNMENT : ALIGNMENT;
  }

  MemorySegment pointers() {
    return pointers;
  }
}
