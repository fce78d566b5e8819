package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link Elu}: dx = dy where y > 0, else dy * (y + 1). Inputs: y, dy, alike.
 * Output: like y.
 */
public record EluBackward() implements Op {
  @Override
  public String name() {
    return "elu_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    Checks.activation(this, in, in.getFirst());
    require(in.get(1).equals(in.get(0)), in, "y and dy must be alike");
    return List.of(in.getFirst());
  }
}
