package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.Arrays;
import java.util.List;

/**
 * Sets a share q of the elements to zero and scales the others by 1 / (1 - q), so that every
 * element keeps its expectation; q is {@code rate} rounded to a multiple of 1/256.
 *
 * <p>Inputs: x f32 or bf16; step [1] f64, a whole number below 2^31. Output: like x.
 *
 * <p>Element e is kept if byte {@code e & 15} (the low byte of word 0 first) of the 16 that Philox
 * makes of the seed and the counter (e / 16, step, site, {@code DROPOUT}) is at least 256 q. So a
 * mask follows from the seed, the site and the step alone: nothing is stored for the gradient,
 * which is this op on dy with the same step, and a resumed run draws what an unbroken one does.
 *
 * @param site tells the dropouts of a network apart
 * @see "Srivastava et al. 2014, Dropout, section 4"
 */
public record Dropout(double rate, long seed, int site) implements Op {
  @Override
  public String name() {
    return "dropout";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    Checks.activation(this, in, in.getFirst());
    require(rate >= 0 && rate < 1 && dropped() < 256, in, "rate must be 0 to 0.998, not " + rate);
    require(in.get(1).equals(TensorSpec.of(DType.F64, 1)), in, "step must be [1] f64");
    return List.of(in.getFirst());
  }

  /** How many of the 256 values of a byte drop an element: 256 q. */
  public int dropped() {
    return (int) Math.round(rate * 256);
  }

  /** What a kept element is multiplied by. */
  public double scale() {
    return 256.0 / (256 - dropped());
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    return Arrays.asList(graph.apply(this, gradients.getFirst(), inputs.get(1)), null);
  }
}
