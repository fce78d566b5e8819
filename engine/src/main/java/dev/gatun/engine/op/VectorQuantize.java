package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.Arrays;
import java.util.List;

/**
 * Replaces each vector by the nearest row of a codebook, in squared Euclidean distance; of rows
 * that are equally near it takes the first.
 *
 * <p>Inputs: z [N,...,D] f32 or bf16; codebook [K,D] f32, K at most 256. Outputs: quantized, like
 * z; indices [N,...,1] u8. Distances are sums in f64 in the order of the channels: every device
 * finds the same row. Where one of them is not finite the vector becomes NaN, and its index 0.
 *
 * <p>The gradient is the straight-through estimator: that of quantized is handed to z as it is. The
 * codebook has none; it learns by {@link MovingAverage}.
 *
 * @see "van den Oord et al. 2017, Neural Discrete Representation Learning, sections 3.1 and 3.2"
 */
public record VectorQuantize() implements Op {
  @Override
  public String name() {
    return "vector_quantize";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    TensorSpec z = in.get(0);
    TensorSpec codebook = in.get(1);
    Checks.activation(this, in, z);
    require(z.shape().rank() >= 2, in, "z must be [N,...,D]");
    Checks.codebook(this, in, codebook);
    require(
        codebook.shape().dim(1) == z.shape().dim(-1),
        in,
        "the codebook is for D=" + codebook.shape().dim(1) + ", z has D=" + z.shape().dim(-1));
    return List.of(z, new TensorSpec(z.shape().withLast(1), DType.U8));
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    if (gradients.get(1) != null) {
      throw new UnsupportedOperationException(
          name() + " has a gradient for its vectors only, not for indices");
    }
    return Arrays.asList(gradients.getFirst(), null);
  }
}
