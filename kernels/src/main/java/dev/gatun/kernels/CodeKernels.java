package dev.gatun.kernels;

/**
 * Discrete latent variables: {@code categorical.cu}, {@code vector_quantize.cu}. What takes a
 * {@code refusal}: see {@link LossKernels}.
 */
public final class CodeKernels {
  private static final String CATEGORICAL = "categorical";
  private static final String VECTORS = "vector_quantize";
  private static final int THREADS = 256;
  private static final int WARPS = THREADS / 32;
  private static final int COLUMNS = 32;

  private CodeKernels() {}

  private static LaunchShape threads(long count) {
    return LaunchShape.linear(Math.toIntExact(Math.ceilDiv(count, THREADS)), THREADS);
  }

  private static LaunchShape warps(long count) {
    return LaunchShape.linear(Math.toIntExact(Math.ceilDiv(count, WARPS)), THREADS);
  }

  /**
   * Draws of [images,latents] variables.
   *
   * @param first number of the first image
   * @param latents of an image
   */
  public record Draws(long seed, int first, int stream, int images, int latents, int samples) {
    private Arguments members() {
      return new Arguments()
          .int64(seed)
          .int32(first)
          .int32(stream)
          .int32(images)
          .int32(latents)
          .int32(samples);
    }

    private long rows() {
      return (long) samples * images * latents;
    }
  }

  /** max(least, start * exp(-rate * step)). */
  public record Temperature(double start, double least, double rate) {
    private Arguments members() {
      return new Arguments().float64(start).float64(least).float64(rate);
    }
  }

  /** y [S,N,L,K] f32, written: relaxed draws of logits [N,L,K] f32; step [1] f64. */
  public static KernelCall gumbelSoftmax(
      long logits,
      long step,
      long y,
      long refusal,
      int categories,
      Draws draws,
      Temperature temperature) {
    return new KernelCall(
        CATEGORICAL,
        "gumbel_softmax_f32",
        warps(draws.rows()),
        new Arguments()
            .pointer(logits)
            .pointer(step)
            .pointer(y)
            .pointer(refusal)
            .int64(draws.rows())
            .int32(categories)
            .struct(draws.members())
            .struct(temperature.members())
            .toList());
  }

  /** dlogits [rows,K] f32, written; y, dy [samples,rows,K] f32; step [1] f64. */
  public static KernelCall gumbelSoftmaxBackward(
      long y,
      long dy,
      long step,
      long dlogits,
      long refusal,
      long rows,
      int categories,
      int samples,
      Temperature temperature) {
    return new KernelCall(
        CATEGORICAL,
        "gumbel_softmax_backward_f32",
        warps(rows),
        new Arguments()
            .pointer(y)
            .pointer(dy)
            .pointer(step)
            .pointer(dlogits)
            .pointer(refusal)
            .int64(rows)
            .int32(categories)
            .int32(samples)
            .struct(temperature.members())
            .toList());
  }

  /** y [S,N,L,K] f32, written: one-hot draws of logits [N,L,K] f32; step [1] f64. */
  public static KernelCall categoricalSample(
      long logits, long step, long y, long refusal, int categories, Draws draws) {
    return new KernelCall(
        CATEGORICAL,
        "categorical_sample_f32",
        warps(draws.rows()),
        new Arguments()
            .pointer(logits)
            .pointer(step)
            .pointer(y)
            .pointer(refusal)
            .int64(draws.rows())
            .int32(categories)
            .struct(draws.members())
            .toList());
  }

  /** terms [rows] f64, written: of each latent of logits [rows,K] f32. */
  public static KernelCall categoricalKl(long logits, long terms, long rows, int categories) {
    return new KernelCall(
        CATEGORICAL,
        "categorical_kl_f32",
        warps(rows),
        new Arguments().pointer(logits).pointer(terms).int64(rows).int32(categories).toList());
  }

  /** kl [images], byDimension [latents] f32, written: of terms [images,latents] f64. */
  public static KernelCall categoricalKlFinish(
      long terms, long kl, long byDimension, int images, int latents) {
    return new KernelCall(
        CATEGORICAL,
        "categorical_kl_finish",
        LaunchShape.linear(Math.addExact(images, latents), THREADS),
        new Arguments()
            .pointer(terms)
            .pointer(kl)
            .pointer(byDimension)
            .int32(images)
            .int32(latents)
            .toList());
  }

  /** dlogits [images,latents,K] f32, written; dkl, dbyDimension f32, 0 for what there is not. */
  public static KernelCall categoricalKlBackward(
      long logits,
      long dkl,
      long dbyDimension,
      long dlogits,
      int images,
      int latents,
      int categories) {
    return new KernelCall(
        CATEGORICAL,
        "categorical_kl_backward_f32",
        warps((long) images * latents),
        new Arguments()
            .pointer(logits)
            .pointer(dkl)
            .pointer(dbyDimension)
            .pointer(dlogits)
            .int32(images)
            .int32(latents)
            .int32(categories)
            .toList());
  }

  /** y [rows] f32, written; z [rows,latents,K], logits [images,latents,K] f32. */
  public static KernelCall categoricalLogProbability(
      long z, long logits, long y, int rows, int images, int latents, int categories) {
    return new KernelCall(
        CATEGORICAL,
        "categorical_log_probability_f32",
        LaunchShape.linear(rows, THREADS),
        new Arguments()
            .pointer(z)
            .pointer(logits)
            .pointer(y)
            .int32(images)
            .int32(latents)
            .int32(categories)
            .toList());
  }

  /** quantized [P,D], indices [P] u8, written; z [P,D]; codebook [K,D] f32. */
  public static KernelCall vectorQuantize(
      Element type,
      long z,
      long codebook,
      long quantized,
      long indices,
      int positions,
      int channels,
      int codes) {
    return new KernelCall(
        VECTORS,
        "vector_quantize_" + type.suffix(),
        warps(positions),
        new Arguments()
            .pointer(z)
            .pointer(codebook)
            .pointer(quantized)
            .pointer(indices)
            .int32(positions)
            .int32(channels)
            .int32(codes)
            .toList());
  }

  /** y [P,D], written; indices [P] u8; codebook [K,D] f32. */
  public static KernelCall codeVectors(
      Element type,
      long indices,
      long codebook,
      long y,
      long refusal,
      int positions,
      int channels,
      int codes) {
    long elements = (long) positions * channels;
    return new KernelCall(
        VECTORS,
        "code_vectors_" + type.suffix(),
        threads(elements),
        new Arguments()
            .pointer(indices)
            .pointer(codebook)
            .pointer(y)
            .pointer(refusal)
            .int64(elements)
            .int32(channels)
            .int32(codes)
            .toList());
  }

  /** sums [K,D+1] f32, written; z [P,D]; indices [P] u8. */
  public static KernelCall codebookSums(
      Element type,
      long z,
      long indices,
      long sums,
      long refusal,
      int positions,
      int channels,
      int codes) {
    return new KernelCall(
        VECTORS,
        "codebook_sums_" + type.suffix(),
        new LaunchShape(Math.ceilDiv(channels + 1, COLUMNS), codes, 1, THREADS, 1, 1, 0),
        new Arguments()
            .pointer(z)
            .pointer(indices)
            .pointer(sums)
            .pointer(refusal)
            .int32(positions)
            .int32(channels)
            .int32(codes)
            .toList());
  }

  /** state [elements] f32, updated by x. */
  public static KernelCall movingAverage(
      long state, long x, long refusal, long elements, double decay) {
    return new KernelCall(
        VECTORS,
        "moving_average_f32",
        threads(elements),
        new Arguments()
            .pointer(state)
            .pointer(x)
            .pointer(refusal)
            .int64(elements)
            .float64(decay)
            .toList());
  }

  /** codebook [K,D] f32, written; state [K,D+1] f32. */
  public static KernelCall codebook(
      long state, long codebook, int codes, int channels, double epsilon) {
    return new KernelCall(
        VECTORS,
        "codebook_f32",
        LaunchShape.linear(codes, THREADS),
        new Arguments()
            .pointer(state)
            .pointer(codebook)
            .int32(codes)
            .int32(channels)
            .float64(epsilon)
            .toList());
  }
}
