package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * A time for each image of a training step, drawn from those of a table, each as likely as any
 * other.
 *
 * <p>Inputs: table [T,6] f32: of each time a, b, c, d of {@link Diffuse}, what the network is told
 * of it, and its weight in the loss; step [1] f64, a whole number below 2^31. Outputs: coefficients
 * [N,4], times [N], weights [N] f32. No gradient.
 *
 * <p>Image n takes row {@code below(T)} of number first + n of the seed's stream {@code TIMES},
 * subsequence step ({@link dev.gatun.engine.Philox#below}).
 *
 * @param images N
 * @param first number of the first image in its batch
 * @see "Ho et al. 2020, Denoising Diffusion Probabilistic Models, algorithm 1"
 */
public record DiffusionTimes(long seed, int first, int images) implements Op {
  /** Numbers in a row of the table. */
  public static final int COLUMNS = 6;

  @Override
  public String name() {
    return "diffusion_times";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    Shape table = in.getFirst().shape();
    require(
        in.getFirst().dtype() == DType.F32
            && table.rank() == 2
            && table.dim(0) > 0
            && table.dim(1) == COLUMNS,
        in,
        "the table must be [T,6] f32");
    require(in.get(1).equals(TensorSpec.of(DType.F64, 1)), in, "step must be [1] f64");
    require(images > 0, in, "there are " + images + " images");
    require(first >= 0, in, "the first image is " + first);
    TensorSpec each = TensorSpec.of(DType.F32, images);
    return List.of(TensorSpec.of(DType.F32, images, Diffuse.COEFFICIENTS), each, each);
  }
}
