package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * Pixels as numbers in [-1,1]: y = x / (levels-1) * 2 - 1; {@link NormalizePixels} without its
 * channel of ones.
 *
 * <p>Input: x [N,H,W,C] u8, below {@code levels}. Output: like x, in {@code type}. Pixels have no
 * gradient.
 */
public record ScalePixels(int levels, DType type) implements Op {
  @Override
  public String name() {
    return "scale_pixels";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    Checks.pixels(this, in, levels, type);
    return List.of(new TensorSpec(in.getFirst().shape(), type));
  }
}
