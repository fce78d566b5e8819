package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * Pixels as a network reads them: y = x / (levels-1) * 2 - 1 in [-1,1], and one more channel of
 * ones, by which a convolution can tell the image from the zeros around it.
 *
 * <p>Input: x [N,H,W,C] u8, below {@code levels}. Output: y [N,H,W,C+1] in {@code type}. Pixels
 * have no gradient.
 *
 * @see "Salimans et al. 2017, PixelCNN++ (the reference code pads with ones)"
 */
public record NormalizePixels(int levels, DType type) implements Op {
  @Override
  public String name() {
    return "normalize_pixels";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    Checks.pixels(this, in, levels, type);
    TensorSpec x = in.getFirst();
    return List.of(new TensorSpec(x.shape().withLast(x.shape().dim(3) + 1), type));
  }
}
