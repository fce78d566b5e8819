package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;

/**
 * Normalizes each group of channels of each image to zero mean and unit variance: y = (x - mean) *
 * rstd * gamma + beta, rstd = 1 / sqrt(variance + epsilon).
 *
 * <p>Inputs: x [N,H,W,C] f32 or bf16; gamma, beta [C] f32; C a multiple of {@code groups}. Outputs:
 * y like x; mean, rstd [N,groups] f32, which the gradient reads.
 *
 * @see "Wu and He 2018, Group Normalization, section 3"
 */
public record GroupNorm(int groups, float epsilon) implements Op {
  @Override
  public String name() {
    return "group_norm";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 3, 3);
    TensorSpec x = in.get(0);
    Checks.activation(this, in, x);
    require(x.shape().rank() == 4, in, "x must be [N,H,W,C]");
    int channels = x.shape().dim(3);
    require(
        groups > 0 && channels % groups == 0,
        in,
        "C=" + channels + " not divisible by groups=" + groups);
    require(epsilon > 0, in, "epsilon must be positive");
    TensorSpec affine = TensorSpec.of(DType.F32, channels);
    require(
        in.get(1).equals(affine) && in.get(2).equals(affine), in, "gamma, beta must be [C] f32");
    TensorSpec statistics = TensorSpec.of(DType.F32, x.shape().dim(0), groups);
    return List.of(x, statistics, statistics);
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    if (gradients.get(1) != null || gradients.get(2) != null) {
      throw new UnsupportedOperationException(name() + " has a gradient for y only");
    }
    return graph.apply(
        new GroupNormBackward(this),
        List.of(inputs.get(0), inputs.get(1), outputs.get(1), outputs.get(2), gradients.get(0)));
  }
}
