package dev.gatun.kernels;

/** Normalization of features and of weights: {@code group_norm.cu}, {@code weight_norm.cu}. */
public final class NormKernels {
  private static final String GROUP = "group_norm";
  private static final String WEIGHT = "weight_norm";
  private static final int THREADS = 256;
  private static final int COLUMNS = 8;
  private static final int GROUP_COLUMNS = 32;
  private static final int ROWS = 128;
  private static final int WARP = 32;
  // enough for any GPU; a thread then takes several chunks
  private static final int MOST_BLOCKS = 1 << 14;

  private NormKernels() {}

  /** What group normalization's kernels know of x [N,HW,C] and its G groups. */
  public record Group(
      Element type, int samples, int pixels, int channels, int groups, boolean silu) {
    private int chunks() {
      return Math.ceilDiv(pixels, ROWS);
    }

    /** Bytes of the parts that sums are put together from. */
    public long partsBytes() {
      return 2L * Float.BYTES * samples * chunks() * channels;
    }

    private Arguments sizes() {
      return new Arguments()
          .int32(samples)
          .int32(pixels)
          .int32(channels)
          .int32(groups)
          .int32(chunks())
          .int32(silu ? 1 : 0);
    }

    private LaunchShape blocks() {
      return new LaunchShape(
          chunks(), Math.ceilDiv(channels, GROUP_COLUMNS), samples, THREADS, 1, 1, 0);
    }

    private LaunchShape warps() {
      return LaunchShape.linear(Math.ceilDiv(samples * groups, THREADS / WARP), THREADS);
    }

    private LaunchShape elements() {
      long chunks = (long) samples * pixels * Math.ceilDiv(channels, type.chunk());
      return LaunchShape.linear(
          (int) Math.min(MOST_BLOCKS, Math.ceilDiv(chunks, THREADS)), THREADS);
    }

    private KernelCall call(String kernel, LaunchShape shape, Arguments arguments) {
      return new KernelCall(GROUP, kernel + "_" + type.suffix(), shape, arguments.toList());
    }

    /** parts, written: of x. */
    public KernelCall parts(long x, long parts) {
      return call(
          "group_norm_parts", blocks(), new Arguments().pointer(x).pointer(parts).struct(sizes()));
    }

    /** mean, rstd [N,G] f32, written, from the parts of x. */
    public KernelCall statistics(long parts, long mean, long rstd, float epsilon) {
      return new KernelCall(
          GROUP,
          "group_norm_statistics",
          warps(),
          new Arguments()
              .pointer(parts)
              .pointer(mean)
              .pointer(rstd)
              .struct(sizes())
              .float32(epsilon)
              .toList());
    }

    /** y like x, written; gamma, beta [C] f32; modulation [N,2C] like x, or 0. */
    public KernelCall forward(
        long x, long gamma, long beta, long mean, long rstd, long modulation, long y) {
      return call(
          "group_norm",
          elements(),
          new Arguments()
              .pointer(x)
              .pointer(gamma)
              .pointer(beta)
              .pointer(mean)
              .pointer(rstd)
              .pointer(modulation)
              .pointer(y)
              .struct(sizes()));
    }

    /** parts, written: of the gradients. */
    public KernelCall backwardParts(
        long x, long gamma, long beta, long mean, long rstd, long dy, long modulation, long parts) {
      return call(
          "group_norm_backward_parts",
          blocks(),
          new Arguments()
              .pointer(x)
              .pointer(gamma)
              .pointer(beta)
              .pointer(mean)
              .pointer(rstd)
              .pointer(dy)
              .pointer(modulation)
              .pointer(parts)
              .struct(sizes()));
    }

    /**
     * means [N,G,2] f32, written, for {@link #backward}; sums [N,2,C] f32, written: of each image
     * what gamma's and beta's gradients are sums of; dmodulation [N,2C] like x, written, or 0.
     */
    public KernelCall backwardSums(
        long parts,
        long gamma,
        long beta,
        long modulation,
        long means,
        long sums,
        long dmodulation) {
      return call(
          "group_norm_backward_sums",
          warps(),
          new Arguments()
              .pointer(parts)
              .pointer(gamma)
              .pointer(beta)
              .pointer(modulation)
              .pointer(means)
              .pointer(sums)
              .pointer(dmodulation)
              .struct(sizes()));
    }

    /** dx like x, written. */
    public KernelCall backward(
        long x,
        long gamma,
        long beta,
        long mean,
        long rstd,
        long dy,
        long modulation,
        long means,
        long dx) {
      return call(
          "group_norm_backward",
          elements(),
          new Arguments()
              .pointer(x)
              .pointer(gamma)
              .pointer(beta)
              .pointer(mean)
              .pointer(rstd)
              .pointer(dy)
              .pointer(modulation)
              .pointer(means)
              .pointer(dx)
              .struct(sizes()));
    }
  }

  /** w = g * v / ||v||; v, w [T,C,K] f32; g along the axis: 1 for C, 2 for K. */
  public static KernelCall weightNorm(
      long v, long g, long w, int taps, int channels, int filters, int axis) {
    return new KernelCall(
        WEIGHT,
        "weight_norm_" + name(axis) + "_f32",
        weights(channels, filters, axis),
        new Arguments()
            .pointer(v)
            .pointer(g)
            .pointer(w)
            .int32(taps)
            .int32(channels)
            .int32(filters)
            .toList());
  }

  /** v, dw, dv [T,C,K] f32; g, dg along the axis. */
  public static KernelCall weightNormBackward(
      long v, long g, long dw, long dv, long dg, int taps, int channels, int filters, int axis) {
    return new KernelCall(
        WEIGHT,
        "weight_norm_backward_" + name(axis) + "_f32",
        weights(channels, filters, axis),
        new Arguments()
            .pointer(v)
            .pointer(g)
            .pointer(dw)
            .pointer(dv)
            .pointer(dg)
            .int32(taps)
            .int32(channels)
            .int32(filters)
            .toList());
  }

  private static String name(int axis) {
    return axis == 2 ? "columns" : "rows";
  }

  private static LaunchShape weights(int channels, int filters, int axis) {
    return LaunchShape.linear(axis == 2 ? Math.ceilDiv(filters, COLUMNS) : channels, THREADS);
  }

  /** y = w but for what the order of colours hides at tap {@code centre}; w, y [T,C,K] f32. */
  public static KernelCall maskChannels(
      long w,
      long y,
      int taps,
      int channels,
      int filters,
      int centre,
      int colours,
      boolean strict,
      int free) {
    long elements = (long) taps * channels * filters;
    return new KernelCall(
        WEIGHT,
        "mask_channels_f32",
        LaunchShape.linear(Math.toIntExact(Math.ceilDiv(elements, THREADS)), THREADS),
        new Arguments()
            .pointer(w)
            .pointer(y)
            .int32(taps)
            .int32(channels)
            .int32(filters)
            .int32(centre)
            .int32(colours)
            .int32(strict ? 1 : 0)
            .int32(free)
            .toList());
  }
}
