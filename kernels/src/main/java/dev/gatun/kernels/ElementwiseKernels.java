package dev.gatun.kernels;

/**
 * Element-wise kernels: {@code activation.cu}, {@code arithmetic.cu}, {@code dropout.cu}, {@code
 * resample.cu}. Tensors are device addresses; shapes are those of each kernel's comment. D is the
 * number of channels of a row of the window.
 */
public final class ElementwiseKernels {
  private static final String ACTIVATION = "activation";
  private static final String ARITHMETIC = "arithmetic";
  private static final int THREADS = 256;

  private ElementwiseKernels() {}

  /** y = max(x, 0); x, y [rows,D]. */
  public static KernelCall relu(Element type, long x, long y, int channels, Window window) {
    return unary("relu", type, x, y, channels, window);
  }

  /** y = x for x > 0, else exp(x) - 1; x, y [rows,D]. */
  public static KernelCall elu(Element type, long x, long y, int channels, Window window) {
    return unary("elu", type, x, y, channels, window);
  }

  /** y = [elu(x), elu(-x)]; x [rows,D], y [rows,2D]. */
  public static KernelCall concatElu(Element type, long x, long y, int channels, Window window) {
    return unary("concat_elu", type, x, y, channels, window);
  }

  private static KernelCall unary(
      String op, Element type, long x, long y, int channels, Window window) {
    return rows(
        ACTIVATION,
        op,
        type,
        window,
        channels,
        new Arguments().pointer(x).pointer(y).int32(channels).struct(window.members()));
  }

  /** y = x * sigmoid(x); x, y [rows,D]. */
  public static KernelCall silu(Element type, long x, long y, int channels, Window window) {
    return unary("silu", type, x, y, channels, window);
  }

  /** dx = dy * (x * sigmoid(x))'. */
  public static KernelCall siluBackward(Element type, long x, long dy, long dx, long elements) {
    return flat(
        ACTIVATION,
        "silu_backward",
        type,
        elements,
        new Arguments().pointer(x).pointer(dy).pointer(dx).int64(elements));
  }

  /** dx = dy where y > 0, else 0. */
  public static KernelCall reluBackward(Element type, long y, long dy, long dx, long elements) {
    return flat(
        ACTIVATION,
        "relu_backward",
        type,
        elements,
        new Arguments().pointer(y).pointer(dy).pointer(dx).int64(elements));
  }

  /** dx = dy where y > 0, else dy * (y + 1). */
  public static KernelCall eluBackward(Element type, long y, long dy, long dx, long elements) {
    return flat(
        ACTIVATION,
        "elu_backward",
        type,
        elements,
        new Arguments().pointer(y).pointer(dy).pointer(dx).int64(elements));
  }

  /** x, dx [rows,D], dy [rows,2D]. */
  public static KernelCall concatEluBackward(
      Element type, long x, long dy, long dx, int rows, int channels) {
    return rows(
        ACTIVATION,
        "concat_elu_backward",
        type,
        Window.whole(rows, 1, 1),
        channels,
        new Arguments().pointer(x).pointer(dy).pointer(dx).int32(rows).int32(channels));
  }

  /**
   * y = f(a) * sigmoid(b) + residual; x [rows,2D]: a, then b; residual [rows,D] or 0; y [rows,D].
   */
  public static KernelCall gate(
      Element type, long x, long residual, long y, int channels, boolean linear, Window window) {
    return rows(
        ACTIVATION,
        "gate",
        type,
        window,
        channels,
        new Arguments()
            .pointer(x)
            .pointer(residual)
            .pointer(y)
            .int32(channels)
            .int32(linear ? 1 : 0)
            .struct(window.members()));
  }

  /** x, dx [rows,2D], dy [rows,D]. */
  public static KernelCall gateBackward(
      Element type, long x, long dy, long dx, int rows, int channels, boolean linear) {
    return rows(
        ACTIVATION,
        "gate_backward",
        type,
        Window.whole(rows, 1, 1),
        channels,
        new Arguments()
            .pointer(x)
            .pointer(dy)
            .pointer(dx)
            .int32(rows)
            .int32(channels)
            .int32(linear ? 1 : 0));
  }

  /** y = a + b, each [rows,D]. */
  public static KernelCall add(Element type, long a, long b, long y, int channels, Window window) {
    return rows(
        ARITHMETIC,
        "add",
        type,
        window,
        channels,
        new Arguments().pointer(a).pointer(b).pointer(y).int32(channels).struct(window.members()));
  }

  /** y = value. */
  public static KernelCall fill(Element type, long y, float value, long elements) {
    return flat(
        ARITHMETIC,
        "fill",
        type,
        elements,
        new Arguments().pointer(y).float32(value).int64(elements));
  }

  /** y = x / (levels-1) * 2 - 1, and ones; x [rows,C] u8, y [rows,C+1]. */
  public static KernelCall normalizePixels(
      Element type, long x, long y, int colours, int levels, Window window) {
    Arguments arguments =
        new Arguments().pointer(x).pointer(y).int32(colours).int32(levels).struct(window.members());
    long items = (long) window.rows() * (colours + 1);
    return call(ARITHMETIC, "normalize_pixels", type, items, arguments);
  }

  /** y = x / (levels-1) * 2 - 1; x u8. */
  public static KernelCall scalePixels(Element type, long x, long y, long elements, int levels) {
    return flat(
        ARITHMETIC,
        "scale_pixels",
        type,
        elements,
        new Arguments().pointer(x).pointer(y).int64(elements).int32(levels));
  }

  /** y = x, rounded to another type. */
  public static KernelCall cast(Element from, Element to, long x, long y, long elements) {
    return flat(
        ARITHMETIC,
        "cast_" + from.suffix(),
        to,
        elements,
        new Arguments().pointer(x).pointer(y).int64(elements));
  }

  /** y = x, whatever they hold. */
  public static KernelCall copyBytes(long x, long y, long bytes) {
    int blocks = Math.toIntExact(Math.max(1, Math.ceilDiv(bytes, 16L * THREADS)));
    return new KernelCall(
        ARITHMETIC,
        "reshape",
        LaunchShape.linear(blocks, THREADS),
        new Arguments().pointer(x).pointer(y).int64(bytes).toList());
  }

  /** y = x + table[label]; x, y [rows,D]; table [L,G*D] f32; labels [N] u8, or 0 for row 0. */
  public static KernelCall addBias(
      Element type,
      long x,
      long table,
      long labels,
      long y,
      long refusal,
      int entries,
      int channels,
      Window window) {
    return rows(
        ARITHMETIC,
        "add_bias",
        type,
        window,
        channels,
        new Arguments()
            .pointer(x)
            .pointer(table)
            .pointer(labels)
            .pointer(y)
            .pointer(refusal)
            .int32(entries)
            .int32(channels)
            .struct(window.members()));
  }

  /** y[n,i,j] = x[n,i-rows,j-columns], else 0; x, y [N,H,W,C]. */
  public static KernelCall shift(
      Element type,
      long x,
      long y,
      int height,
      int width,
      int channels,
      int rows,
      int columns,
      Window window) {
    return rows(
        ARITHMETIC,
        "shift",
        type,
        window,
        channels,
        new Arguments()
            .pointer(x)
            .pointer(y)
            .int32(height)
            .int32(width)
            .int32(channels)
            .int32(rows)
            .int32(columns)
            .struct(window.members()));
  }

  /**
   * Zeroes x where the byte that Philox gives its index under (seed, step, site, stream) is below
   * {@code dropped}, and multiplies the rest by {@code scale}.
   *
   * @param step [1] f64
   */
  public static KernelCall dropout(
      Element type,
      long x,
      long step,
      long y,
      long refusal,
      long elements,
      long seed,
      int site,
      int stream,
      int dropped,
      float scale) {
    return call(
        "dropout",
        "dropout",
        type,
        Math.ceilDiv(elements, 16), // what one counter decides
        new Arguments()
            .pointer(x)
            .pointer(step)
            .pointer(y)
            .pointer(refusal)
            .int64(elements)
            .int64(seed)
            .int32(site)
            .int32(stream)
            .int32(dropped)
            .float32(scale));
  }

  /**
   * D channels of each row; x, y begin at the first of them.
   *
   * @param from channels of a row of x
   * @param to channels of a row of y
   */
  public static KernelCall copyChannels(
      Element type, long x, long y, int rows, int channels, int from, int to) {
    return rows(
        ARITHMETIC,
        "copy_channels",
        type,
        Window.whole(rows, 1, 1),
        channels,
        new Arguments().pointer(x).pointer(y).int32(rows).int32(channels).int32(from).int32(to));
  }

  /** y = x, the channels of each row in reverse order; x, y [elements/D,D]. */
  public static KernelCall reverseChannels(
      Element type, long x, long y, int channels, long elements) {
    return flat(
        ARITHMETIC,
        "reverse_channels",
        type,
        elements,
        new Arguments().pointer(x).pointer(y).int32(channels).int64(elements));
  }

  /**
   * Up, y = factor * x, each pixel to 2x2; else factor times the sum of 2x2 pixels. The small
   * images are [rows,width,C], the rows those of all images; the large ones [2*rows,2*width,C].
   */
  public static KernelCall resample(
      Element type, boolean up, long x, long y, int rows, int width, int channels, float factor) {
    return rows(
        "resample",
        up ? "resample_up" : "resample_down",
        type,
        Window.whole(Math.multiplyExact(rows, width), 1, 1),
        channels,
        new Arguments()
            .pointer(x)
            .pointer(y)
            .int32(rows)
            .int32(width)
            .int32(channels)
            .float32(factor));
  }

  private static KernelCall rows(
      String module, String op, Element type, Window window, int channels, Arguments arguments) {
    long chunks = (long) window.rows() * Math.ceilDiv(channels, type.chunk());
    return call(module, op, type, chunks, arguments);
  }

  private static KernelCall flat(
      String module, String op, Element type, long elements, Arguments arguments) {
    return call(module, op, type, Math.ceilDiv(elements, type.chunk()), arguments);
  }

  private static KernelCall call(
      String module, String op, Element type, long threads, Arguments arguments) {
    int blocks = Math.toIntExact(Math.max(1, Math.ceilDiv(threads, THREADS)));
    return new KernelCall(
        module, op + "_" + type.suffix(), LaunchShape.linear(blocks, THREADS), arguments.toList());
  }
}
