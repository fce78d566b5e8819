package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link GaussianMixture}. With r_mk = ddensity_m * w_k * N(z_m; component k) /
 * density_m, the posterior of a component times what flows back, and v = exp(logVariance):
 *
 * <p>dz = sum over k of r * (mean - z) / v; of the rows m that see a component, dmean = sum of r *
 * (z - mean) / v, dlogVariance = sum of r * ((z - mean)^2 / v - 1) / 2, dlogit = sum of (r -
 * ddensity * w).
 *
 * <p>Inputs: z [M,...,D], parameters and, if there are any, logits as there; logDensity [M] f32,
 * what it returned; ddensity [M] f32. Outputs: dz, dparameters and, with logits, dlogits, like
 * those inputs.
 *
 * @param components K
 */
public record GaussianMixtureBackward(int components) implements Op {
  @Override
  public String name() {
    return "gaussian_mixture_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 4, 5);
    List<TensorSpec> mixture = in.subList(0, in.size() - 2);
    TensorSpec density = GaussianMixture.checkMixture(this, components, mixture).getFirst();
    require(
        in.get(in.size() - 2).equals(density) && in.getLast().equals(density),
        in,
        "logDensity and ddensity must be " + density);
    return List.copyOf(mixture);
  }
}
