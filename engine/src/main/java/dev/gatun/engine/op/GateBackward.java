package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link Gate}.
 *
 * <p>Inputs: x [...,2C]; optionally the addend like x; dy [...,C] in x's dtype. Output: dx like x,
 * which is also the addend's gradient.
 */
public record GateBackward() implements Op {
  @Override
  public String name() {
    return "gate_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 3);
    List<TensorSpec> forward = new Gate().check(in.subList(0, in.size() - 1));
    require(in.getLast().equals(forward.getFirst()), in, "dy must be " + forward.getFirst());
    return List.of(in.getFirst());
  }
}
