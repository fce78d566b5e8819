package dev.gatun.engine.op;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;

/**
 * Moves every image down by {@code rows} (up where negative): y[n,i] = x[n,i-rows], exact zeros
 * where there is no such row.
 *
 * <p>Input: x [N,H,W,C] f32 or bf16. Output: like x.
 */
public record ShiftRows(int rows) implements Op {
  @Override
  public String name() {
    return "shift_rows";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 1);
    Checks.activation(this, in, in.getFirst());
    require(in.getFirst().shape().rank() == 4, in, "x must be [N,H,W,C]");
    return in;
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    return List.of(graph.apply(new ShiftRows(-rows), gradients.getFirst()));
  }
}
