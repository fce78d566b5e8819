package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/** The gradient of {@link FoldUpsampling}. Input: dy [16,K,C] f32. Output: dw [9,C,K] f32. */
public record FoldUpsamplingBackward() implements Op {
  @Override
  public String name() {
    return "fold_upsampling_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 1);
    Shape dy = in.getFirst().shape();
    int taps = FoldUpsampling.TO * FoldUpsampling.TO;
    require(
        dy.rank() == 3 && dy.dim(0) == taps && in.getFirst().dtype() == DType.F32,
        in,
        "dy must be [16,K,C] f32");
    require(dy.elements() > 0, in, "empty input");
    return List.of(
        TensorSpec.of(DType.F32, FoldUpsampling.FROM * FoldUpsampling.FROM, dy.dim(2), dy.dim(1)));
  }
}
