package dev.gatun.engine.op;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * The gated activation unit: y = tanh(a) * sigmoid(b), a the first and b the second half of the
 * channels of x, or of x + addend where a second input is given.
 *
 * <p>Inputs: x [...,2C] f32 or bf16; optionally an addend like x. Output: y [...,C] in x's dtype.
 *
 * @see "van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders, section 2.1"
 */
public record Gate() implements Op {
  @Override
  public String name() {
    return "gate";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 2);
    TensorSpec x = in.get(0);
    Checks.activation(this, in, x);
    require(x.shape().dim(-1) % 2 == 0, in, "needs an even number of channels");
    require(in.size() == 1 || in.get(1).equals(x), in, "the addend must be like x");
    return List.of(new TensorSpec(x.shape().withLast(x.shape().dim(-1) / 2), x.dtype()));
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    List<Value> arguments = new ArrayList<>(inputs);
    arguments.add(gradients.getFirst());
    // x and the addend only ever meet as their sum, so they share one gradient
    Value dx = graph.apply(new GateBackward(), arguments).getFirst();
    return Collections.nCopies(inputs.size(), dx);
  }
}
