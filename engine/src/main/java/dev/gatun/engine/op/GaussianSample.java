package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.Arrays;
import java.util.List;

/**
 * Draws latent variables from normal distributions, by the reparameterization trick: z = mean +
 * exp(logVariance / 2) * eps, with eps standard normal.
 *
 * <p>Inputs: parameters [N,...,2D] f32, along the last axis D means, then D log-variances; step [1]
 * f64, a whole number below 2^31. Outputs: z [S*N,...,D] f32, sample s of image n at row s * N + n;
 * eps like z, what was drawn. The gradient is that of z.
 *
 * <p>With E elements of an image of z, element e of sample s of image n takes the normal number
 * (step, ((first + n) * S + s) * E + e) of the seed's stream {@code LATENT} ({@link
 * dev.gatun.engine.Philox#normal}): a resumed run draws what an unbroken one does, and parts of a
 * batch what the whole does.
 *
 * @param first number of the first image in its batch
 * @param samples S, of each image
 * @see "Kingma and Welling 2014, Auto-Encoding Variational Bayes, section 2.4"
 */
public record GaussianSample(long seed, int first, int samples) implements Op {
  @Override
  public String name() {
    return "gaussian_sample";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    Shape parameters = checkParameters(this, in);
    require(in.get(1).equals(TensorSpec.of(DType.F64, 1)), in, "step must be [1] f64");
    require(first >= 0, in, "the first image is " + first);
    TensorSpec z = latents(this, in, parameters, samples);
    return List.of(z, z);
  }

  /** The shape of the first input, which must be means and log-variances. */
  static Shape checkParameters(Op op, List<TensorSpec> in) {
    Shape shape = in.getFirst().shape();
    op.require(
        in.getFirst().dtype() == DType.F32 && shape.rank() >= 2,
        in,
        "parameters must be [N,...,2D] f32");
    op.require(shape.elements() > 0, in, "empty input");
    op.require(shape.dim(-1) % 2 == 0, in, "parameters must have as many log-variances as means");
    return shape;
  }

  /** [S*N,...,D] of [N,...,2D]. */
  static TensorSpec latents(Op op, List<TensorSpec> in, Shape parameters, int samples) {
    op.require(samples >= 1, in, "there must be at least 1 sample, not " + samples);
    op.require(
        (long) parameters.elements() / 2 * samples <= Integer.MAX_VALUE,
        in,
        samples + " samples are more than 2^31-1 elements");
    int[] dims = parameters.withLast(parameters.dim(-1) / 2).toArray();
    dims[0] *= samples;
    return new TensorSpec(Shape.of(dims), DType.F32);
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    if (gradients.get(1) != null) {
      throw new UnsupportedOperationException(
          name() + " has a gradient for z only, not for the noise");
    }
    Value dparameters =
        graph.apply(
            new GaussianSampleBackward(samples),
            inputs.getFirst(),
            outputs.get(1),
            gradients.getFirst());
    return Arrays.asList(dparameters, null);
  }
}
