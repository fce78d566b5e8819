package dev.gatun.ffi;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A kernel's arguments, laid out once and used at every launch. */
public final class CudaParameters implements AutoCloseable {
  private static final long SLOT_BYTES = 8;

  private final Arena arena = Arena.ofShared();
  private final MemorySegment values;
  private final MemorySegment table;
  // of the global scope: a call need not hold the arena open, close() is the owner's to order
  private final MemorySegment pointers;
  private int count;
  private final int capacity;

  /** Room for {@code capacity} arguments; give them in the kernel's order. */
  public CudaParameters(int capacity) {
    this.capacity = capacity;
    values = arena.allocate(SLOT_BYTES * capacity, SLOT_BYTES);
    table = arena.allocate(SLOT_BYTES * capacity, SLOT_BYTES);
    pointers = MemorySegment.ofAddress(table.address());
  }

  /** A device address; 0 for a null pointer. */
  public CudaParameters pointer(long address) {
    values.set(ValueLayout.JAVA_LONG, slot(), address);
    return this;
  }

  public CudaParameters int32(int value) {
    values.set(ValueLayout.JAVA_INT, slot(), value);
    return this;
  }

  public CudaParameters float32(float value) {
    values.set(ValueLayout.JAVA_FLOAT, slot(), value);
    return this;
  }

  /** A tensor map, passed by value: {@code const __grid_constant__ CUtensorMap}. */
  public CudaParameters tensorMap(CudaTensorMap map) {
    MemorySegment copy = arena.allocate(CudaTensorMap.BYTES, CudaTensorMap.ALIGNMENT);
    copy.copyFrom(map.bytes());
    entry(copy.address());
    return this;
  }

  private long slot() {
    return entry(values.address() + SLOT_BYTES * count);
  }

  /** Where the next argument's value lies. */
  private long entry(long address) {
    if (count == capacity) {
      throw new IllegalStateException("more than " + capacity + " kernel arguments");
    }
    long offset = SLOT_BYTES * count;
    table.set(ValueLayout.JAVA_LONG, offset, address);
    count++;
    return offset;
  }

  MemorySegment pointers() {
    if (count != capacity) {
      throw new IllegalStateException(count + " kernel arguments given of " + capacity);
    }
    return pointers;
  }

  /** Gives the memory back; no launch may be under way with it. */
  @Override
  public void close() {
    arena.close();
  }
}
