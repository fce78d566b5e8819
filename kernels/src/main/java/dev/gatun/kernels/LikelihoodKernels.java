package dev.gatun.kernels;

import java.util.List;

/**
 * Likelihoods of whole images, bounds on them and flows: {@code image_likelihood.cu}, {@code
 * importance_bound.cu}, {@code iaf_step.cu}. Tensors are device addresses, f32 where nothing else
 * is said; {@code refusal} is what {@link LossKernels} describes.
 */
public final class LikelihoodKernels {
  private static final int THREADS = 256;
  private static final int MOST_FACTORS = 8;

  private LikelihoodKernels() {}

  /**
   * What rows of parameters are compared with.
   *
   * @param ofLevels whether targets are u8, not f32
   * @param images row m has image m % images
   * @param elements of an image
   */
  public record Targets(
      long address, boolean ofLevels, int images, int elements, int channels, int levels) {
    private Arguments sizes(Arguments arguments) {
      return arguments.int32(images).int32(elements).int32(channels).int32(levels);
    }

    private String variant(String kind) {
      return kind + (ofLevels ? "_u8_" : "_f32_");
    }
  }

  /**
   * nats [rows], written.
   *
   * @param kind as in the kernel's name: bernoulli, gaussian, squared, logistic
   */
  public static KernelCall imageLikelihood(
      String kind, long parameters, Targets targets, long nats, long refusal, int rows) {
    return new KernelCall(
        "image_likelihood",
        "image_likelihood_" + targets.variant(kind) + "f32",
        LaunchShape.linear(rows, THREADS),
        targets
            .sizes(
                new Arguments()
                    .pointer(parameters)
                    .pointer(targets.address)
                    .pointer(nats)
                    .pointer(refusal))
            .toList());
  }

  /** dnats [rows]; the gradient like the parameters, in {@code type}, written. */
  public static KernelCall imageLikelihoodBackward(
      String kind,
      Element type,
      long parameters,
      Targets targets,
      long dnats,
      long gradient,
      long refusal,
      int rows) {
    long elements = (long) rows * targets.elements;
    return new KernelCall(
        "image_likelihood",
        "image_likelihood_backward_" + targets.variant(kind) + type.suffix(),
        each(elements),
        targets
            .sizes(
                new Arguments()
                    .pointer(parameters)
                    .pointer(targets.address)
                    .pointer(dnats)
                    .pointer(gradient)
                    .pointer(refusal)
                    .int64(elements))
            .toList());
  }

  /**
   * What importance weights are made of.
   *
   * @param x addresses of [samples,images], at most 8
   * @param factors as many
   */
  public record Weights(List<Long> x, List<Double> factors, int samples, int images) {
    private Arguments members() {
      Arguments members = addresses(x);
      for (int i = 0; i < MOST_FACTORS; i++) {
        members.float64(i < factors.size() ? factors.get(i) : 0);
      }
      return members.int32(x.size()).int32(samples).int32(images);
    }
  }

  private static Arguments addresses(List<Long> all) {
    Arguments members = new Arguments();
    for (int i = 0; i < MOST_FACTORS; i++) {
      members.pointer(i < all.size() ? all.get(i) : 0);
    }
    return members;
  }

  /** each [images], written. */
  public static KernelCall importanceBound(Weights weights, long each) {
    return new KernelCall(
        "importance_bound",
        "importance_bound",
        LaunchShape.linear(weights.images, THREADS),
        new Arguments().struct(weights.members()).pointer(each).toList());
  }

  /** dmean [1]; dx like x, written. */
  public static KernelCall importanceBoundBackward(Weights weights, long dmean, List<Long> dx) {
    return new KernelCall(
        "importance_bound",
        "importance_bound_backward",
        LaunchShape.linear(weights.images, THREADS),
        new Arguments().struct(weights.members()).pointer(dmean).struct(addresses(dx)).toList());
  }

  /**
   * z, y [rows,E]; said [rows,2E]; logDeterminant [rows].
   *
   * @param elements E
   * @param channels of E, along the last axis
   */
  public static KernelCall iafStep(
      long z, long said, long y, long logDeterminant, int rows, int elements, int channels) {
    return new KernelCall(
        "iaf_step",
        "iaf_step",
        LaunchShape.linear(rows, THREADS),
        new Arguments()
            .pointer(z)
            .pointer(said)
            .pointer(y)
            .pointer(logDeterminant)
            .int32(elements)
            .int32(channels)
            .toList());
  }

  /** dy, dz [rows,E]; dlogDeterminant [rows]; dsaid [rows,2E]; dz and dsaid are written. */
  public static KernelCall iafStepBackward(
      long z,
      long said,
      long dy,
      long dlogDeterminant,
      long dz,
      long dsaid,
      int rows,
      int elements,
      int channels) {
    long all = (long) rows * elements;
    return new KernelCall(
        "iaf_step",
        "iaf_step_backward",
        each(all),
        new Arguments()
            .pointer(z)
            .pointer(said)
            .pointer(dy)
            .pointer(dlogDeterminant)
            .pointer(dz)
            .pointer(dsaid)
            .int64(all)
            .int32(elements)
            .int32(channels)
            .toList());
  }

  private static LaunchShape each(long elements) {
    return LaunchShape.linear(Math.toIntExact(Math.ceilDiv(elements, THREADS)), THREADS);
  }
}
