package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.Arrays;
import java.util.List;

/**
 * A term of the variational bound of a diffusion model of T steps: how far the model's step from x,
 * the image after t steps of noise, to one step less is from the true one.
 *
 * <p>Inputs: prediction [N,H,W,C] f32 or bf16; x [N,H,W,C] f32; images [N,H,W,C] u8; times [N] f32,
 * whole numbers from 1 to T; table [T,8] f32; and, where the model has learned its variance, v,
 * like the prediction. Outputs: mean [1] f32 = scale * sum of the images' terms / N; terms [N] f32,
 * of each image the mean over its elements, in nats.
 *
 * <p>Row t - 1 of the table: pX, pF, cD, logTrue, logLeast, logMost, decoder, and one number that
 * is not looked at. Of an element of an image of time t, with f the prediction, p the pixel in
 * [-1,1] and w = (v + 1) / 2, or 1 without v,
 *
 * <pre>
 *   D = pX x + pF f, clipped to [-1,1]
 *   L = w logMost + (1 - w) logLeast                  logarithm of the model's variance
 *   term = KL(N(cD p, exp(logTrue)) || N(cD D, exp(L)))
 *        = (L - logTrue + exp(logTrue - L) - 1 + (cD (p - D))^2 exp(-L)) / 2
 * </pre>
 *
 * where both means lack the same multiple of x. Where {@code decoder} is not 0 it is the last step,
 * and the term is -log of the probability of the pixel: of a normal distribution of mean D and
 * variance exp(L) the mass within 1/255 of p; the first and the last level take the tails. The mass
 * is not lost far from D, where its logarithm is what is computed, so there is no density to fall
 * back on, and the 256 probabilities sum to 1.
 *
 * <p>The gradient is that of the mean, for v alone: the prediction counts as a constant, on
 * purpose, since the bound would otherwise teach it with a weight of its own (section 3.1).
 *
 * <p>A time that is no whole number from 1 to T is refused when the op runs.
 *
 * @param scale of the mean
 * @see "Ho et al. 2020, Denoising Diffusion Probabilistic Models, equations 5 and 13"
 * @see "Nichol and Dhariwal 2021, Improved Denoising Diffusion Probabilistic Models, sections 2.1
 *     and 3.1"
 */
public record VariationalBound(double scale) implements Op {
  /** Numbers in a row of the table. */
  public static final int COLUMNS = 8;

  @Override
  public String name() {
    return "variational_bound";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 5, 6);
    TensorSpec prediction = in.getFirst();
    Checks.activation(this, in, prediction);
    Shape s = prediction.shape();
    require(s.rank() == 4, in, "the prediction must be [N,H,W,C]");
    require(
        in.get(1).equals(new TensorSpec(s, DType.F32)),
        in,
        "x must be of the prediction's shape, f32");
    require(
        in.get(2).equals(new TensorSpec(s, DType.U8)),
        in,
        "images must be of the prediction's shape, u8");
    TensorSpec each = TensorSpec.of(DType.F32, s.dim(0));
    require(in.get(3).equals(each), in, "times must be [N] f32");
    TensorSpec table = in.get(4);
    require(
        table.dtype() == DType.F32
            && table.shape().rank() == 2
            && table.shape().dim(1) == COLUMNS
            && table.shape().dim(0) > 0,
        in,
        "the table must be [T,8] f32");
    require(in.size() == 5 || in.get(5).equals(prediction), in, "v must be like the prediction");
    require(Double.isFinite(scale), in, "scale must be finite");
    return List.of(TensorSpec.of(DType.F32, 1), each);
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    if (gradients.get(1) != null) {
      throw new UnsupportedOperationException(
          name() + " has a gradient for its mean only, not for single images");
    }
    Value[] all = new Value[inputs.size()];
    if (inputs.size() == 6) {
      Value[] in = Arrays.copyOf(inputs.toArray(Value[]::new), 7);
      in[6] = gradients.get(0);
      all[5] = graph.apply(new VariationalBoundBackward(scale), in);
    }
    return Arrays.asList(all);
  }
}
