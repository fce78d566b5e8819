package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.ArrayList;
import java.util.List;

/**
 * The gradients of {@link GroupNorm}.
 *
 * <p>Inputs: x [N,H,W,C]; gamma, beta [C] f32; mean, rstd [N,groups] f32; dy like x; the modulation
 * as the forward op has it. Outputs: dx like x; dgamma, dbeta [C] f32; the modulation's gradient,
 * like it.
 */
public record GroupNormBackward(GroupNorm forward) implements Op {
  @Override
  public String name() {
    return "group_norm_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 6, 7);
    TensorSpec x = in.get(0);
    List<TensorSpec> outputs = forward.check(List.of(x, in.get(1), in.get(2)));
    require(
        in.get(3).equals(outputs.get(1)) && in.get(4).equals(outputs.get(2)),
        in,
        "mean, rstd must be " + outputs.get(1));
    require(in.get(5).equals(x), in, "dy must be like x");
    TensorSpec affine = TensorSpec.of(DType.F32, x.shape().dim(3));
    List<TensorSpec> all = new ArrayList<>(List.of(x, affine, affine));
    if (in.size() > 6) {
      GroupNorm.requireModulation(this, in, in.get(6));
      all.add(in.get(6));
    }
    return all;
  }
}
