package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.Arrays;
import java.util.List;

/**
 * Negative log-likelihood of pixels under a discretized mixture of logistic distributions.
 *
 * <p>Inputs: parameters [N,H,W,P] f32; images [N,H,W,C] u8 below {@code levels}, C = 1 or 3.
 * Outputs: the mean over all N*H*W*C values in nats, [1] f32; each pixel's nats, all its colours
 * together, [N*H*W] f32.
 *
 * <p>The P channels, with M = {@code mixtures}: M mixture logits; then for each colour M means, M
 * log-scales and, where C = 3, M coefficients. P is 3M for C = 1, 10M for C = 3. With k the tanh of
 * the coefficients and x = 2 * pixel / (levels - 1) - 1, the means of green get k_red * x_red
 * added, those of blue k_green * x_red + k_blue * x_green. Log-scales count for at least {@link
 * #LEAST_LOG_SCALE}.
 *
 * <p>A value's probability is the logistic's mass within half a step of it; the first and the last
 * value take the tails. The mass is sigmoid(a) - sigmoid(b), a > b, which equals sigmoid(a) *
 * sigmoid(-b) * (1 - exp(b - a)): its logarithm neither cancels nor underflows. So there is no
 * density to fall back on in the tails, as in the reference code, and probabilities sum to 1.
 *
 * @param gradientType dtype of the parameters' gradient; null for f32
 * @see "Salimans et al. 2017, PixelCNN++, sections 2.1 and 2.2"
 */
public record LogisticMixture(int mixtures, int levels, DType gradientType) implements Op {
  /** Below it a log-scale counts as this much and has no gradient. */
  public static final double LEAST_LOG_SCALE = -7;

  @Override
  public String name() {
    return "logistic_mixture";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    TensorSpec parameters = in.get(0);
    TensorSpec images = in.get(1);
    require(
        parameters.shape().rank() == 4 && parameters.dtype() == DType.F32,
        in,
        "parameters must be [N,H,W,P] f32");
    require(
        images.shape().rank() == 4 && images.dtype() == DType.U8,
        in,
        "images must be [N,H,W,C] u8");
    require(images.shape().elements() > 0, in, "empty input");
    require(levels >= 2 && levels <= 256, in, "levels must be 2 to 256, not " + levels);
    require(mixtures >= 1 && mixtures <= 1000, in, "mixtures must be 1 to 1000, not " + mixtures);
    int colours = images.shape().dim(3);
    require(colours == 1 || colours == 3, in, "images must have 1 or 3 colours, not " + colours);
    require(
        parameters.shape().equals(images.shape().withLast(channels(colours))),
        in,
        "P must be " + channels(colours) + " for C=" + colours + ", N, H, W those of the images");
    return List.of(TensorSpec.of(DType.F32, 1), TensorSpec.of(DType.F32, images.shape().rows()));
  }

  /** P for images of that many colours. */
  public int channels(int colours) {
    return (colours == 3 ? 10 : 3) * mixtures;
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    if (gradients.get(1) != null) {
      throw new UnsupportedOperationException(
          name() + " has a gradient for its mean only, not for single pixels");
    }
    DType type = gradientType == null ? DType.F32 : gradientType;
    Value dparameters =
        graph.apply(
            new LogisticMixtureBackward(mixtures, levels, type),
            inputs.get(0),
            inputs.get(1),
            gradients.get(0));
    return Arrays.asList(dparameters, null);
  }
}
