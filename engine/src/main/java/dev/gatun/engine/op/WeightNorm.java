package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;

/**
 * Weights by direction and length: w = g * v / ||v||, the norm over every axis but {@code axis},
 * along which g runs; ||v|| = sqrt(max(sum of squares, 1e-12)).
 *
 * <p>Inputs: v [T,C,K] f32; g [K] f32 where the axis is 2, [C] f32 where it is 1 (a transposed
 * convolution's outputs). Output: w like v. Sums in f64.
 *
 * @see "Salimans and Kingma 2016, Weight Normalization, section 2"
 */
public record WeightNorm(int axis) implements Op {
  /** What a sum of squares counts for at least. */
  public static final double LEAST = 1e-12;

  @Override
  public String name() {
    return "weight_norm";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    TensorSpec v = in.get(0);
    require(v.shape().rank() == 3 && v.dtype() == DType.F32, in, "v must be [T,C,K] f32");
    require(v.shape().elements() > 0, in, "empty input");
    require(axis == 1 || axis == 2, in, "axis must be 1 or 2, not " + axis);
    TensorSpec g = TensorSpec.of(DType.F32, v.shape().dim(axis));
    require(in.get(1).equals(g), in, "g must be " + g);
    return List.of(v);
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    return graph.apply(
        new WeightNormBackward(axis), List.of(inputs.get(0), inputs.get(1), gradients.getFirst()));
  }
}
