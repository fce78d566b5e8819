package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The logarithm of the probability of draws of categorical variables, in nats.
 *
 * <p>Inputs: z [S*N,...,L*K] f32, one-hot or relaxed in each K = {@code categories}, sample s of
 * image n in row s * N + n; logits [N,...,L*K] f32. Output: [S*N] f32, the sum over all latents of
 * z * log softmax(logits). No gradient.
 */
public record CategoricalLogProbability(int categories) implements Op {
  @Override
  public String name() {
    return "categorical_log_probability";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    TensorSpec z = in.get(0);
    TensorSpec logits = in.get(1);
    CategoricalChecks.latents(this, in, z, "z", categories);
    CategoricalChecks.latents(this, in, logits, "logits", categories);
    int rows = z.shape().dim(0);
    require(
        rows % logits.shape().dim(0) == 0 && z.equals(CategoricalChecks.ofImages(logits, rows)),
        in,
        "z must be samples of each of the logits' images");
    return List.of(TensorSpec.of(DType.F32, rows));
  }
}
