package dev.gatun.engine.op;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;

/**
 * y = x for x > 0, else exp(x) - 1. Input: x of any shape, f32 or bf16. Output: like x.
 *
 * @see "Clevert et al. 2016, Fast and Accurate Deep Network Learning by Exponential Linear Units,
 *     section 3"
 */
public record Elu() implements Op {
  @Override
  public String name() {
    return "elu";
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
    return List.of(graph.apply(new EluBackward(), outputs.getFirst(), gradients.getFirst()));
  }
}
