package dev.gatun.engine.op;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;

/**
 * y = [elu(x), elu(-x)] along the channels, elu as in {@link Elu}: twice as many channels as x, so
 * that neither sign of x is lost.
 *
 * <p>Input: x [...,C] f32 or bf16. Output: y [...,2C] in x's dtype.
 *
 * @see "Salimans et al. 2017, PixelCNN++ (the reference code's nonlinearity)"
 * @see "Shang et al. 2016, Understanding and Improving CNNs via Concatenated ReLUs, section 2.2"
 */
public record ConcatElu() implements Op {
  @Override
  public String name() {
    return "concat_elu";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 1);
    TensorSpec x = in.getFirst();
    Checks.activation(this, in, x);
    return List.of(new TensorSpec(x.shape().withLast(2 * x.shape().dim(-1)), x.dtype()));
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    return List.of(graph.apply(new ConcatEluBackward(), inputs.getFirst(), gradients.getFirst()));
  }
}
