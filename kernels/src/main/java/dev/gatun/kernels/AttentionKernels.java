package dev.gatun.kernels;

/** Attention and its gradients: {@code attention.cu}. */
public final class AttentionKernels {
  private static final String MODULE = "attention";
  private static final int DELTA_ROWS = 4;
  private static final int DELTA_THREADS = 128;

  private AttentionKernels() {}

  /**
   * What all kernels of an attention need to know of its tensors.
   *
   * @param samples N
   * @param queries L
   * @param keys M
   * @param channels D, of one head: 1 to 128
   * @param queryStride elements from one row of q and dq to the next
   * @param keyStride of k, v, dk and dv
   * @param aligned whether every tensor but lse begins where 16 bytes can be read at once
   */
  public record Shape(
      int samples,
      int heads,
      int queries,
      int keys,
      int channels,
      int queryStride,
      int keyStride,
      boolean aligned) {
    private int width() {
      return channels <= 32 ? 32 : channels <= 64 ? 64 : 128;
    }

    private Arguments arguments(Element type) {
      int each = type == Element.F32 ? 4 : 8;
      // what a head begins with is as aligned as its tensor where D is a multiple
      boolean vectors =
          aligned && channels % each == 0 && queryStride % each == 0 && keyStride % each == 0;
      return new Arguments()
          .int32(heads)
          .int32(channels)
          .int32(queries)
          .int32(keys)
          .int32(queryStride)
          .int32(keyStride)
          .int32(vectors ? 1 : 0)
          .float32((float) (1 / Math.sqrt(channels)));
    }
  }

  /** q, o [N,L,heads*D]; k, v [N,M,heads*D]; lse [N,heads,L] f32; o and lse are written. */
  public static KernelCall forward(
      Element type, long q, long k, long v, long o, long lse, Shape shape) {
    int rows = type == Element.F32 && shape.width() == 128 ? 32 : 64;
    return new KernelCall(
        MODULE,
        name("attention", type, shape),
        launch(type, rows, shape.queries, shape),
        new Arguments()
            .pointer(q)
            .pointer(k)
            .pointer(v)
            .pointer(o)
            .pointer(lse)
            .struct(shape.arguments(type))
            .toList());
  }

  /** o, dout [N,L,heads*D]; delta [N,heads,L] f32, written: of each row the sum of dout * o. */
  public static KernelCall delta(Element type, long o, long dout, long delta, Shape shape) {
    int rows = shape.samples * shape.queries * shape.heads;
    return new KernelCall(
        MODULE,
        "attention_backward_delta_" + type.suffix(),
        LaunchShape.linear(Math.ceilDiv(rows, DELTA_ROWS), DELTA_THREADS),
        new Arguments()
            .pointer(o)
            .pointer(dout)
            .pointer(delta)
            .int32(rows)
            .int32(shape.queries)
            .int32(shape.heads)
            .int32(shape.channels)
            .toList());
  }

  /** As {@link #forward}; dout, dq like q; delta as {@link #delta} made it; dq is written. */
  public static KernelCall backwardQueries(
      Element type, long q, long k, long v, long dout, long lse, long delta, long dq, Shape shape) {
    return new KernelCall(
        MODULE,
        name("attention_backward_queries", type, shape),
        launch(type, backwardRows(type, shape), shape.queries, shape),
        backward(q, k, v, dout, lse, delta).pointer(dq).struct(shape.arguments(type)).toList());
  }

  /** As {@link #backwardQueries}; dk, dv like k, written. */
  public static KernelCall backwardKeys(
      Element type,
      long q,
      long k,
      long v,
      long dout,
      long lse,
      long delta,
      long dk,
      long dv,
      Shape shape) {
    return new KernelCall(
        MODULE,
        name("attention_backward_keys", type, shape),
        launch(type, backwardRows(type, shape), shape.keys, shape),
        backward(q, k, v, dout, lse, delta)
            .pointer(dk)
            .pointer(dv)
            .struct(shape.arguments(type))
            .toList());
  }

  private static Arguments backward(long q, long k, long v, long dout, long lse, long delta) {
    return new Arguments()
        .pointer(q)
        .pointer(k)
        .pointer(v)
        .pointer(dout)
        .pointer(lse)
        .pointer(delta);
  }

  private static String name(String kernel, Element type, Shape shape) {
    return kernel + "_" + type.suffix() + "_" + shape.width();
  }

  private static int backwardRows(Element type, Shape shape) {
    return type == Element.F32 ? 2048 / shape.width() : 64;
  }

  /** A block for so many of the rows of one head. */
  private static LaunchShape launch(Element type, int each, int rows, Shape shape) {
    int threads = type == Element.F32 ? each * 4 : each * 2;
    return LaunchShape.linear(shape.samples * shape.heads * Math.ceilDiv(rows, each), threads);
  }
}
