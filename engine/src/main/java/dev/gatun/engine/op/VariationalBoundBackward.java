package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link VariationalBound}'s mean for v: of an element's term the derivative by L,
 * the logarithm of the variance, times (logMost - logLeast) / 2 and scale * dmean / (N * H * W *
 * C).
 *
 * <p>Inputs: prediction, x, images, times, table, v as there; dmean [1] f32. Output: like v.
 */
public record VariationalBoundBackward(double scale) implements Op {
  @Override
  public String name() {
    return "variational_bound_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 7, 7);
    new VariationalBound(scale).check(in.subList(0, 6));
    require(in.get(6).equals(TensorSpec.of(DType.F32, 1)), in, "dmean must be [1] f32");
    return List.of(in.get(5));
  }
}
