package dev.gatun.engine.op;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;

/** y = a + b. Inputs: a, b alike, f32 or bf16. Output: like them. */
public record Add() implements Op {
  @Override
  public String name() {
    return "add";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    Checks.activation(this, in, in.getFirst());
    require(in.get(1).equals(in.get(0)), in, "both inputs must be alike");
    return List.of(in.getFirst());
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    return List.of(gradients.getFirst(), gradients.getFirst());
  }
}
