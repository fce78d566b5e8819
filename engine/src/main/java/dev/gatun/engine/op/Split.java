package dev.gatun.engine.op;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;
import java.util.Objects;

/**
 * The first channels and the rest. Input: x [...,C] f32 or bf16, C above {@code first}. Outputs:
 * [...,first]; [...,C-first]. A gradient is there where both outputs have one.
 */
public record Split(int first) implements Op {
  @Override
  public String name() {
    return "split";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 1);
    TensorSpec x = in.getFirst();
    Checks.activation(this, in, x);
    int channels = x.shape().dim(-1);
    require(
        first > 0 && first < channels,
        in,
        "cannot take " + first + " of " + channels + " channels");
    return List.of(
        new TensorSpec(x.shape().withLast(first), x.dtype()),
        new TensorSpec(x.shape().withLast(channels - first), x.dtype()));
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    if (gradients.stream().anyMatch(Objects::isNull)) {
      throw new UnsupportedOperationException(name() + " has no gradient for one of its parts");
    }
    return graph.apply(new Concat(), gradients);
  }
}
