package dev.gatun.models.vae;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Dropout;
import dev.gatun.engine.op.ImportanceBound;
import dev.gatun.engine.op.Reshape;
import dev.gatun.engine.train.ParameterSpec;
import java.util.ArrayList;
import java.util.List;

/**
 * An autoencoder: what a few numbers keep of an image. With {@code corruption} a denoising one: the
 * encoder sees the image with a share of its pixels missing, the decoder is to say it whole.
 *
 * @see "Hinton and Salakhutdinov 2006, Reducing the Dimensionality of Data with Neural Networks"
 * @see "Vincent et al. 2010, Stacked Denoising Autoencoders, section 3.3: masking noise"
 */
public final class Autoencoder implements CodingModel {
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
  private final VaeNetwork network;

  public Autoencoder(Config config) {
    this.config = config;
    network =
        new VaeNetwork(
            config.network, config.latents, config.latents, config.likelihood.parameters());
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public Config config() {
    return config;
  }

  @Override
  public Pixels pixels() {
    return config.likelihood;
  }

  @Override
  public List<ParameterSpec> parameters() {
    List<ParameterSpec> all = new ArrayList<>(network.encoderParameters());
    all.addAll(network.decoderParameters());
    return all;
  }

  @Override
  public List<ParameterSpec> encoderParameters() {
    return network.encoderParameters();
  }

  @Override
  public ImageShape imageShape() {
    return config.network.shape();
  }

  @Override
  public int levels() {
    return VaeNetwork.LEVELS;
  }

  @Override
  public DType dataType() {
    return config.network.points() ? DType.F32 : DType.U8;
  }

  @Override
  public int classes() {
    return 0;
  }

  @Override
  public Objective objective() {
    return Objective.LOSS;
  }

  /** Of an image: its squared error's half, or the nats of another measure. */
  @Override
  public Value loss(Graph g, Weights w, Input input) {
    Value images = network.scaled(g, input.images(), input.type());
    Value shown = images;
    if (config.corruption > 0) {
      Training training = input.training();
      shown =
          g.apply(
              new Dropout(config.corruption, training.dropoutSeed(), 0), images, training.step());
    }
    Value said = decode(g, w, network.encode(g, w, shown), input.type());
    Value nats = g.apply(config.likelihood.nats(input.type()), said, input.images());
    return g.apply(new ImportanceBound(1, List.of(1.0)), List.of(nats)).getFirst();
  }

  @Override
  public int features() {
    return config.latents;
  }

  @Override
  public int latentSize() {
    return config.latents;
  }

  private Value head(Graph g, Weights w, Input input) {
    return network.encode(g, w, network.scaled(g, input.images(), input.type()));
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

  @Override
  public Value decode(Graph g, Weights w, Value z, DType type) {
    return network.decode(g, w, z, type);
  }
}
