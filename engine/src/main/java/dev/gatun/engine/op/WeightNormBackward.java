package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradients of {@link WeightNorm}: dg = sum(dw * v) / ||v||, dv = g / ||v|| * (dw - v * dg /
 * ||v||); without the last term where the sum of squares was too small to count.
 *
 * <p>Inputs: v, g as the op's; dw like v. Outputs: dv like v, dg like g.
 *
 * @see "Salimans and Kingma 2016, Weight Normalization, equation 3"
 */
public record WeightNormBackward(int axis) implements Op {
  @Override
  public String name() {
    return "weight_norm_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 3, 3);
    new WeightNorm(axis).check(in.subList(0, 2));
    require(in.get(2).equals(in.get(0)), in, "dw must be like v");
    return in.subList(0, 2);
  }
}
