package dev.gatun.engine.op;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;

/**
 * Images of twice or half the height and width. Up: each pixel becomes 2x2 alike, y[n,i,j,c] =
 * factor * x[n,i/2,j/2,c]. Down: 2x2 pixels become one, y[n,i,j,c] = factor * (x[n,2i,2j,c] +
 * x[n,2i,2j+1,c] + x[n,2i+1,2j,c] + x[n,2i+1,2j+1,c]). By the same factor each is the other's
 * gradient.
 *
 * <p>Input: x [N,H,W,C] f32 or bf16; down, H and W even. Output: [N,2H,2W,C] or [N,H/2,W/2,C] in
 * x's dtype.
 *
 * @see "Dhariwal and Nichol 2021, Diffusion Models Beat GANs, section 3: BigGAN's up- and
 *     downsampling residual blocks"
 */
public record Resample(Direction direction, float factor) implements Op {
  /** To larger or to smaller images. */
  public enum Direction {
    UP,
    DOWN;

    private Direction other() {
      return this == UP ? DOWN : UP;
    }
  }

  /** Nearest-neighbour up-sampling by 2. */
  public static Resample nearest() {
    return new Resample(Direction.UP, 1);
  }

  /** Average pooling of 2x2 pixels. */
  public static Resample averagePool() {
    return new Resample(Direction.DOWN, 0.25f);
  }

  @Override
  public String name() {
    return "resample";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 1);
    TensorSpec x = in.getFirst();
    Checks.activation(this, in, x);
    require(x.shape().rank() == 4, in, "x must be [N,H,W,C]");
    require(Float.isFinite(factor), in, "factor must be finite, not " + factor);
    Shape s = x.shape();
    if (direction == Direction.UP) {
      return List.of(TensorSpec.of(x.dtype(), s.dim(0), 2 * s.dim(1), 2 * s.dim(2), s.dim(3)));
    }
    require(
        s.dim(1) % 2 == 0 && s.dim(2) % 2 == 0,
        in,
        "H=" + s.dim(1) + " and W=" + s.dim(2) + " must be even");
    return List.of(TensorSpec.of(x.dtype(), s.dim(0), s.dim(1) / 2, s.dim(2) / 2, s.dim(3)));
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    return List.of(graph.apply(new Resample(direction.other(), factor), gradients.getFirst()));
  }
}
