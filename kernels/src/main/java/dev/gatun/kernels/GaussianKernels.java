package dev.gatun.kernels;

/**
 * Latent variables of normal distributions, their divergence and their density under mixtures:
 * {@code gaussian.cu}, {@code gaussian_mixture.cu}. Parameters are [N,P,2D] f32, of each of P
 * positions of an image D means, then D log-variances; E = P * D latents an image.
 */
public final class GaussianKernels {
  private static final String MODULE = "gaussian";
  private static final String MIXTURE = "gaussian_mixture";
  private static final int THREADS = 256;
  private static final int COLUMNS = 32;

  private GaussianKernels() {}

  private static LaunchShape threads(long count) {
    return LaunchShape.linear(Math.toIntExact(Math.ceilDiv(count, THREADS)), THREADS);
  }

  /**
   * How many latents there are.
   *
   * @param images N
   * @param each E
   * @param depth D
   */
  public record Latents(int images, int each, int depth) {
    private long elements() {
      return (long) images * each;
    }
  }

  /**
   * z, eps [S,N,E] f32, written; step [1] f64.
   *
   * @param first number of the first image
   * @param samples S
   */
  public static KernelCall sample(
      long parameters,
      long step,
      long z,
      long eps,
      long refusal,
      Latents sizes,
      long seed,
      int first,
      int samples,
      int stream) {
    long elements = samples * sizes.elements();
    return new KernelCall(
        MODULE,
        "gaussian_sample_f32",
        threads(elements),
        new Arguments()
            .pointer(parameters)
            .pointer(step)
            .pointer(z)
            .pointer(eps)
            .pointer(refusal)
            .int64(elements)
            .int32(sizes.images)
            .int32(sizes.each)
            .int32(sizes.depth)
            .int64(seed)
            .int32(first)
            .int32(samples)
            .int32(stream)
            .toList());
  }

  /** dparameters [N,P,2D], written; eps, dz [S,N,E] f32. */
  public static KernelCall sampleBackward(
      long parameters, long eps, long dz, long dparameters, Latents sizes, int samples) {
    return new KernelCall(
        MODULE,
        "gaussian_sample_backward_f32",
        threads(sizes.elements()),
        new Arguments()
            .pointer(parameters)
            .pointer(eps)
            .pointer(dz)
            .pointer(dparameters)
            .int64(sizes.elements())
            .int32(sizes.each)
            .int32(sizes.depth)
            .int32(samples)
            .toList());
  }

  /** kl [N] f32, written. */
  public static KernelCall kl(long parameters, long kl, Latents sizes) {
    return new KernelCall(
        MODULE,
        "gaussian_kl_f32",
        LaunchShape.linear(sizes.images, THREADS),
        new Arguments()
            .pointer(parameters)
            .pointer(kl)
            .int32(sizes.each)
            .int32(sizes.depth)
            .toList());
  }

  /** byDimension [E] f32, written. */
  public static KernelCall klByDimension(long parameters, long byDimension, Latents sizes) {
    return new KernelCall(
        MODULE,
        "gaussian_kl_by_dimension_f32",
        LaunchShape.linear(Math.ceilDiv(sizes.each, COLUMNS), THREADS),
        new Arguments()
            .pointer(parameters)
            .pointer(byDimension)
            .int32(sizes.images)
            .int32(sizes.each)
            .int32(sizes.depth)
            .toList());
  }

  /** dparameters [N,P,2D], written; dkl [N] and dbyDimension [E] f32, 0 for what there is not. */
  public static KernelCall klBackward(
      long parameters, long dkl, long dbyDimension, long dparameters, Latents sizes) {
    return new KernelCall(
        MODULE,
        "gaussian_kl_backward_f32",
        threads(sizes.elements()),
        new Arguments()
            .pointer(parameters)
            .pointer(dkl)
            .pointer(dbyDimension)
            .pointer(dparameters)
            .int64(sizes.elements())
            .int32(sizes.images)
            .int32(sizes.each)
            .int32(sizes.depth)
            .toList());
  }

  /** What latents cost, and how much of that at which step; 0 steps for all of it at once. */
  public record Objective(
      double beta, long warmupSteps, double freeNats, double capacity, long capacitySteps) {
    private Arguments members() {
      return new Arguments()
          .float64(beta)
          .float64(warmupSteps)
          .float64(freeNats)
          .float64(capacity)
          .float64(capacitySteps);
    }
  }

  /** objective [1] f32, written; kl [count] f32, step [1] f64. */
  public static KernelCall objective(
      long kl, long step, long objective, long refusal, int count, Objective of) {
    return new KernelCall(
        MODULE,
        "kl_objective_f32",
        LaunchShape.linear(1, THREADS),
        new Arguments()
            .pointer(kl)
            .pointer(step)
            .pointer(objective)
            .pointer(refusal)
            .int32(count)
            .struct(of.members())
            .toList());
  }

  /** dkl [count] f32, written; kl [count] f32, step [1] f64, dobjective [1] f32. */
  public static KernelCall objectiveBackward(
      long kl, long step, long dobjective, long dkl, long refusal, int count, Objective of) {
    return new KernelCall(
        MODULE,
        "kl_objective_backward_f32",
        LaunchShape.linear(1, THREADS),
        new Arguments()
            .pointer(kl)
            .pointer(step)
            .pointer(dobjective)
            .pointer(dkl)
            .pointer(refusal)
            .int32(count)
            .struct(of.members())
            .toList());
  }

  /**
   * A mixture and what it is asked of; device addresses.
   *
   * @param z [M,D] f32
   * @param parameters [R,K,2,D] f32
   * @param logits [R,K] f32, or 0
   * @param inverses [R,K,D] f64, written by {@link #mixtureComponents} and read by the others
   * @param most [R,K] f64, likewise
   * @param weights [R,K] f64, likewise
   */
  public record Mixture(
      long z, long parameters, long logits, long inverses, long most, long weights) {}

  /**
   * How much there is of a mixture.
   *
   * @param count M
   * @param rows R
   * @param components K
   * @param depth D
   */
  public record MixtureSizes(int count, int rows, int components, int depth) {
    /** Components of all rows together. */
    public int all() {
      return Math.multiplyExact(rows, components);
    }
  }

  /** What does not depend on z. */
  public static KernelCall mixtureComponents(Mixture of, MixtureSizes sizes) {
    return new KernelCall(
        MIXTURE,
        "gaussian_mixture_components_f32",
        LaunchShape.linear(sizes.all(), THREADS),
        new Arguments()
            .pointer(of.parameters)
            .pointer(of.logits)
            .pointer(of.inverses)
            .pointer(of.most)
            .pointer(of.weights)
            .int32(sizes.components)
            .int32(sizes.depth)
            .toList());
  }

  /** logDensity [M] f32, written. */
  public static KernelCall mixture(Mixture of, MixtureSizes sizes, long logDensity) {
    return new KernelCall(
        MIXTURE,
        "gaussian_mixture_f32",
        LaunchShape.linear(sizes.count, THREADS),
        new Arguments()
            .pointer(of.z)
            .pointer(of.parameters)
            .pointer(of.inverses)
            .pointer(of.most)
            .pointer(logDensity)
            .int32(sizes.rows)
            .int32(sizes.components)
            .int32(sizes.depth)
            .toList());
  }

  /** shares [M,K] f64 and dz [M,D] f32, written; logDensity, ddensity [M] f32. */
  public static KernelCall mixtureBackwardRows(
      Mixture of, MixtureSizes sizes, long logDensity, long ddensity, long shares, long dz) {
    return new KernelCall(
        MIXTURE,
        "gaussian_mixture_backward_rows_f32",
        LaunchShape.linear(sizes.count, THREADS),
        new Arguments()
            .pointer(of.z)
            .pointer(of.parameters)
            .pointer(of.inverses)
            .pointer(of.most)
            .pointer(logDensity)
            .pointer(ddensity)
            .pointer(shares)
            .pointer(dz)
            .int32(sizes.rows)
            .int32(sizes.components)
            .int32(sizes.depth)
            .toList());
  }

  /** dparameters [R,K,2,D] and dlogits [R,K] f32, or 0, written; shares [M,K] f64. */
  public static KernelCall mixtureBackwardComponents(
      Mixture of, MixtureSizes sizes, long shares, long ddensity, long dparameters, long dlogits) {
    return new KernelCall(
        MIXTURE,
        "gaussian_mixture_backward_components_f32",
        LaunchShape.linear(sizes.all(), THREADS),
        new Arguments()
            .pointer(of.z)
            .pointer(of.parameters)
            .pointer(of.inverses)
            .pointer(of.weights)
            .pointer(shares)
            .pointer(ddensity)
            .pointer(dparameters)
            .pointer(dlogits)
            .int32(sizes.count)
            .int32(sizes.rows)
            .int32(sizes.components)
            .int32(sizes.depth)
            .toList());
  }
}
