package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link GumbelSoftmax}: the sum over the samples of y * (dy - the sum of y * dy
 * over the latent's categories) / tau.
 *
 * <p>Inputs: y, dy [S*N,...,L*K] f32; step [1] f64 as there. Output: dlogits [N,...,L*K] f32.
 */
public record GumbelSoftmaxBackward(
    int categories, int samples, GumbelSoftmax.Temperature temperature) implements Op {
  @Override
  public String name() {
    return "gumbel_softmax_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 3, 3);
    temperature.check(this, in);
    TensorSpec y = in.getFirst();
    CategoricalChecks.latents(this, in, y, "y", categories);
    require(in.get(1).equals(y), in, "dy must be like y");
    CategoricalChecks.step(this, in, in.get(2));
    int rows = y.shape().dim(0);
    require(
        samples >= 1 && rows % samples == 0,
        in,
        "y has " + rows + " rows, not " + samples + " samples of each image");
    return List.of(CategoricalChecks.ofImages(y, rows / samples));
  }
}
