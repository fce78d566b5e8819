package dev.gatun.models.vae;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.GumbelSoftmax;
import dev.gatun.engine.op.Reshape;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.BoundedModel;
import dev.gatun.models.WeightedNats;
import java.util.List;

/**
 * Variational autoencoders: an encoder, latents, a decoder and a likelihood of what it says. They
 * differ in their latents and in what is minimized; each kind has its configuration here.
 *
 * @see "Kingma and Welling 2014, Auto-Encoding Variational Bayes"
 */
public final class Vae extends NetworkModel implements BoundedModel {
  /**
   * What all kinds have.
   *
   * @param likelihood of an image given its latents
   */
  public record Common(VaeNetwork.Config network, Pixels likelihood) {
    public Common {
      if (likelihood == Pixels.SQUARED) {
        throw new IllegalArgumentException(
            "squared is for autoencoders: the likelihood of a VAE is bernoulli, gaussian or logistic");
      }
      if (network.points() && likelihood != Pixels.GAUSSIAN) {
        throw new IllegalArgumentException(
            "points have a likelihood of gaussian, not " + likelihood);
      }
    }
  }

  /**
   * A Gaussian posterior and prior.
   *
   * @param latents D
   * @see "Kingma and Welling 2014, Auto-Encoding Variational Bayes"
   */
  public record Gaussian(Common common, int latents, Kl kl) {}

  /**
   * The same, trained by the importance-weighted bound.
   *
   * @param samples of an image, in each step
   * @see "Burda et al. 2016, Importance Weighted Autoencoders"
   */
  public record ImportanceWeighted(Common common, int latents, int samples) {
    public ImportanceWeighted {
      if (samples < 1 || samples > 5000) {
        throw new IllegalArgumentException("samples must be 1 to 5000, not " + samples);
      }
    }
  }

  /**
   * A prior of the posteriors of learned inputs.
   *
   * @see "Tomczak and Welling 2018, VAE with a VampPrior"
   */
  public record Vamp(Common common, int latents, Kl kl, int pseudoInputs) {}

  /**
   * A prior that is a mixture of Gaussians.
   *
   * @see "Dilokthanakul et al. 2016, Deep Unsupervised Clustering with Gaussian Mixture Variational
   *     Autoencoders"
   */
  public record Mixture(Common common, int latents, Kl kl, int components) {}

  /**
   * A posterior that an inverse autoregressive flow reshapes.
   *
   * @param flows steps of the flow
   * @param flowWidth units of a masked network for each latent
   * @param flowContext numbers that the encoder says for it
   * @see "Kingma et al. 2016, Improved Variational Inference with Inverse Autoregressive Flow"
   */
  public record Flow(
      Common common, int latents, Kl kl, int flows, int flowWidth, int flowContext) {}

  /**
   * Latents that are categories.
   *
   * @param latents how many
   * @param categories of each
   * @param temperature of the relaxation, at the start
   * @param leastTemperature that it falls to
   * @param temperatureRate of its decay a step
   * @see "Jang et al. 2017, Categorical Reparameterization with Gumbel-Softmax"
   */
  public record Categorical(
      Common common,
      int latents,
      int categories,
      Kl kl,
      double temperature,
      double leastTemperature,
      double temperatureRate) {
    public Categorical {
      if (!(temperature > 0 && leastTemperature > 0 && temperatureRate >= 0)
          || Double.isInfinite(temperature + leastTemperature + temperatureRate)) {
        throw new IllegalArgumentException(
            "temperature and leastTemperature must be positive and temperatureRate not negative");
      }
    }
  }

  private final Record config;
  private final Latents latents;
  private final Kl kl;
  private final int samples; // of the importance-weighted bound; 0 for the evidence lower bound

  private Vae(String name, Record config, Common common, Latents latents, Kl kl, int samples) {
    super(
        name,
        common.likelihood,
        new VaeNetwork(
            common.network, latents.headSize(), latents.size(), common.likelihood.parameters()));
    this.config = config;
    this.latents = latents;
    this.kl = kl;
    this.samples = samples;
  }

  /** {@code vae}. */
  public static Vae of(Gaussian c) {
    return new Vae(
        "vae", c, c.common, new GaussianLatents(c.latents, new Prior.Standard()), c.kl, 0);
  }

  /** {@code iwae}. */
  public static Vae of(ImportanceWeighted c) {
    return new Vae(
        "iwae",
        c,
        c.common,
        new GaussianLatents(c.latents, new Prior.Standard()),
        Kl.PLAIN,
        c.samples);
  }

  /** {@code vampprior-vae}. */
  public static Vae of(Vamp c) {
    VaeNetwork.Config n = c.common.network;
    Shape input = Shape.of(n.height(), n.width(), n.channels());
    return new Vae(
        "vampprior-vae",
        c,
        c.common,
        new GaussianLatents(c.latents, new Prior.Vamp(c.pseudoInputs, input)),
        c.kl,
        0);
  }

  /** {@code gmm-vae}. */
  public static Vae of(Mixture c) {
    return new Vae(
        "gmm-vae",
        c,
        c.common,
        new GaussianLatents(c.latents, new Prior.Mixture(c.components)),
        c.kl,
        0);
  }

  /** {@code iaf-vae}. */
  public static Vae of(Flow c) {
    return new Vae(
        "iaf-vae",
        c,
        c.common,
        new IafLatents(c.latents, c.flows, c.flowWidth, c.flowContext),
        c.kl,
        0);
  }

  /** {@code categorical-vae}. */
  public static Vae of(Categorical c) {
    GumbelSoftmax.Temperature temperature =
        new GumbelSoftmax.Temperature(c.temperature, c.leastTemperature, c.temperatureRate);
    return new Vae(
        "categorical-vae",
        c,
        c.common,
        new CategoricalLatents(c.latents, c.categories, temperature),
        c.kl,
        0);
  }

  @Override
  public Record config() {
    return config;
  }

  @Override
  List<ParameterSpec> latentParameters() {
    return latents.parameters();
  }

  @Override
  public int features() {
    return latents.featureSize();
  }

  @Override
  public Objective objective() {
    return pixels() == Pixels.LOGISTIC ? Objective.BITS_PER_DIM : Objective.NATS;
  }

  /** The loss is in nats of a whole image. */
  @Override
  public double reported(double loss) {
    return loss / natsOfUnit();
  }

  private Scope scope(Graph g, Weights w, DType type) {
    return new Scope(g, w, network(), type);
  }

  /** Equation 10, or Burda et al. 2016, equation 8; nats of an image. */
  @Override
  public Value loss(Graph g, Weights w, Input input) {
    Noise noise = Noise.of(input.training());
    if (samples > 0) {
      return weighted(g, w, input, noise, samples).bound(g, samples).getFirst();
    }
    Latents.Trained trained = latents.train(scope(g, w, input.type()), head(g, w, input), noise);
    Value mean = WeightedNats.of(nats(g, w, trained.z(), input), 1).mean(g);
    return g.apply(new Add(), mean, g.apply(kl.objective(), trained.kl(), noise.step()));
  }

  private WeightedNats weighted(Graph g, Weights w, Input input, Noise noise, int samples) {
    Latents.Drawn drawn =
        latents.draw(scope(g, w, input.type()), head(g, w, input), noise, samples);
    return WeightedNats.of(nats(g, w, drawn.z(), input), 1).plus(drawn.ratio());
  }

  @Override
  public int mostSamples() {
    return 1_000_000;
  }

  @Override
  public WeightedNats weighted(
      Graph g, Weights w, Input input, Value step, long seed, int samples) {
    return weighted(g, w, input, new Noise(step, seed, 0), samples);
  }

  @Override
  public Value encode(Graph g, Weights w, Input input) {
    Value features = latents.features(scope(g, w, input.type()), head(g, w, input));
    return g.apply(new Reshape(features.shape().dim(0), features()), features);
  }

  /** Pseudo-inputs begin as images. */
  @Override
  public void initialize(Device device, Parameters weights, byte[] images, byte[] labels) {
    if (!(config instanceof Vamp) || dataType() != DType.U8) {
      return;
    }
    Tensor inputs = weights.get(Prior.Vamp.INPUTS);
    float[] values = inputs.toFloats();
    for (int i = 0; i < values.length; i++) {
      values[i] += (images[i % images.length] & 0xFF) / 127.5f - 1;
    }
    inputs.write(values);
  }

  // What is decoded:

  @Override
  public int latentSize() {
    return latents.size();
  }

  @Override
  public Value code(Graph g, Weights w, Input input, Value step) {
    Noise noise = new Noise(step, 0, 0);
    return latents.code(scope(g, w, input.type()), head(g, w, input), noise);
  }

  // What there is without an image:

  /** Latents that can be looked at one by one. */
  public int latentCount() {
    return latents.count();
  }

  /**
   * What each latent says of images: its KL divergence from one that says nothing.
   *
   * @return [latentCount] f32, nats, the mean over the images
   */
  public Value klByLatent(Graph g, Weights w, Input input) {
    return latents.klByLatent(scope(g, w, input.type()), head(g, w, input));
  }

  /** What {@link #draw} has to know of the weights; computed once. */
  public List<Value> prior(Graph g, Weights w, DType type) {
    return latents.prior(scope(g, w, type));
  }

  /**
   * Draws a latent of the prior.
   *
   * @param prior the values of {@link #prior}
   * @param image its number: the draw follows from it and the generator's seed
   * @param temperature below 1 is tamer, above 1 wilder
   * @param z written from {@code at} on, D numbers
   */
  public void draw(
      List<float[]> prior, Philox philox, int image, double temperature, float[] z, int at) {
    latents.draw(prior, philox, image, temperature, z, at);
  }
}
