package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The sum over each image's pixels: the gradient of what is added to all of them.
 *
 * <p>Input: x [N,H,W,C] f32 or bf16. Output: [N,1,1,C] in x's dtype, summed in f32 or wider.
 */
public record SumPixels() implements Op {
  @Override
  public String name() {
    return "sum_pixels";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 1);
    TensorSpec x = in.getFirst();
    Checks.activation(this, in, x);
    require(x.shape().rank() == 4, in, "x must be [N,H,W,C]");
    return List.of(Conv2d.ofImages(x));
  }
}
