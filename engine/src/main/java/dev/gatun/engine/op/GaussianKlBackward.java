package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link GaussianKl}: dmean = g * mean, dlogVariance = g * (exp(logVariance) - 1) /
 * 2, where g is dkl of the image plus dbyDimension of the latent / N.
 *
 * <p>Inputs: parameters [N,...,2D] f32; dkl [N] f32, if there is one; dbyDimension [E] f32, if
 * there is one. Output: like the parameters.
 *
 * @param ofImages whether there is dkl
 * @param ofDimensions whether there is dbyDimension
 */
public record GaussianKlBackward(boolean ofImages, boolean ofDimensions) implements Op {
  @Override
  public String name() {
    return "gaussian_kl_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    require(ofImages || ofDimensions, in, "there must be dkl, dbyDimension or both");
    int count = ofImages && ofDimensions ? 3 : 2;
    requireCount(in, count, count);
    List<TensorSpec> forward = new GaussianKl().check(in.subList(0, 1));
    require(!ofImages || in.get(1).equals(forward.get(0)), in, "dkl must be [N] f32");
    require(
        !ofDimensions || in.getLast().equals(forward.get(1)), in, "dbyDimension must be [E] f32");
    return List.of(in.getFirst());
  }
}
