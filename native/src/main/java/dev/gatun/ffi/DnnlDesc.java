package dev.gatun.ffi;

import static dev.gatun.ffi.onednn.OneDnn.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A memory descriptor: extents, data type and layout. */
public final class DnnlDesc implements AutoCloseable {
  final MemorySegment handle;

  DnnlDesc(MemorySegment handle) {
    this.handle = handle;
  }

  /** Extents in oneDNN's logical order (N,C,H,W) with explicit strides in elements. */
  public static DnnlDesc strided(int dataType, long[] dims, long[] strides) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(C_POINTER);
      Dnnl.check(
          dnnl_memory_desc_create_with_strides(
              out, dims.length, longs(arena, dims), dataType, longs(arena, strides)),
          "dnnl_memory_desc_create_with_strides");
      return new DnnlDesc(out.get(C_POINTER, 0));
    }
  }

  /** The layout is left to the primitive. */
  public static DnnlDesc any(int dataType, long[] dims) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(C_POINTER);
      Dnnl.check(
          dnnl_memory_desc_create_with_tag(
              out, dims.length, longs(arena, dims), dataType, dnnl_format_tag_any()),
          "dnnl_memory_desc_create_with_tag");
      return new DnnlDesc(out.get(C_POINTER, 0));
    }
  }

  /** Dense row-major. */
  public static DnnlDesc dense(int dataType, long... dims) {
    long[] strides = new long[dims.length];
    long stride = 1;
    for (int i = dims.length - 1; i >= 0; i--) {
      strides[i] = stride;
      stride *= dims[i];
    }
    return strided(dataType, dims, strides);
  }

  public long sizeBytes() {
    return dnnl_memory_desc_get_size(handle);
  }

  public boolean sameAs(DnnlDesc other) {
    return dnnl_memory_desc_equal(handle, other.handle) != 0;
  }

  @Override
  public void close() {
    dnnl_memory_desc_destroy(handle);
  }

  static MemorySegment longs(Arena arena, long[] values) {
    return arena.allocateFrom(ValueLayout.JAVA_LONG, values);
  }
}
