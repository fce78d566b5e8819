package dev.gatun.models.vae;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Dropout;
import dev.gatun.engine.op.Reshape;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.models.WeightedNats;
import java.util.List;

/**
 * An autoencoder: what a few numbers keep of an image. With {@code corruption} a denoising one: the
 * encoder sees the image with a share of its pixels missing, the decoder is to say it whole.
 *
 * @see "Hinton and Salakhutdinov 2006, Reducing the Dimensionality of Data with Neural Networks"
 * @see "Vincent et al. 2010, Stacked Denoising Autoencoders, section 3.3: masking noise"
 */
public final class Autoencoder extends NetworkModel {
  private static final String NAME = "autoencoder";

  /**
   * Hyper-parameters.
   *
   * @param likelihood what the error is measured by: squared, or another one
   * @param latents numbers of a code
   * @param corruption share of the pixels' values that the encoder is not shown, rounded to 256ths:
   *     they are 0 in [-1,1], grey, and the others scaled so that sums keep their expectation
   */
  public record Config(
      VaeNetwork.Config network, Pixels likelihood, int latents, double corruption) {
    public Config {
      if (latents < 1) {
        throw new IllegalArgumentException("latents must be positive, not " + latents);
      }
      if (!(corruption >= 0 && corruption < 0.998)) {
        throw new IllegalArgumentException("corruption must be 0 to 0.998, not " + corruption);
      }
      if (network.points() && likelihood != Pixels.SQUARED && likelihood != Pixels.GAUSSIAN) {
        throw new IllegalArgumentException(
            "points have a likelihood of squared or gaussian, not " + likelihood);
      }
    }
  }

  private final Config config;

  public Autoencoder(Config config) {
    super(
        NAME,
        config.likelihood,
        new VaeNetwork(
            config.network, config.latents, config.latents, config.likelihood.parameters()));
    this.config = config;
  }

  @Override
  public Config config() {
    return config;
  }

  @Override
  List<ParameterSpec> latentParameters() {
    return List.of();
  }

  @Override
  public Objective objective() {
    return Objective.LOSS;
  }

  /** Of an image: its squared error's half, or the nats of another measure. */
  @Override
  public Value loss(Graph g, Weights w, Input input) {
    Value images = network().scaled(g, input.images(), input.type());
    Value shown = images;
    if (config.corruption > 0) {
      Training training = input.training();
      shown =
          g.apply(
              new Dropout(config.corruption, training.dropoutSeed(), 0), images, training.step());
    }
    Value nats = nats(g, w, network().encode(g, w, shown), input);
    return WeightedNats.of(nats, 1).mean(g);
  }

  @Override
  public int features() {
    return config.latents;
  }

  @Override
  public int latentSize() {
    return config.latents;
  }

  @Override
  public Value encode(Graph g, Weights w, Input input) {
    Value head = head(g, w, input);
    return g.apply(new Reshape(head.shape().dim(0), config.latents), head);
  }

  @Override
  public Value code(Graph g, Weights w, Input input, Value step) {
    return head(g, w, input);
  }
}
