package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link SquaredError}: 2 * weight * (prediction - target) * dmean / (N * elements
 * of an image).
 *
 * <p>Inputs: prediction, target, weights as there; dmean [1] f32. Output: like the prediction.
 */
public record SquaredErrorBackward() implements Op {
  @Override
  public String name() {
    return "squared_error_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 4, 4);
    new SquaredError().check(in.subList(0, 3));
    require(in.get(3).equals(TensorSpec.of(DType.F32, 1)), in, "dmean must be [1] f32");
    return List.of(in.getFirst());
  }
}
