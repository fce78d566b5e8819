package dev.gatun.engine.op;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;

/**
 * Two sets of channels side by side.
 *
 * <p>Inputs: a [...,A], b [...,B], alike but for the channels, f32 or bf16. Output: [...,A+B].
 */
public record Concat() implements Op {
  @Override
  public String name() {
    return "concat";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    TensorSpec a = in.get(0);
    TensorSpec b = in.get(1);
    Checks.activation(this, in, a);
    Checks.activation(this, in, b);
    require(
        a.dtype() == b.dtype() && a.shape().equals(b.shape().withLast(a.shape().dim(-1))),
        in,
        "the inputs must be alike but for their channels");
    int channels = a.shape().dim(-1) + b.shape().dim(-1);
    return List.of(new TensorSpec(a.shape().withLast(channels), a.dtype()));
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    return graph.apply(new Split(inputs.getFirst().shape().dim(-1)), List.of(gradients.getFirst()));
  }
}
