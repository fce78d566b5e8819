package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The rows of a codebook that indices name: what a decoder is shown of codes that a prior drew.
 *
 * <p>Inputs: indices [N,...,1] u8, each below K; codebook [K,D] f32, K at most 256. Output:
 * [N,...,D] in {@code type}. No gradient.
 *
 * @see "van den Oord et al. 2017, Neural Discrete Representation Learning, section 3.1"
 */
public record CodeVectors(DType type) implements Op {
  @Override
  public String name() {
    return "code_vectors";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    TensorSpec indices = in.get(0);
    TensorSpec codebook = in.get(1);
    require(
        indices.shape().rank() >= 2 && indices.shape().dim(-1) == 1 && indices.dtype() == DType.U8,
        in,
        "indices must be [N,...,1] u8");
    require(indices.shape().elements() > 0, in, "empty input");
    Checks.codebook(this, in, codebook);
    require(type == DType.F32 || type == DType.BF16, in, "vectors must be f32 or bf16");
    return List.of(new TensorSpec(indices.shape().withLast(codebook.shape().dim(1)), type));
  }
}
