package dev.gatun.engine.op;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The gated activation unit: y = f(a) * sigmoid(b), plus a residual where a second input is given.
 * The channels of x are {@code groups} equal blocks, one a colour; a is the first and b the second
 * half of each block.
 *
 * <p>Inputs: x [...,2C] f32 or bf16; optionally a residual like y. Output: y [...,C] in x's dtype.
 *
 * @param kind f: tanh or the identity
 * @param groups blocks that the channels are divided into
 * @see "van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders, section 2.1"
 * @see "Salimans et al. 2017, PixelCNN++, section 3 (the reference code's gated_resnet)"
 */
public record Gate(Kind kind, int groups) implements Op {
  /** What a goes through. */
  public enum Kind {
    TANH,
    LINEAR
  }

  /** y = tanh(a) * sigmoid(b). */
  public Gate() {
    this(Kind.TANH, 1);
  }

  @Override
  public String name() {
    return "gate";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 2);
    TensorSpec x = in.get(0);
    Checks.activation(this, in, x);
    require(groups > 0, in, "groups must be positive, not " + groups);
    require(
        x.shape().dim(-1) % (2 * groups) == 0,
        in,
        "needs a multiple of " + 2 * groups + " channels");
    TensorSpec y = new TensorSpec(x.shape().withLast(x.shape().dim(-1) / 2), x.dtype());
    require(in.size() == 1 || in.get(1).equals(y), in, "the residual must be " + y);
    return List.of(y);
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    Value dy = gradients.getFirst();
    List<Value> all = new ArrayList<>(Arrays.asList(new Value[inputs.size()]));
    all.set(0, graph.apply(new GateBackward(kind, groups), inputs.getFirst(), dy));
    if (inputs.size() > 1) {
      all.set(1, dy);
    }
    return all;
  }
}
