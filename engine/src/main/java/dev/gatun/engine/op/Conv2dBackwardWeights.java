package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradients of {@link Conv2d} with respect to w and, where {@code bias}, the bias.
 *
 * <p>Inputs: x [N,H,W,C], dy [N,OH,OW,K], both f32 or both bf16. Outputs: dw [T,C,K] f32, dbias [K]
 * f32.
 */
public record Conv2dBackwardWeights(Conv2d forward, boolean bias) implements Op {
  @Override
  public String name() {
    return "conv_taps_backward_weights";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    TensorSpec x = in.get(0);
    TensorSpec dy = in.get(1);
    require(x.shape().rank() == 4, in, "x must be [N,H,W,C]");
    require(dy.shape().rank() == 4, in, "dy must be [N,OH,OW,K]");
    int filters = dy.shape().dim(3);
    TensorSpec w = TensorSpec.of(DType.F32, forward.taps().count(), x.shape().dim(-1), filters);
    forward.check(List.of(x, w));
    require(dy.dtype() == x.dtype(), in, "x and dy must have the same dtype");
    require(
        dy.shape().equals(forward.outputShape(x.shape(), filters)),
        in,
        "dy must be " + forward.outputShape(x.shape(), filters));
    return bias ? List.of(w, TensorSpec.of(DType.F32, filters)) : List.of(w);
  }
}
