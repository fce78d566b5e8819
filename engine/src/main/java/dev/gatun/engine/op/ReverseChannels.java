package dev.gatun.engine.op;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;

/**
 * The last axis in reverse order, as between the steps of a flow: its own inverse and gradient.
 *
 * <p>Input: x [...,D] f32 or bf16. Output: like x.
 *
 * @see "Kingma et al. 2016, Improved Variational Inference with Inverse Autoregressive Flow"
 */
public record ReverseChannels() implements Op {
  @Override
  public String name() {
    return "reverse_channels";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 1);
    Checks.activation(this, in, in.getFirst());
    return List.of(in.getFirst());
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    return List.of(graph.apply(this, gradients.getFirst()));
  }
}
