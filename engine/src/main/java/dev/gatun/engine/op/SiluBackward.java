package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link Silu}: dx = dy * g * (1 + x * (1 - g)), g = sigmoid(x). Inputs: x, dy,
 * alike. Output: like x.
 */
public record SiluBackward() implements Op {
  @Override
  public String name() {
    return "silu_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    Checks.activation(this, in, in.getFirst());
    require(in.get(1).equals(in.get(0)), in, "x and dy must be alike");
    return List.of(in.getFirst());
  }
}
