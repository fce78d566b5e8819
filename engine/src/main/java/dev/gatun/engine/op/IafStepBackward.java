package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link IafStep}.
 *
 * <p>Inputs: z, said as there; dy like z; dlogDeterminant [M] f32. Outputs: dz like z, sigmoid(s)
 * dy; dsaid like said: of m, (1 - sigmoid(s)) dy; of s, (1 - sigmoid(s)) (sigmoid(s) (z - m) dy +
 * dlogDeterminant).
 */
public record IafStepBackward() implements Op {
  @Override
  public String name() {
    return "iaf_step_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 4, 4);
    List<TensorSpec> forward = new IafStep().check(in.subList(0, 2));
    require(in.get(2).equals(forward.get(0)), in, "dy must be " + forward.get(0));
    require(in.get(3).equals(forward.get(1)), in, "dlogDeterminant must be " + forward.get(1));
    return List.copyOf(in.subList(0, 2));
  }
}
