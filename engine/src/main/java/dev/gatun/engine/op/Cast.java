package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;

/**
 * The same elements in another dtype, rounded to the nearest, ties to even.
 *
 * <p>Input: x f32 or bf16. Output: like x, in {@code type}: f32 or bf16. The gradient is in x's
 * dtype again.
 */
public record Cast(DType type) implements Op {
  @Override
  public String name() {
    return "cast";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 1);
    Checks.activation(this, in, in.getFirst());
    require(type == DType.F32 || type == DType.BF16, in, "output must be f32 or bf16");
    return List.of(new TensorSpec(in.getFirst().shape(), type));
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    return List.of(graph.apply(new Cast(inputs.getFirst().dtype()), gradients.getFirst()));
  }
}
