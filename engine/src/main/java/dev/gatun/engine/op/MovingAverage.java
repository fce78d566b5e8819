package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * Moves a state towards x: state = decay * state + (1 - decay) * x.
 *
 * <p>Inputs: state f32, updated in place; x of its shape, f32. No outputs. Where data was refused
 * before it, a GPU leaves the state as it is, as {@link Adam} does the weights.
 *
 * @see "van den Oord et al. 2017, Neural Discrete Representation Learning, appendix A.1"
 */
public record MovingAverage(double decay) implements Op {
  @Override
  public String name() {
    return "moving_average";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    TensorSpec state = in.getFirst();
    require(state.dtype() == DType.F32, in, "state must be f32");
    require(state.shape().elements() > 0, in, "empty input");
    require(in.get(1).equals(state), in, "x must be like the state");
    require(decay >= 0 && decay < 1, in, "decay must be at least 0 and below 1, not " + decay);
    return List.of();
  }

  @Override
  public List<Integer> mutates() {
    return List.of(0);
  }
}
