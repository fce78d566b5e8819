package dev.gatun.ffi;

import static dev.gatun.ffi.onednn.OneDnn.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.function.ToIntFunction;

/** Attributes of a primitive: scratch memory is always the caller's; post-ops as appended. */
public final class DnnlAttributes implements AutoCloseable {
  /** The argument that {@link #thenAdd}'s addend is bound to: the first post-op's second source. */
  public static final int ADDEND = DNNL_ARG_ATTR_MULTIPLE_POST_OP_BASE() | DNNL_ARG_SRC_1();

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

  /** Has a tensor of this layout added to the result. */
  public DnnlAttributes thenAdd(DnnlDesc addend) {
    return then(
        chain -> dnnl_post_ops_append_binary(chain, dnnl_binary_add(), addend.handle),
        "dnnl_post_ops_append_binary");
  }

  /** Has the result added to what its memory holds. */
  public DnnlAttributes accumulate() {
    return then(
        chain -> dnnl_post_ops_append_sum(chain, 1, 0, dnnl_data_type_undef()),
        "dnnl_post_ops_append_sum");
  }

  private DnnlAttributes then(ToIntFunction<MemorySegment> append, String call) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(C_POINTER);
      Dnnl.check(dnnl_post_ops_create(out), "dnnl_post_ops_create");
      MemorySegment chain = out.get(C_POINTER, 0);
      try {
        Dnnl.check(append.applyAsInt(chain), call);
        Dnnl.check(
            dnnl_primitive_attr_set_post_ops(handle, chain), "dnnl_primitive_attr_set_post_ops");
      } finally {
        dnnl_post_ops_destroy(chain);
      }
    }
    return this;
  }

  @Override
  public void close() {
    dnnl_primitive_attr_destroy(handle);
  }
}
