package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link KlObjective}: beta * w * dobjective for each latent above its free nats,
 * with the sign of what the total has above the capacity, where there is one; else 0.
 *
 * <p>Inputs: kl [E] f32, step [1] f64 as there; dobjective [1] f32. Output: like kl.
 */
public record KlObjectiveBackward(KlObjective forward) implements Op {
  @Override
  public String name() {
    return "kl_objective_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 3, 3);
    TensorSpec objective = forward.check(in.subList(0, 2)).getFirst();
    require(in.get(2).equals(objective), in, "dobjective must be [1] f32");
    return List.of(in.getFirst());
  }
}
