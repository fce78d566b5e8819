package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * A step of a sampler of a diffusion model, any that is linear in the noisy image, this step's and
 * the last step's denoised images, and fresh noise: from prediction to the next network input.
 *
 * <p>Step i has row i of the table: pX, pF, cX, cD, cP, cN, input, time. Of each element, with f
 * the prediction, or f_u + guidance * (f_c - f_u) where there is guidance,
 *
 * <pre>
 *   D = pX x + pF f                clipped to [-1,1] where {@code clip}
 *   x = cX x + cD D + cP P + cN e
 *   P = D
 *   network input = input * x,     in its dtype
 * </pre>
 *
 * and each image's time is {@code time}. f is not looked at where pF is 0: the first row draws the
 * first image. e is the normal number (image, i * H * W * C + element) of the seed's stream {@code
 * NOISE}, so that an image does not depend on those drawn beside it.
 *
 * <p>Inputs: x, P [N,H,W,C] f64, updated; prediction [N,H,W,C] or, with guidance, [2N,H,W,C], those
 * with a condition first, f32 or bf16; table [S,8] f64; state [4] i32: the seed's low and high
 * word, the number of the first image, i, which is below S; updated, i grows by 1. Outputs: the
 * network's input, like the prediction; times [N] or [2N] f32.
 *
 * @param guidance 1 for none: the prediction has N images
 * @see "Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models,
 *     section 3"
 * @see "Ho and Salimans 2021, Classifier-Free Diffusion Guidance, equation 6"
 */
public record DenoiseStep(boolean clip, double guidance) implements Op {
  /** Numbers in a row of the table. */
  public static final int COLUMNS = 8;

  @Override
  public String name() {
    return "denoise_step";
  }

  /** Whether the prediction has each image twice. */
  public boolean guided() {
    return guidance != 1;
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 5, 5);
    TensorSpec x = in.get(0);
    TensorSpec f = in.get(2);
    require(x.shape().rank() == 4 && x.dtype() == DType.F64, in, "x must be [N,H,W,C] f64");
    require(in.get(1).equals(x), in, "P must be like x");
    Checks.activation(this, in, f);
    Shape s = x.shape();
    int images = s.dim(0) * (guided() ? 2 : 1);
    require(
        f.shape().equals(Shape.of(images, s.dim(1), s.dim(2), s.dim(3))),
        in,
        "the prediction must have " + images + " images of x's size");
    TensorSpec table = in.get(3);
    require(
        table.dtype() == DType.F64
            && table.shape().rank() == 2
            && table.shape().dim(1) == COLUMNS
            && table.shape().dim(0) > 0,
        in,
        "the table must be [S,8] f64");
    require(in.get(4).equals(TensorSpec.of(DType.I32, 4)), in, "the state must be [4] i32");
    require(Double.isFinite(guidance), in, "guidance must be finite");
    return List.of(f, TensorSpec.of(DType.F32, images));
  }

  @Override
  public List<Integer> mutates() {
    return List.of(0, 1, 4);
  }
}
