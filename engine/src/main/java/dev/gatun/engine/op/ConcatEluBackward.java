package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link ConcatElu}: dx = dy1 * s(x) - dy2 * s(-x), dy1 and dy2 the first and the
 * second half of dy's channels, s(v) = 1 for v > 0, else exp(v).
 *
 * <p>Inputs: x [...,C]; dy [...,2C] in x's dtype. Output: like x.
 */
public record ConcatEluBackward() implements Op {
  @Override
  public String name() {
    return "concat_elu_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    TensorSpec y = new ConcatElu().check(in.subList(0, 1)).getFirst();
    require(in.get(1).equals(y), in, "dy must be " + y);
    return List.of(in.getFirst());
  }
}
