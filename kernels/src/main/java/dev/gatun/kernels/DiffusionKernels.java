package dev.gatun.kernels;

/**
 * What diffusion models need beside their network: {@code diffusion.cu}, {@code
 * variational_bound.cu}, {@code fold_upsampling.cu}.
 */
public final class DiffusionKernels {
  private static final String MODULE = "diffusion";
  private static final String BOUND = "variational_bound";
  private static final String FOLD = "fold_upsampling";
  private static final int THREADS = 256;
  private static final int SMALL_TAPS = 16;
  private static final int LARGE_TAPS = 9;

  private DiffusionKernels() {}

  private static LaunchShape threads(long count) {
    return LaunchShape.linear(Math.toIntExact(Math.ceilDiv(count, THREADS)), THREADS);
  }

  /**
   * coefficients [N,4], times [N], weights [N] f32, written: rows of table [T,6] f32; step [1] f64.
   *
   * @param first number of the first image
   */
  public static KernelCall times(
      long table,
      long step,
      long coefficients,
      long times,
      long weights,
      long refusal,
      int images,
      int rows,
      long seed,
      int first,
      int stream) {
    return new KernelCall(
        MODULE,
        "diffusion_times",
        threads(images),
        new Arguments()
            .pointer(table)
            .pointer(step)
            .pointer(coefficients)
            .pointer(times)
            .pointer(weights)
            .pointer(refusal)
            .int32(images)
            .int32(rows)
            .int64(seed)
            .int32(first)
            .int32(stream)
            .toList());
  }

  /**
   * x [N,E], target [N,E] f32, written; images [N,E] u8; coefficients [N,4] f32; step [1] f64.
   *
   * @param points whether images are points in f32, not u8
   * @param each elements of an image
   * @param first number of the first image
   */
  public static KernelCall diffuse(
      Element type,
      boolean points,
      long images,
      long coefficients,
      long step,
      long x,
      long target,
      long refusal,
      long elements,
      int each,
      long seed,
      int first,
      int stream) {
    return new KernelCall(
        MODULE,
        (points ? "diffuse_points_" : "diffuse_") + type.suffix(),
        threads(Math.ceilDiv(elements, type.chunk())),
        new Arguments()
            .pointer(images)
            .pointer(coefficients)
            .pointer(step)
            .pointer(x)
            .pointer(target)
            .pointer(refusal)
            .int64(elements)
            .int32(each)
            .int64(seed)
            .int32(first)
            .int32(stream)
            .toList());
  }

  /** errors [N] f32, written: the mean squares of prediction [N,E] less target [N,E] f32. */
  public static KernelCall squaredError(
      Element type, long prediction, long target, long errors, int images, int each) {
    return new KernelCall(
        MODULE,
        "squared_error_" + type.suffix(),
        LaunchShape.linear(images, THREADS),
        new Arguments().pointer(prediction).pointer(target).pointer(errors).int32(each).toList());
  }

  /** mean [1] f32, written: of weights [N] times errors [N]. */
  public static KernelCall squaredErrorFinish(long errors, long weights, long mean, int images) {
    return new KernelCall(
        MODULE,
        "squared_error_finish",
        LaunchShape.linear(1, THREADS),
        new Arguments().pointer(errors).pointer(weights).pointer(mean).int32(images).toList());
  }

  /** d [N,E], written; weights [N] f32, dmean [1] f32. */
  public static KernelCall squaredErrorBackward(
      Element type,
      long prediction,
      long target,
      long weights,
      long dmean,
      long d,
      long elements,
      int each) {
    return new KernelCall(
        MODULE,
        "squared_error_backward_" + type.suffix(),
        threads(Math.ceilDiv(elements, type.chunk())),
        new Arguments()
            .pointer(prediction)
            .pointer(target)
            .pointer(weights)
            .pointer(dmean)
            .pointer(d)
            .int64(elements)
            .int32(each)
            .toList());
  }

  /**
   * y [N,channels], written; times [N] f32.
   *
   * @param decay of the logarithm of the frequencies
   */
  public static KernelCall sinusoidalEmbedding(
      Element type,
      long times,
      long y,
      int count,
      int channels,
      double decay,
      boolean cosineFirst) {
    return new KernelCall(
        MODULE,
        "sinusoidal_embedding_" + type.suffix(),
        threads((long) count * channels / 2),
        new Arguments()
            .pointer(times)
            .pointer(y)
            .int32(count)
            .int32(channels / 2)
            .float64(decay)
            .int32(cosineFirst ? 1 : 0)
            .toList());
  }

  /** What a step of a sampler works on; device addresses, 0 for what there is not. */
  public record Denoising(
      long x,
      long previous,
      long prediction,
      long table,
      long state,
      long known,
      long mask,
      long thresholds,
      long input,
      long times,
      long blocks,
      long refusal) {}

  /**
   * What a step of a sampler has many of, and what its prediction is made of.
   *
   * @param elements of x
   * @param each elements of an image
   * @param rows of the table
   * @param learned whether there is a learned variance
   */
  public record DenoisingSizes(
      long elements,
      int each,
      int channels,
      int rows,
      double guidance,
      boolean guided,
      boolean learned) {}

  /** thresholds [N] f32, written: of each image the rank-th smallest of its denoised elements. */
  public static KernelCall denoiseStepThreshold(
      Element type, Denoising at, DenoisingSizes sizes, int rank) {
    return new KernelCall(
        MODULE,
        "denoise_step_threshold_" + type.suffix(),
        LaunchShape.linear(Math.toIntExact(sizes.elements / sizes.each), THREADS),
        new Arguments()
            .pointer(at.x)
            .pointer(at.prediction)
            .pointer(at.table)
            .pointer(at.state)
            .pointer(at.thresholds)
            .int64(sizes.elements)
            .int32(sizes.each)
            .int32(sizes.channels)
            .int32(sizes.rows)
            .int32(rank)
            .float64(sizes.guidance)
            .int32(sizes.guided ? 1 : 0)
            .int32(sizes.learned ? 1 : 0)
            .toList());
  }

  /**
   * A step of a sampler.
   *
   * @param clip whether denoised images are clipped, to 1 where there are no thresholds
   */
  public static KernelCall denoiseStep(
      Element type, Denoising at, DenoisingSizes sizes, boolean clip, int stream) {
    return new KernelCall(
        MODULE,
        "denoise_step_" + type.suffix(),
        threads(sizes.elements),
        new Arguments()
            .pointer(at.x)
            .pointer(at.previous)
            .pointer(at.prediction)
            .pointer(at.table)
            .pointer(at.state)
            .pointer(at.known)
            .pointer(at.mask)
            .pointer(at.thresholds)
            .pointer(at.input)
            .pointer(at.times)
            .pointer(at.blocks)
            .pointer(at.refusal)
            .int64(sizes.elements)
            .int32(sizes.each)
            .int32(sizes.channels)
            .int32(sizes.rows)
            .float64(sizes.guidance)
            .int32(sizes.guided ? 1 : 0)
            .int32(sizes.learned ? 1 : 0)
            .int32(clip ? 1 : 0)
            .int32(stream)
            .toList());
  }

  /** What a variational bound is of; device addresses, 0 for v where there is none. */
  public record Bound(long prediction, long x, long images, long times, long table, long v) {
    private Arguments arguments() {
      return new Arguments()
          .pointer(prediction)
          .pointer(x)
          .pointer(images)
          .pointer(times)
          .pointer(table)
          .pointer(v);
    }
  }

  /**
   * terms [N] f32, written: of each image.
   *
   * @param each elements of an image
   * @param rows of the table
   */
  public static KernelCall variationalBound(
      Element type, Bound of, long terms, long refusal, int images, int each, int rows) {
    return new KernelCall(
        BOUND,
        "variational_bound_" + type.suffix(),
        LaunchShape.linear(images, THREADS),
        of.arguments().pointer(terms).pointer(refusal).int32(each).int32(rows).toList());
  }

  /**
   * d [N,E], written: like v; dmean [1] f32.
   *
   * @param scale of dmean
   */
  public static KernelCall variationalBoundBackward(
      Element type,
      Bound of,
      long dmean,
      long d,
      long refusal,
      long elements,
      int each,
      int rows,
      double scale) {
    return new KernelCall(
        BOUND,
        "variational_bound_backward_" + type.suffix(),
        threads(elements),
        of.arguments()
            .pointer(dmean)
            .pointer(d)
            .pointer(refusal)
            .int64(elements)
            .int32(each)
            .int32(rows)
            .float64(scale)
            .toList());
  }

  /** w [9,C,K] to y [16,K,C], f32. */
  public static KernelCall foldUpsampling(long w, long y, int channels, int filters) {
    return fold("fold_upsampling_f32", SMALL_TAPS, w, y, channels, filters);
  }

  /** dy [16,K,C] to dw [9,C,K], f32. */
  public static KernelCall foldUpsamplingBackward(long dy, long dw, int channels, int filters) {
    return fold("fold_upsampling_backward_f32", LARGE_TAPS, dy, dw, channels, filters);
  }

  private static KernelCall fold(
      String kernel, int taps, long from, long to, int channels, int filters) {
    return new KernelCall(
        FOLD,
        kernel,
        threads((long) taps * channels * filters),
        new Arguments().pointer(from).pointer(to).int32(channels).int32(filters).toList());
  }
}
