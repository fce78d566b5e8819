package dev.gatun.engine.op;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;

/** A constant: no inputs; output of the given shape, f32 or bf16, every element {@code value}. */
public record Fill(TensorSpec spec, float value) implements Op {
  @Override
  public String name() {
    return "fill";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 0, 0);
    Checks.activation(this, List.of(spec), spec);
    return List.of(spec);
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    return List.of();
  }
}
