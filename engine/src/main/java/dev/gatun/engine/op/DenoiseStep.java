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
 * <p>Step i has row i of the table: pX, pF, cX, cD, cP, cN, input, time, logLeast, logMost. Of each
 * element, with f the prediction, or f_u + guidance * (f_c - f_u) where there is guidance,
 *
 * <pre>
 *   D = pX x + pF f                kept in range as {@code thresholding} says
 *   D = known / 127.5 - 1          where there is a mask, and it is not 0
 *   x = cX x + cD D + cP P + cN s e
 *   P = D
 *   network input = input * x,     in its dtype
 * </pre>
 *
 * and each image's time is {@code time}. The prediction is not looked at where pF is 0: the first
 * row draws the first image. e is the normal number (image, i * H * W * C + element) of the seed's
 * stream {@code SAMPLER}, so that an image does not depend on those drawn beside it.
 *
 * <p>s is 1, but for a network that has learned the variance of its steps: it tells v beside f, and
 * s = exp((w logMost + (1 - w) logLeast) / 2) with w = (v + 1) / 2, by the conditional v where
 * there is guidance; 1 where pF is 0.
 *
 * <p>Inpainting: where the mask is not 0 the known image takes the place of the denoised one. A
 * sampler that is linear in x and D moves x along the noise that x has by D; with the true D that
 * noise is the one drawn first, so that x is a noisy copy of the known image at every step, with
 * noise of that step's size, and the known image itself in the end, whichever the sampler. (With a
 * learned variance the noise is larger or smaller than that by what was learned, until the end. The
 * papers replace x by such a copy, which is the same but for fresh noise.)
 *
 * <p>Inputs: x, P [N,H,W,C] f64, updated; prediction [N,H,W,C] or, with a learned variance,
 * [N,H,W,2C], v last; with guidance 2N images, those with a condition first; f32 or bf16; table
 * [S,10] f64; state [4] i32: the seed's low and high word, the number of the first image, i, which
 * is below S; updated, i grows by 1. Then both or neither of known [N,H,W,C] u8 and mask [N,H,W,1]
 * u8. Outputs: the network's input, [N,H,W,C] or, with guidance, [2N,H,W,C], in the prediction's
 * dtype; times [N] or [2N] f32.
 *
 * @param guidance 1 for none: the prediction has N images
 * @param learnedVariance whether the prediction has v; if not, the table's last two columns are not
 *     looked at
 * @see "Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models,
 *     section 3"
 * @see "Ho and Salimans 2021, Classifier-Free Diffusion Guidance, equation 6"
 * @see "Nichol and Dhariwal 2021, Improved Denoising Diffusion Probabilistic Models, equation 15"
 * @see "Song et al. 2021, Score-Based Generative Modeling through Stochastic Differential
 *     Equations, appendix I.2; Lugmayr et al. 2022, RePaint, section 4.1"
 */
public record DenoiseStep(Thresholding thresholding, double guidance, boolean learnedVariance)
    implements Op {
  /** Numbers in a row of the table. */
  public static final int COLUMNS = 10;

  /**
   * How denoised images are kept in the range of pixels, [-1,1].
   *
   * @see "Saharia et al. 2022, Photorealistic Text-to-Image Diffusion Models with Deep Language
   *     Understanding (Imagen), section 2.3"
   */
  public enum Thresholding {
    /** Not at all. */
    NONE,
    /** D is clipped to [-1,1]. */
    STATIC,
    /**
     * D is clipped to [-s,s] and divided by s: the larger of 1 and the 99.5th percentile of the
     * image's |D|, by nearest rank, each rounded to f32.
     */
    DYNAMIC;

    /** Of so many elements, sorted from the least, the number (from 1) of the 99.5th percentile. */
    public static int rank(int elements) {
      return Math.toIntExact((995L * elements + 999) / 1000);
    }
  }

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
    require(in.size() == 5 || in.size() == 7, in, "takes 5 inputs, or 7 with known and mask");
    TensorSpec x = in.get(0);
    TensorSpec f = in.get(2);
    require(x.shape().rank() == 4 && x.dtype() == DType.F64, in, "x must be [N,H,W,C] f64");
    require(in.get(1).equals(x), in, "P must be like x");
    Checks.activation(this, in, f);
    Shape s = x.shape();
    int images = s.dim(0) * (guided() ? 2 : 1);
    int channels = s.dim(3) * (learnedVariance ? 2 : 1);
    require(
        f.shape().equals(Shape.of(images, s.dim(1), s.dim(2), channels)),
        in,
        "the prediction must have " + images + " images of x's size, " + channels + " channels");
    TensorSpec table = in.get(3);
    require(
        table.dtype() == DType.F64
            && table.shape().rank() == 2
            && table.shape().dim(1) == COLUMNS
            && table.shape().dim(0) > 0,
        in,
        "the table must be [S,10] f64");
    require(in.get(4).equals(TensorSpec.of(DType.I32, 4)), in, "the state must be [4] i32");
    if (in.size() == 7) {
      require(in.get(5).equals(new TensorSpec(s, DType.U8)), in, "known must be of x's shape, u8");
      require(
          in.get(6).equals(new TensorSpec(s.withLast(1), DType.U8)),
          in,
          "mask must be [N,H,W,1] u8");
    }
    require(Double.isFinite(guidance), in, "guidance must be finite");
    return List.of(
        TensorSpec.of(f.dtype(), images, s.dim(1), s.dim(2), s.dim(3)),
        TensorSpec.of(DType.F32, images));
  }

  @Override
  public List<Integer> mutates() {
    return List.of(0, 1, 4);
  }
}
