package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;

/**
 * The divergence of normal distributions from the standard one: (mean^2 + exp(logVariance) - 1 -
 * logVariance) / 2 for each latent variable, in nats.
 *
 * <p>Input: parameters [N,...,2D] f32, along the last axis D means, then D log-variances. Outputs:
 * kl [N] f32, of each image the sum over its latents; byDimension [E] f32, of each of the E latents
 * of an image the mean over the images. Either has a gradient.
 *
 * @see "Kingma and Welling 2014, Auto-Encoding Variational Bayes, appendix B"
 */
public record GaussianKl() implements Op {
  @Override
  public String name() {
    return "gaussian_kl";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 1);
    Shape parameters = GaussianSample.checkParameters(this, in);
    int images = parameters.dim(0);
    return List.of(
        TensorSpec.of(DType.F32, images),
        TensorSpec.of(DType.F32, parameters.elements() / images / 2));
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    Value dkl = gradients.get(0);
    Value dbyDimension = gradients.get(1);
    List<Value> in =
        Stream.of(inputs.getFirst(), dkl, dbyDimension).filter(Objects::nonNull).toList();
    return graph.apply(new GaussianKlBackward(dkl != null, dbyDimension != null), in);
  }
}
