package dev.gatun.models.diffusion;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Concat;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.models.Condition;
import dev.gatun.models.Model;
import java.util.List;

/** A model that makes images out of noise, by a network that tells the one from the other. */
public abstract class DenoisingModel implements Model {
  private static final int LEVELS = 256;

  private final String name;
  private final UNet net;
  private final double labelDropout;
  private final Condition condition;

  /**
   * What all such models have.
   *
   * @param outputs how many channels the network says for each of the image's
   * @throws IllegalArgumentException in one line if they do not fit together
   */
  DenoisingModel(
      String name, UNet.Config config, double labelDropout, Condition condition, int outputs) {
    require(labelDropout >= 0 && labelDropout < 1, "labelDropout must be in [0,1)");
    require(
        isPoint(config) || config.channels() == 1 || config.channels() == 3,
        "channels must be 1 or 3");
    require(
        !isPoint(config) || outputs == 1,
        "points of a space have no learned variance: its bound is of pixels");
    require(
        labelDropout == 0 || config.classes() < 256,
        "classes must be 0 to 255 where labels are dropped");
    this.name = name;
    this.labelDropout = config.classes() == 0 ? 0 : labelDropout;
    this.condition = condition;
    condition.requireFits(shape(config));
    int shown = condition.channels(shape(config));
    net =
        new UNet(
            config,
            new UNet.Ends(
                // a channel of ones comes with what is shown
                config.channels() + (shown == 0 ? 0 : shown + 1),
                outputs * config.channels(),
                config.classes() + (this.labelDropout > 0 ? 1 : 0)));
  }

  private static void require(boolean condition, String message) {
    if (!condition) {
      throw new IllegalArgumentException(message);
    }
  }

  /** Images of one pixel are points of a space, in f32. */
  private static boolean isPoint(UNet.Config config) {
    return config.height() * config.width() == 1;
  }

  private static ImageShape shape(UNet.Config config) {
    return new ImageShape(config.height(), config.width(), config.channels());
  }

  @Override
  public final String name() {
    return name;
  }

  @Override
  public final List<ParameterSpec> parameters() {
    return net.parameters();
  }

  @Override
  public final ImageShape imageShape() {
    return shape(net.config());
  }

  @Override
  public final int levels() {
    return LEVELS;
  }

  @Override
  public final DType dataType() {
    return isPoint(net.config()) ? DType.F32 : DType.U8;
  }

  @Override
  public final int classes() {
    return net.config().classes();
  }

  @Override
  public final double labelDropout() {
    return labelDropout;
  }

  @Override
  public final Condition condition() {
    return condition;
  }

  @Override
  public final Objective objective() {
    return Objective.LOSS;
  }

  /** Whether the network says, beside each colour, where its variance lies. */
  public boolean learnedVariance() {
    return false;
  }

  /** How many steps a path may have. */
  public abstract int mostSteps();

  /**
   * The noise levels that a sampler visits.
   *
   * @throws IllegalArgumentException in one line if the model has no path of so many steps
   */
  public abstract NoisePath path(int steps);

  /**
   * Noise levels for methods that follow the probability flow in sigma / alpha.
   *
   * @throws IllegalArgumentException in one line if the model has no path of so many steps
   */
  public abstract NoisePath flowPath(int steps);

  /**
   * What the network says.
   *
   * @param x [N,H,W,C] in the input's dtype
   * @param times [N] f32
   * @param input whose images are not looked at
   * @return [N,H,W,C], or twice as many channels
   */
  final Value network(Graph graph, Weights weights, Value x, Value times, Input input) {
    Value shown = x;
    if (condition != Condition.NONE) {
      Value given = graph.apply(new NormalizePixels(LEVELS, input.type()), input.condition());
      shown = graph.apply(new Concat(), x, given);
    }
    Value labels = classes() > 0 ? input.labels() : null;
    return net.apply(
        graph, weights, shown, times, new UNet.Input(labels, input.type(), input.training()));
  }
}
