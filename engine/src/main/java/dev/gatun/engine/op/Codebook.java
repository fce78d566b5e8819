package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The codebook that moving averages of {@link CodebookSums} stand for: of each code the mean of the
 * vectors that chose it, their counts smoothed as Laplace's, so that a code that none chose stays
 * finite.
 *
 * <p>Input: state [K,D+1] f32: sums, and in the last column counts, none negative and not all zero.
 * Output: codebook [K,D] f32 = sums_k / c_k with c_k = (count_k + epsilon) / (n + K * epsilon) * n,
 * n the sum of all counts. No gradient.
 *
 * @see "van den Oord et al. 2017, Neural Discrete Representation Learning, appendix A.1"
 * @see "Razavi et al. 2019, Generating Diverse High-Fidelity Images with VQ-VAE-2, section 2.1"
 */
public record Codebook(double epsilon) implements Op {
  @Override
  public String name() {
    return "codebook";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 1);
    Shape state = in.getFirst().shape();
    require(
        in.getFirst().dtype() == DType.F32
            && state.rank() == 2
            && state.dim(0) >= 1
            && state.dim(1) >= 2,
        in,
        "state must be [K,D+1] f32");
    require(Double.isFinite(epsilon) && epsilon > 0, in, "epsilon must be above 0, not " + epsilon);
    return List.of(new TensorSpec(state.withLast(state.dim(1) - 1), DType.F32));
  }
}
