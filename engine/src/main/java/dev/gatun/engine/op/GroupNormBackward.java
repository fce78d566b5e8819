package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradients of {@link GroupNorm}.
 *
 * <p>Inputs: x [N,H,W,C]; gamma [C] f32; mean, rstd [N,groups] f32; dy like x. Outputs: dx like x;
 * dgamma, dbeta [C] f32.
 */
public record GroupNormBackward(GroupNorm forward) implements Op {
  @Override
  public String name() {
    return "group_norm_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 5, 5);
    TensorSpec x = in.get(0);
    TensorSpec gamma = in.get(1);
    List<TensorSpec> outputs = forward.check(List.of(x, gamma, gamma));
    require(
        in.get(2).equals(outputs.get(1)) && in.get(3).equals(outputs.get(2)),
        in,
        "mean, rstd must be " + outputs.get(1));
    require(in.get(4).equals(x), in, "dy must be like x");
    TensorSpec affine = TensorSpec.of(DType.F32, x.shape().dim(3));
    return List.of(x, affine, affine);
  }
}
