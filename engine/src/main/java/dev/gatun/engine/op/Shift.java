package dev.gatun.engine.op;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;

/**
 * Moves every image down by {@code rows} and to the right by {@code columns} (up and to the left
 * where negative): y[n,i,j] = x[n,i-rows,j-columns], exact zeros where there is no such pixel.
 *
 * <p>Input: x [N,H,W,C] f32 or bf16. Output: like x.
 */
public record Shift(int rows, int columns) implements Op {
  @Override
  public String name() {
    return "shift";
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
    return List.of(graph.apply(new Shift(-rows, -columns), gradients.getFirst()));
  }
}
