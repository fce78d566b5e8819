package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.List;

/**
 * The weights with which a small image is convolved to what a 3x3 convolution makes of it after
 * nearest-neighbour up-sampling by 2: each pixel of the result sees 2x2 of the small image, by sums
 * of the 3x3 weights, so that there are 4 products where there were 9 and the large image is never
 * there.
 *
 * <p>Input: w [9,C,K] f32, of {@code Taps.square(3)}. Output: [16,K,C] f32, for {@link
 * #convolution}. Along an axis tap d of -1..2 is the sum of those taps a of -1..1 for which a pixel
 * and the one a beside it come from pixels of the small image that are d beside each other: a = 1;
 * 0, 1; -1, 0; -1.
 */
public record FoldUpsampling() implements Op {
  /** Taps along an axis, before and after. */
  static final int FROM = 3;

  static final int TO = 4;

  @Override
  public String name() {
    return "fold_upsampling";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 1);
    Shape w = in.getFirst().shape();
    require(
        w.rank() == 3 && w.dim(0) == FROM * FROM && in.getFirst().dtype() == DType.F32,
        in,
        "w must be [9,C,K] f32");
    require(w.elements() > 0, in, "empty input");
    return List.of(TensorSpec.of(DType.F32, TO * TO, w.dim(2), w.dim(1)));
  }

  /** The least a, 0 to 2, that tap d, 0 to 3, is a sum of. */
  public static int first(int d) {
    return Math.max(0, FROM - 1 - d);
  }

  /** The largest. */
  public static int last(int d) {
    return Math.min(FROM - 1, FROM - d);
  }

  /**
   * The convolution: its inputs are the folded weights and x [N,H,W,C].
   *
   * @param y [N,2H,2W,K]
   */
  public static Conv2dBackwardData convolution(Shape y) {
    return new Conv2dBackwardData(new Conv2d(Taps.rectangle(-1, 2, -1, 2), 2, 2, null), y);
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    return List.of(graph.apply(new FoldUpsamplingBackward(), gradients.getFirst()));
  }
}
