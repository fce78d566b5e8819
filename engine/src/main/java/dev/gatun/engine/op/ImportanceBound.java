package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.ArrayList;
import java.util.List;

/**
 * The importance-weighted bound on the negative log-likelihood of each image; with one sample, the
 * negative of the evidence lower bound.
 *
 * <p>Inputs: a tensor x_i [S*N] f32 for each of {@code factors}, of sample s of image n at s*N + n:
 * w = sum_i factor_i x_i is the negative logarithm of its importance weight, in nats. Outputs: mean
 * [1] f32 over the images; each [N] f32: -(logsumexp_s(-w) - log S). The gradient is that of the
 * mean.
 *
 * @param samples S
 * @param factors 1 to {@link #MOST_FACTORS}
 * @see "Burda et al. 2016, Importance Weighted Autoencoders, section 3, equation 8"
 */
public record ImportanceBound(int samples, List<Double> factors) implements Op {
  /** As many as a kernel takes. */
  public static final int MOST_FACTORS = 8;

  public ImportanceBound {
    factors = List.copyOf(factors);
  }

  @Override
  public String name() {
    return "importance_bound";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    require(
        !factors.isEmpty() && factors.size() <= MOST_FACTORS,
        in,
        "takes 1 to " + MOST_FACTORS + " factors, not " + factors.size());
    require(
        factors.stream().allMatch(f -> Math.abs(f) <= Float.MAX_VALUE),
        in,
        "factors must be finite: " + factors);
    requireCount(in, factors.size(), factors.size());
    require(samples >= 1, in, "samples must be 1 or more, not " + samples);
    TensorSpec x = in.getFirst();
    require(
        x.shape().rank() == 1 && x.dtype() == DType.F32 && in.stream().allMatch(x::equals),
        in,
        "inputs must be [S*N] f32, all alike");
    int rows = x.shape().elements();
    require(rows > 0, in, "empty input");
    require(rows % samples == 0, in, "S*N=" + rows + " not divisible by S=" + samples);
    return List.of(TensorSpec.of(DType.F32, 1), TensorSpec.of(DType.F32, rows / samples));
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    if (gradients.get(1) != null) {
      throw new UnsupportedOperationException(
          name() + " has a gradient for its mean only, not for single images");
    }
    List<Value> in = new ArrayList<>(inputs);
    in.add(gradients.getFirst());
    return graph.apply(new ImportanceBoundBackward(samples, factors), in);
  }
}
