package dev.gatun.kernels;

/** Normalization of features and of weights: {@code group_norm.cu}, {@code weight_norm.cu}. */
public final class NormKernels {
  private static final String GROUP = "group_norm";
  private static final String WEIGHT = "weight_norm";
  private static final int THREADS = 256;
  private static final int COLUMNS = 8;

  private NormKernels() {}

  /** x, y [N,HW,C]; gamma, beta [C] f32; mean, rstd [N,G] f32, written. */
  public static KernelCall groupNorm(
      Element type,
      long x,
      long gamma,
      long beta,
      long y,
      long mean,
      long rstd,
      int samples,
      int pixels,
      int channels,
      int groups,
      float epsilon) {
    return new KernelCall(
        GROUP,
        "group_norm_" + type.suffix(),
        new LaunchShape(groups, samples, 1, THREADS, 1, 1, 0),
        new Arguments()
            .pointer(x)
            .pointer(gamma)
            .pointer(beta)
            .pointer(y)
            .pointer(mean)
            .pointer(rstd)
            .int32(pixels)
            .int32(channels)
            .int32(groups)
            .float32(epsilon)
            .toList());
  }

  /** x, dy, dx [N,HW,C]; gamma [C] f32; mean, rstd [N,G] f32. */
  public static KernelCall groupNormBackward(
      Element type,
      long x,
      long gamma,
      long mean,
      long rstd,
      long dy,
      long dx,
      int samples,
      int pixels,
      int channels,
      int groups) {
    return new KernelCall(
        GROUP,
        "group_norm_backward_" + type.suffix(),
        new LaunchShape(groups, samples, 1, THREADS, 1, 1, 0),
        new Arguments()
            .pointer(x)
            .pointer(gamma)
            .pointer(mean)
            .pointer(rstd)
            .pointer(dy)
            .pointer(dx)
            .int32(pixels)
            .int32(channels)
            .int32(groups)
            .toList());
  }

  /** parts [N,2,C] f32, written: of each sample what gamma's and beta's gradients are sums of. */
  public static KernelCall groupNormAffine(
      Element type,
      long x,
      long mean,
      long rstd,
      long dy,
      long parts,
      int samples,
      int pixels,
      int channels,
      int groups) {
    return new KernelCall(
        GROUP,
        "group_norm_affine_" + type.suffix(),
        new LaunchShape(samples, Math.ceilDiv(channels, 32), 1, THREADS, 1, 1, 0),
        new Arguments()
            .pointer(x)
            .pointer(mean)
            .pointer(rstd)
            .pointer(dy)
            .pointer(parts)
            .int32(pixels)
            .int32(channels)
            .int32(groups)
            .toList());
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
