package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link Gate} with respect to x.
 *
 * <p>Inputs: x [...,2C]; dy [...,C] in x's dtype. Output: dx like x.
 */
public record GateBackward(Gate.Kind kind, int groups) implements Op {
  @Override
  public String name() {
    return "gate_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    List<TensorSpec> forward = new Gate(kind, groups).check(in.subList(0, 1));
    require(in.get(1).equals(forward.getFirst()), in, "dy must be " + forward.getFirst());
    return List.of(in.getFirst());
  }
}
