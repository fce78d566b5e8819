package dev.gatun.engine.op;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.ArrayList;
import java.util.List;

/**
 * The first channels and the rest. Input: x [...,C] f32 or bf16, C above {@code first}. Outputs:
 * [...,first]; [...,C-first]. Of a part that nothing depends on the gradient is 0.
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
    List<Value> all = new ArrayList<>(gradients);
    for (int i = 0; i < all.size(); i++) {
      if (all.get(i) == null) {
        all.set(i, graph.apply(new Fill(outputs.get(i).spec(), 0)));
      }
    }
    return graph.apply(new Concat(), all);
  }
}
