package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link Conv2d} with respect to x.
 *
 * <p>Inputs: w [T,C,K] f32; dy [N,OH,OW,K] f32 or bf16. Output: dx, of the shape given, in dy's
 * dtype.
 */
public record Conv2dBackwardData(Conv2d forward, Shape xShape) implements Op {
  @Override
  public String name() {
    return "conv_taps_backward_data";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    TensorSpec w = in.get(0);
    TensorSpec dy = in.get(1);
    forward.check(List.of(new TensorSpec(xShape, DType.F32), w));
    require(dy.dtype() == DType.F32 || dy.dtype() == DType.BF16, in, "dy must be f32 or bf16");
    require(
        dy.shape().equals(forward.outputShape(xShape, w.shape().dim(2))),
        in,
        "dy must be " + forward.outputShape(xShape, w.shape().dim(2)));
    return List.of(new TensorSpec(xShape, dy.dtype()));
  }
}
