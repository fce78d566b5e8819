package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.ArrayList;
import java.util.List;

/**
 * Normalizes each group of channels of each image to zero mean and unit variance, and what a
 * denoising network does with that next, in one pass:
 *
 * <p>y = f(u * (1 + scale) + shift), u = (x - mean) * rstd * gamma + beta, rstd = 1 / sqrt(variance
 * + epsilon); f(v) = v * sigmoid(v) where {@code silu}, else v.
 *
 * <p>Inputs: x [N,H,W,C] f32 or bf16; gamma, beta [C] f32; optionally a modulation [N,2C] or
 * [N,1,1,2C] in x's dtype: each image's scale, then its shift, 0 without it. C a multiple of {@code
 * groups}. Outputs: y like x; mean, rstd [N,groups] f32, which the gradient reads.
 *
 * @see "Wu and He 2018, Group Normalization, section 3"
 * @see "Dhariwal and Nichol 2021, Diffusion Models Beat GANs, section 3: adaptive group
 *     normalization"
 */
public record GroupNorm(int groups, float epsilon, boolean silu) implements Op {
  /** Without an activation. */
  public GroupNorm(int groups, float epsilon) {
    this(groups, epsilon, false);
  }

  @Override
  public String name() {
    return "group_norm";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 3, 4);
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
    if (in.size() > 3) {
      requireModulation(this, in, in.get(3));
    }
    TensorSpec statistics = TensorSpec.of(DType.F32, x.shape().dim(0), groups);
    return List.of(x, statistics, statistics);
  }

  static void requireModulation(Op op, List<TensorSpec> in, TensorSpec modulation) {
    TensorSpec x = in.getFirst();
    int n = x.shape().dim(0);
    int twice = 2 * x.shape().dim(3);
    op.require(
        modulation.equals(TensorSpec.of(x.dtype(), n, twice))
            || modulation.equals(TensorSpec.of(x.dtype(), n, 1, 1, twice)),
        in,
        "the modulation must be [N,2C] in x's dtype");
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    if (gradients.get(1) != null || gradients.get(2) != null) {
      throw new UnsupportedOperationException(name() + " has a gradient for y only");
    }
    List<Value> in = new ArrayList<>(inputs.subList(0, 3));
    in.addAll(List.of(outputs.get(1), outputs.get(2), gradients.get(0)));
    in.addAll(inputs.subList(3, inputs.size()));
    return graph.apply(new GroupNormBackward(this), in);
  }
}
