package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/** Checks that ops on categorical latent variables share. */
final class CategoricalChecks {
  /** What the kernels keep in registers; an index fits u8. */
  private static final int MOST = 256;

  private CategoricalChecks() {}

  /** [N,...,L*K] f32, K the number of categories. */
  static void latents(Op op, List<TensorSpec> in, TensorSpec x, String called, int categories) {
    op.require(
        categories >= 2 && categories <= MOST,
        in,
        "categories must be 2 to " + MOST + ", not " + categories);
    op.require(
        x.shape().rank() >= 2 && x.dtype() == DType.F32, in, called + " must be [N,...,L*K] f32");
    op.require(x.shape().elements() > 0, in, "empty input");
    op.require(
        x.shape().dim(-1) % categories == 0,
        in,
        "the last axis has " + x.shape().dim(-1) + " elements, not a multiple of K=" + categories);
  }

  /** What a draw of several samples takes, and its result. */
  static List<TensorSpec> drawn(
      Op op, List<TensorSpec> in, int categories, int first, int samples) {
    op.requireCount(in, 2, 2);
    TensorSpec logits = in.getFirst();
    latents(op, in, logits, "logits", categories);
    step(op, in, in.get(1));
    op.require(first >= 0, in, "the first image is " + first);
    op.require(samples >= 1, in, "there are " + samples + " samples");
    long images = (long) samples * logits.shape().dim(0);
    op.require(images <= Integer.MAX_VALUE, in, "there are " + images + " samples of images");
    return List.of(ofImages(logits, (int) images));
  }

  static void step(Op op, List<TensorSpec> in, TensorSpec step) {
    op.require(step.equals(TensorSpec.of(DType.F64, 1)), in, "step must be [1] f64");
  }

  /** The same with another number of images. */
  static TensorSpec ofImages(TensorSpec x, int images) {
    int[] dims = x.shape().toArray();
    dims[0] = images;
    return new TensorSpec(Shape.of(dims), x.dtype());
  }
}
