package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link GaussianSample}'s z: dmean = sum of dz over an image's samples,
 * dlogVariance = sum of dz * eps * exp(logVariance / 2) / 2.
 *
 * <p>Inputs: parameters [N,...,2D] f32; eps [S*N,...,D] f32; dz like eps. Output: like the
 * parameters.
 *
 * @param samples S, of each image
 */
public record GaussianSampleBackward(int samples) implements Op {
  @Override
  public String name() {
    return "gaussian_sample_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 3, 3);
    Shape parameters = GaussianSample.checkParameters(this, in);
    TensorSpec z = GaussianSample.latents(this, in, parameters, samples);
    require(in.get(1).equals(z) && in.get(2).equals(z), in, "eps and dz must be " + z);
    return List.of(in.getFirst());
  }
}
