package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * What a denoising network is shown in a training step, and what it is to say: of an image p in
 * [-1,1] and normal noise e, x = a p + b e and target = c p + d e. With (c, d) of (0, 1) the target
 * is the noise, of (1, 0) the image, of (-b, a) the velocity; EDM's preconditioning is one more.
 *
 * <p>Inputs: images [N,H,W,C] u8, or f32 for points, which are taken as they are; coefficients
 * [N,4] f32: a, b, c, d of each image; step [1] f64, a whole number below 2^31. Outputs: x
 * [N,H,W,C] in {@code type}; target [N,H,W,C] f32. No gradient: nothing before it learns.
 *
 * <p>Element i of image n takes the normal number (step, (first + n) * H * W * C + i) of the seed's
 * stream {@code NOISE} ({@link dev.gatun.engine.Philox#normal}): a resumed run draws what an
 * unbroken one does, and parts of a batch what the whole does.
 *
 * @param first number of the first image in its batch
 * @see "Ho et al. 2020, Denoising Diffusion Probabilistic Models, equation 4"
 */
public record Diffuse(long seed, int first, DType type) implements Op {
  /** Numbers an image has. */
  public static final int COEFFICIENTS = 4;

  @Override
  public String name() {
    return "diffuse";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 3, 3);
    Shape images = in.getFirst().shape();
    DType data = in.getFirst().dtype();
    require(
        images.rank() == 4 && (data == DType.U8 || data == DType.F32),
        in,
        "images must be [N,H,W,C] u8, or points in f32");
    require(images.elements() > 0, in, "empty input");
    require(
        in.get(1).equals(TensorSpec.of(DType.F32, images.dim(0), COEFFICIENTS)),
        in,
        "coefficients must be [N,4] f32");
    require(in.get(2).equals(TensorSpec.of(DType.F64, 1)), in, "step must be [1] f64");
    require(type == DType.F32 || type == DType.BF16, in, "x must be f32 or bf16");
    require(first >= 0, in, "the first image is " + first);
    return List.of(new TensorSpec(images, type), new TensorSpec(images, DType.F32));
  }
}
