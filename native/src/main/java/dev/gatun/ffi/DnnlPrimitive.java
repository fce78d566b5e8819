package dev.gatun.ffi;

import static dev.gatun.ffi.onednn.OneDnn.*;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/**
 * A oneDNN primitive and the memory objects bound to it. Building one is the slow part (it compiles
 * code), {@link #execute} the fast one; memory can be bound again at any time.
 *
 * <p>Scratch memory is the caller's: ask {@link #scratchpadBytes} and bind DNNL_ARG_SCRATCHPAD.
 */
public final class DnnlPrimitive implements AutoCloseable {
  /** Fills in {@code out} with a new primitive descriptor. */
  private interface Create {
    int call(MemorySegment out, MemorySegment attributes);
  }

  private final Dnnl dnnl;
  private final String what;
  private final MemorySegment descriptor;
  private final MemorySegment primitive;
  private final Arena arena = Arena.ofShared();
  private final List<MemorySegment> memories = new ArrayList<>();
  private final List<Integer> slots = new ArrayList<>();
  private MemorySegment arguments = MemorySegment.NULL;

  private DnnlPrimitive(Dnnl dnnl, String what, DnnlAttributes attributes, Create create) {
    this.dnnl = dnnl;
    this.what = what;
    try (Arena scratch = Arena.ofConfined();
        DnnlAttributes own = attributes == null ? new DnnlAttributes() : null) {
      MemorySegment out = scratch.allocate(C_POINTER);
      Dnnl.check(create.call(out, (attributes == null ? own : attributes).handle), what);
      descriptor = out.get(C_POINTER, 0);
      int status = dnnl_primitive_create(out, descriptor);
      if (status != 0) {
        dnnl_primitive_desc_destroy(descriptor);
        Dnnl.check(status, what);
      }
      primitive = out.get(C_POINTER, 0);
    }
  }

  /** The geometry of a 2-d convolution in oneDNN's terms; dilation 0 is a dense kernel. */
  public record ConvGeometry(
      int strideH,
      int strideW,
      int dilationH,
      int dilationW,
      int padTop,
      int padLeft,
      int padBottom,
      int padRight) {
    private MemorySegment pair(Arena arena, int first, int second) {
      return DnnlDesc.longs(arena, new long[] {first, second});
    }
  }

  /** y = conv(x, w) + bias; {@code bias} may be null. */
  public static DnnlPrimitive convolutionForward(
      Dnnl dnnl,
      boolean training,
      DnnlDesc x,
      DnnlDesc w,
      DnnlDesc bias,
      DnnlDesc y,
      ConvGeometry g,
      DnnlAttributes attributes) {
    return new DnnlPrimitive(
        dnnl,
        "convolution forward",
        attributes,
        (out, attr) -> {
          try (Arena a = Arena.ofConfined()) {
            return dnnl_convolution_forward_primitive_desc_create(
                out,
                dnnl.engine,
                training ? dnnl_forward_training() : dnnl_forward_inference(),
                dnnl_convolution_direct(),
                x.handle,
                w.handle,
                bias == null ? MemorySegment.NULL : bias.handle,
                y.handle,
                g.pair(a, g.strideH, g.strideW),
                g.pair(a, g.dilationH, g.dilationW),
                g.pair(a, g.padTop, g.padLeft),
                g.pair(a, g.padBottom, g.padRight),
                attr);
          }
        });
  }

  /** dx from dy and w; {@code hint} is the forward primitive of the same geometry. */
  public static DnnlPrimitive convolutionBackwardData(
      Dnnl dnnl,
      DnnlDesc dx,
      DnnlDesc w,
      DnnlDesc dy,
      ConvGeometry g,
      DnnlPrimitive hint,
      DnnlAttributes attributes) {
    return new DnnlPrimitive(
        dnnl,
        "convolution backward data",
        attributes,
        (out, attr) -> {
          try (Arena a = Arena.ofConfined()) {
            return dnnl_convolution_backward_data_primitive_desc_create(
                out,
                dnnl.engine,
                dnnl_convolution_direct(),
                dx.handle,
                w.handle,
                dy.handle,
                g.pair(a, g.strideH, g.strideW),
                g.pair(a, g.dilationH, g.dilationW),
                g.pair(a, g.padTop, g.padLeft),
                g.pair(a, g.padBottom, g.padRight),
                hint.descriptor,
                attr);
          }
        });
  }

  /** dw and, where {@code dbias} is not null, the bias gradient, from x and dy. */
  public static DnnlPrimitive convolutionBackwardWeights(
      Dnnl dnnl,
      DnnlDesc x,
      DnnlDesc dw,
      DnnlDesc dbias,
      DnnlDesc dy,
      ConvGeometry g,
      DnnlPrimitive hint,
      DnnlAttributes attributes) {
    return new DnnlPrimitive(
        dnnl,
        "convolution backward weights",
        attributes,
        (out, attr) -> {
          try (Arena a = Arena.ofConfined()) {
            return dnnl_convolution_backward_weights_primitive_desc_create(
                out,
                dnnl.engine,
                dnnl_convolution_direct(),
                x.handle,
                dw.handle,
                dbias == null ? MemorySegment.NULL : dbias.handle,
                dy.handle,
                g.pair(a, g.strideH, g.strideW),
                g.pair(a, g.dilationH, g.dilationW),
                g.pair(a, g.padTop, g.padLeft),
                g.pair(a, g.padBottom, g.padRight),
                hint.descriptor,
                attr);
          }
        });
  }

  /** Copies between layouts and data types. */
  public static DnnlPrimitive reorder(Dnnl dnnl, DnnlDesc from, DnnlDesc to) {
    return new DnnlPrimitive(
        dnnl,
        "reorder",
        null,
        (out, attr) ->
            dnnl_reorder_primitive_desc_create(
                out, from.handle, dnnl.engine, to.handle, dnnl.engine, attr));
  }

  /** c = a b; a [M,K], b [K,N], c [M,N]; {@code bias} [1,N] or null. */
  public static DnnlPrimitive matmul(
      Dnnl dnnl, DnnlDesc a, DnnlDesc b, DnnlDesc bias, DnnlDesc c, DnnlAttributes attributes) {
    return new DnnlPrimitive(
        dnnl,
        "matmul",
        attributes,
        (out, attr) ->
            dnnl_matmul_primitive_desc_create(
                out,
                dnnl.engine,
                a.handle,
                b.handle,
                bias == null ? MemorySegment.NULL : bias.handle,
                c.handle,
                attr));
  }

  /** The layout this primitive chose for an argument, as a descriptor of the caller's own. */
  public DnnlDesc chosen(int query) {
    try (Arena scratch = Arena.ofConfined()) {
      MemorySegment out = scratch.allocate(C_POINTER);
      Dnnl.check(
          dnnl_memory_desc_clone(out, dnnl_primitive_desc_query_md(descriptor, query, 0)),
          "dnnl_memory_desc_clone");
      return new DnnlDesc(out.get(C_POINTER, 0));
    }
  }

  public long scratchpadBytes() {
    return dnnl_memory_desc_get_size(
        dnnl_primitive_desc_query_md(descriptor, dnnl_query_scratchpad_md(), 0));
  }

  /** The implementation oneDNN picked, such as {@code brgconv:avx512_core_amx}. */
  public String implementation() {
    try (Arena scratch = Arena.ofConfined()) {
      MemorySegment out = scratch.allocate(C_POINTER);
      Dnnl.check(
          dnnl_primitive_desc_query(descriptor, dnnl_query_impl_info_str(), 0, out),
          "dnnl_primitive_desc_query");
      return LibraryFunctions.text(out.get(C_POINTER, 0));
    }
  }

  /** Binds {@code argument} (a DNNL_ARG value) to memory of layout {@code desc} at an address. */
  public DnnlPrimitive bind(int argument, DnnlDesc desc, long address) {
    int slot = slots.indexOf(argument);
    if (slot >= 0) {
      rebind(argument, address);
      return this;
    }
    MemorySegment out = arena.allocate(C_POINTER);
    Dnnl.check(
        dnnl_memory_create(out, desc.handle, dnnl.engine, MemorySegment.ofAddress(address)),
        "dnnl_memory_create");
    memories.add(out.get(C_POINTER, 0));
    slots.add(argument);
    // dnnl_exec_arg_t is { int arg; dnnl_memory_t memory; }
    arguments = arena.allocate(16L * slots.size(), 8);
    for (int i = 0; i < slots.size(); i++) {
      arguments.set(C_INT, 16L * i, slots.get(i));
      arguments.set(C_POINTER, 16L * i + 8, memories.get(i));
    }
    return this;
  }

  /** Binds scratch memory of at least {@link #scratchpadBytes}. */
  public DnnlPrimitive bindScratchpad(long address) {
    try (DnnlDesc desc = chosen(dnnl_query_scratchpad_md())) {
      return bind(DNNL_ARG_SCRATCHPAD(), desc, address);
    }
  }

  /** Points an argument that was bound before to other memory of the same layout. */
  public void rebind(int argument, long address) {
    int slot = slots.indexOf(argument);
    if (slot < 0) {
      throw new IllegalStateException(what + ": argument " + argument + " was never bound");
    }
    Dnnl.check(
        dnnl_memory_set_data_handle(memories.get(slot), MemorySegment.ofAddress(address)),
        "dnnl_memory_set_data_handle");
  }

  /** Runs the primitive; on return the result is there (the CPU stream runs in order, at once). */
  public void execute() {
    int status = dnnl_primitive_execute(primitive, dnnl.stream, slots.size(), arguments);
    if (status != 0) {
      Dnnl.check(status, what);
    }
  }

  /** As {@link #execute}, on the calling thread alone: for what {@link Dnnl#onOneThread} made. */
  public void executeOnOneThread() {
    int threads = Dnnl.OpenMp.get();
    Dnnl.OpenMp.set(1);
    try {
      execute();
    } finally {
      Dnnl.OpenMp.set(threads);
    }
  }

  @Override
  public void close() {
    for (MemorySegment memory : memories) {
      dnnl_memory_destroy(memory);
    }
    memories.clear();
    dnnl_primitive_destroy(primitive);
    dnnl_primitive_desc_destroy(descriptor);
    arena.close();
  }
}
