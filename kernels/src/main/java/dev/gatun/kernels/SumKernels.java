package dev.gatun.kernels;

/**
 * Sums over many elements, {@code sums.cu}: each block its part, then the parts in a fixed order.
 */
public final class SumKernels {
  private static final String MODULE = "sums";
  private static final int THREADS = 256;
  private static final int COLUMNS = 32;
  private static final int PIXEL_CHUNKS = 4;
  private static final int NORM_ELEMENTS = 4096;

  private SumKernels() {}

  /**
   * The sums of the columns of each part of some rows.
   *
   * @param x [images,positions,C]
   * @param parts [images*ceil(positions/rows),C] f32, written
   * @param rows of an image that a part has
   */
  public static KernelCall columnSums(
      Element type, long x, long parts, int images, int positions, int channels, int rows) {
    int each = Math.ceilDiv(positions, rows);
    return new KernelCall(
        MODULE,
        "column_sums_" + type.suffix(),
        new LaunchShape(
            Math.multiplyExact(images, each), Math.ceilDiv(channels, COLUMNS), 1, THREADS, 1, 1, 0),
        new Arguments()
            .pointer(x)
            .pointer(parts)
            .int32(positions)
            .int32(channels)
            .int32(rows)
            .toList());
  }

  /**
   * out[l,c] = the sum of parts[i,offset+c] over the parts of images with label l.
   *
   * @param parts [count,stride] f32
   * @param labels [count/each] u8; 0 where entries is 1
   * @param out [entries,C] f32
   * @param each parts of an image
   */
  public static KernelCall columnSumsFinish(
      long parts,
      long labels,
      long out,
      int entries,
      int count,
      int each,
      int channels,
      int stride,
      int offset) {
    return new KernelCall(
        MODULE,
        "column_sums_finish",
        new LaunchShape(Math.ceilDiv(channels, COLUMNS), entries, 1, THREADS, 1, 1, 0),
        new Arguments()
            .pointer(parts)
            .pointer(labels)
            .pointer(out)
            .int32(count)
            .int32(each)
            .int32(channels)
            .int32(stride)
            .int32(offset)
            .toList());
  }

  /** y [images,C] = the sums of x [images,positions,C] over the positions. */
  public static KernelCall sumPixels(
      Element type, long x, long y, int images, int positions, int channels) {
    int tiles = Math.ceilDiv(channels, PIXEL_CHUNKS * type.chunk());
    return new KernelCall(
        MODULE,
        "sum_pixels_" + type.suffix(),
        LaunchShape.linear(Math.multiplyExact(images, tiles), THREADS),
        new Arguments().pointer(x).pointer(y).int32(positions).int32(channels).toList());
  }

  /** How many f64 parts {@link #squaredNorm} writes. */
  public static int normParts(long elements) {
    return Math.toIntExact(Math.ceilDiv(elements, NORM_ELEMENTS));
  }

  /** The sums of squares of parts of x [elements] f32; parts [normParts] f64. */
  public static KernelCall squaredNorm(long x, long parts, long elements) {
    return new KernelCall(
        MODULE,
        "squared_norm_f32",
        LaunchShape.linear(normParts(elements), THREADS),
        new Arguments().pointer(x).pointer(parts).int64(elements).toList());
  }

  /** out [1] f64 = the sum of parts [count] f64. */
  public static KernelCall squaredNormFinish(long parts, long out, int count) {
    return new KernelCall(
        MODULE,
        "squared_norm_finish",
        LaunchShape.linear(1, THREADS),
        new Arguments().pointer(parts).pointer(out).int32(count).toList());
  }

  /** out [1] f32 = the sum of x [count] f32 / divisor. */
  public static KernelCall mean(long x, long out, int count, double divisor) {
    return new KernelCall(
        MODULE,
        "mean_f32",
        LaunchShape.linear(1, THREADS),
        new Arguments().pointer(x).pointer(out).int32(count).float64(divisor).toList());
  }
}
