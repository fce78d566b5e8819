package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * What a batch says of each code: the sum of the vectors that chose it, and how many they are.
 *
 * <p>Inputs: z [N,...,D] f32 or bf16; indices [N,...,1] u8, each below K = {@code codes}. Output:
 * [K,D+1] f32, the sums and in the last column the counts; summed in f64. No gradient.
 *
 * @see "van den Oord et al. 2017, Neural Discrete Representation Learning, appendix A.1"
 */
public record CodebookSums(int codes) implements Op {
  @Override
  public String name() {
    return "codebook_sums";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    TensorSpec z = in.getFirst();
    Checks.activation(this, in, z);
    require(z.shape().rank() >= 2, in, "z must be [N,...,D]");
    Checks.indices(this, in, in.get(1), z);
    require(codes >= 1 && codes <= 256, in, "there must be 1 to 256 codes, not " + codes);
    return List.of(TensorSpec.of(DType.F32, codes, z.shape().dim(-1) + 1));
  }
}
