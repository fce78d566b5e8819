package dev.gatun.ffi;

import static dev.gatun.ffi.onednn.OneDnn.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Attributes of a primitive: scratch memory is always the caller's; post-ops as appended. */
public final class DnnlAttributes implements AutoCloseable {
  final MemorySegment handle;

  public DnnlAttributes() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(C_POINTER);
      Dnnl.check(dnnl_primitive_attr_create(out), "dnnl_primitive_attr_create");
      handle = out.get(C_POINTER, 0);
    }
    int status = dnnl_primitive_attr_set_scratchpad_mode(handle, dnnl_scratchpad_mode_user());
    if (status != 0) {
      dnnl_primitive_attr_destroy(handle);
      Dnnl.check(status, "dnnl_primitive_attr_set_scratchpad_mode");
    }
  }

  @Override
  public void close() {
    dnnl_primitive_attr_destroy(handle);
  }
}
