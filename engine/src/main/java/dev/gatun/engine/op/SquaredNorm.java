package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/** The sum of squares of a whole tensor: input f32, output [1] f64. Used to clip gradients. */
public record SquaredNorm() implements Op {
  @Override
  public String name() {
    return "squared_norm";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 1);
    require(in.getFirst().dtype() == DType.F32, in, "takes f32");
    return List.of(TensorSpec.of(DType.F64, 1));
  }
}
