package dev.gatun.engine.op;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;

/**
 * y = x * sigmoid(x). Input: x of any shape, f32 or bf16. Output: like x.
 *
 * @see "Elfwing et al. 2018, Sigmoid-Weighted Linear Units, section 2"
 */
public record Silu() implements Op {
  @Override
  public String name() {
    return "silu";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 1);
    Checks.activation(this, in, in.getFirst());
    return in;
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    return List.of(graph.apply(new SiluBackward(), inputs.getFirst(), gradients.getFirst()));
  }
}
