package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link ImportanceBound}'s mean: factor_i softmax_s(-w) dmean / N.
 *
 * <p>Inputs: x_i [S*N] f32 as there; dmean [1] f32. Outputs: a gradient like each x_i. The softmax
 * is made anew of w: of a bound of a thousand nats in f32 it would be off by 1 in 10,000.
 *
 * @see "Burda et al. 2016, Importance Weighted Autoencoders, section 3, equation 14"
 */
public record ImportanceBoundBackward(int samples, List<Double> factors) implements Op {
  public ImportanceBoundBackward {
    factors = List.copyOf(factors);
  }

  @Override
  public String name() {
    return "importance_bound_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    require(!in.isEmpty(), in, "takes inputs and dmean");
    List<TensorSpec> x = in.subList(0, in.size() - 1);
    TensorSpec mean = new ImportanceBound(samples, factors).check(x).getFirst();
    require(in.getLast().equals(mean), in, "dmean must be " + mean);
    return List.copyOf(x);
  }
}
