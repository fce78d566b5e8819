package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link LogisticMixture}'s mean.
 *
 * <p>Inputs: parameters [N,H,W,P] f32; images [N,H,W,C] u8; dmean [1] f32. Output: shaped like the
 * parameters, in {@code type}.
 */
public record LogisticMixtureBackward(int mixtures, int levels, DType type) implements Op {
  @Override
  public String name() {
    return "logistic_mixture_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 3, 3);
    List<TensorSpec> forward = new LogisticMixture(mixtures, levels, null).check(in.subList(0, 2));
    require(in.get(2).equals(forward.get(0)), in, "dmean must be " + forward.get(0));
    require(type == DType.F32 || type == DType.BF16, in, "the gradient must be f32 or bf16");
    return List.of(new TensorSpec(in.get(0).shape(), type));
  }
}
