package dev.gatun.models;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.train.TrainConfig;
import dev.gatun.models.vae.Autoencoder;
import dev.gatun.models.vae.Kl;
import dev.gatun.models.vae.Pixels;
import dev.gatun.models.vae.Vae;
import dev.gatun.models.vae.VaeNetwork;
import dev.gatun.models.vae.VaeSampler;
import dev.gatun.models.vae.VqSampler;
import dev.gatun.models.vae.VqVae;
import java.util.List;
import java.util.Set;
import java.util.function.Function;

/** The models that encode images. */
final class VaeFamily<C extends Record> extends PresetFamily<C> {
  /** Opens a sampler by its name. */
  private interface Opened {
    Sampler open(String sampler, Device device, Model model, Parameters weights, DType dtype);
  }

  private final List<String> samplers;
  private final Opened opened;

  private VaeFamily(
      String name,
      Class<C> configType,
      Function<C, Model> model,
      Sizes<C> sizes,
      List<String> samplers,
      Opened opened) {
    super(name, configType, model, unlabelled(name, sizes), VaeFamily::optimizer);
    this.samplers = samplers;
    this.opened = opened;
  }

  private static <C extends Record> Sizes<C> unlabelled(String name, Sizes<C> sizes) {
    return (preset, shape, classes) -> {
      if (classes > 0) {
        throw new IllegalArgumentException(
            name + " is given no classes: leave --conditional out, or train another model");
      }
      return sizes.of(preset, shape, classes);
    };
  }

  static List<Family> all() {
    return List.of(
        new VaeFamily<>(
            "autoencoder",
            Autoencoder.Config.class,
            Autoencoder::new,
            (p, s, c) ->
                new Autoencoder.Config(network(p, s, 500, 3), Pixels.SQUARED, latents(p, 30), 0),
            List.of(),
            null),
        vae(
            "vae",
            Vae.Gaussian.class,
            Vae::of,
            (p, s, c) -> new Vae.Gaussian(common(p, s, 500, 1), latents(p, 20), kl(p, s))),
        vae(
            "iwae",
            Vae.ImportanceWeighted.class,
            Vae::of,
            (p, s, c) ->
                new Vae.ImportanceWeighted(
                    common(p, s, 200, 2), latents(p, 50), sized(p, 3, 5, 50))),
        vae(
            "vampprior-vae",
            Vae.Vamp.class,
            Vae::of,
            (p, s, c) ->
                new Vae.Vamp(
                    common(p, s, 300, 2), latents(p, 40), warmedUp(p), sized(p, 5, 50, 500))),
        vae(
            "gmm-vae",
            Vae.Mixture.class,
            Vae::of,
            (p, s, c) ->
                new Vae.Mixture(
                    common(p, s, 500, 2), latents(p, 20), warmedUp(p), sized(p, 3, 20, 20))),
        vae(
            "iaf-vae",
            Vae.Flow.class,
            Vae::of,
            (p, s, c) ->
                new Vae.Flow(
                    common(p, s, 500, 2),
                    latents(p, 32),
                    warmedUp(p),
                    sized(p, 2, 4, 8),
                    sized(p, 4, 10, 10),
                    sized(p, 8, 64, 64))),
        vae(
            "categorical-vae",
            Vae.Categorical.class,
            Vae::of,
            (p, s, c) ->
                new Vae.Categorical(
                    common(p, s, 512, 2),
                    sized(p, 3, 20, 20),
                    sized(p, 4, 10, 10),
                    Kl.PLAIN,
                    1,
                    0.5,
                    3e-5)),
        new VaeFamily<>(
            "vq-vae",
            VqVae.Config.class,
            VqVae::new,
            VaeFamily::vqVae,
            List.of("cached"),
            (sampler, device, model, weights, dtype) ->
                new VqSampler(device, (VqVae) model, weights, dtype)));
  }

  private static <C extends Record> Family vae(
      String name, Class<C> configType, Function<C, Model> model, Sizes<C> sizes) {
    return new VaeFamily<>(
        name,
        configType,
        model,
        sizes,
        List.of("mean", "exact"),
        (sampler, device, made, weights, dtype) ->
            new VaeSampler(device, (Vae) made, weights, dtype, sampler.equals("exact")));
  }

  private static int sized(Preset preset, int tiny, int small, int paper) {
    return switch (preset) {
      case TINY -> tiny;
      case SMALL -> small;
      case PAPER -> paper;
    };
  }

  private static int latents(Preset preset, int paper) {
    return sized(preset, 4, 32, paper);
  }

  /** Latents of points say nothing at all where they cost their full price from the first step. */
  private static Kl kl(Preset preset, Model.ImageShape s) {
    return s.height() * s.width() == 1 ? warmedUp(preset) : Kl.PLAIN;
  }

  /** A tenth of the steps; for the paper's, 100 epochs of MNIST in batches of 100. */
  private static Kl warmedUp(Preset preset) {
    return new Kl(1, sized(preset, 10, 1_000, 60_000), 0, 0, 0);
  }

  /** The paper's is of hidden layers; points have hidden layers always. */
  private static VaeNetwork.Config network(
      Preset preset, Model.ImageShape s, int filters, int depth) {
    boolean points = s.height() * s.width() == 1;
    if (points && preset != Preset.PAPER) {
      return mlp(s, sized(preset, 16, 64, 0), 2);
    }
    boolean whole = s.height() % 4 == 0 && s.width() % 4 == 0;
    return switch (preset) {
      case TINY -> whole ? convolutional(s, 16, 0) : mlp(s, 16, 1);
      case SMALL -> whole ? convolutional(s, 32, 1) : mlp(s, 300, 2);
      case PAPER -> mlp(s, filters, depth);
    };
  }

  private static VaeNetwork.Config mlp(Model.ImageShape s, int filters, int depth) {
    return new VaeNetwork.Config(
        s.height(), s.width(), s.channels(), VaeNetwork.Kind.MLP, filters, depth);
  }

  private static VaeNetwork.Config convolutional(Model.ImageShape s, int filters, int depth) {
    return new VaeNetwork.Config(
        s.height(), s.width(), s.channels(), VaeNetwork.Kind.CONVOLUTIONAL, filters, depth);
  }

  private static Vae.Common common(Preset preset, Model.ImageShape s, int filters, int depth) {
    VaeNetwork.Config network = network(preset, s, filters, depth);
    Pixels likelihood =
        network.points()
            ? Pixels.GAUSSIAN
            : preset == Preset.PAPER ? Pixels.BERNOULLI : Pixels.LOGISTIC;
    return new Vae.Common(network, likelihood);
  }

  /** The paper has 512 codes: indices here are bytes. */
  private static VqVae.Config vqVae(Preset preset, Model.ImageShape s, int classes) {
    return new VqVae.Config(
        s.height(),
        s.width(),
        s.channels(),
        sized(preset, 16, 32, 128),
        sized(preset, 0, 1, 2),
        Pixels.LOGISTIC,
        sized(preset, 8, 128, 256),
        sized(preset, 4, 32, 64),
        0.25,
        0.99,
        sized(preset, 8, 64, 128),
        sized(preset, 2, 7, 15));
  }

  private static TrainConfig optimizer(Preset preset, DType dtype, long seed) {
    return switch (preset) {
      case TINY -> new TrainConfig(16, 1e-3, 10, 1, 0.9, 0.999, 1e4, 0.9, false, dtype, seed);
      case SMALL -> new TrainConfig(64, 1e-3, 200, 1, 0.9, 0.999, 1e3, 0.999, false, dtype, seed);
      case PAPER -> new TrainConfig(100, 5e-4, 0, 1, 0.9, 0.999, 1e4, 0.999, false, dtype, seed);
    };
  }

  @Override
  public boolean takesClasses() {
    return false;
  }

  @Override
  public Set<String> fixedKeys() {
    return Set.of("height", "width", "channels");
  }

  @Override
  public long steps(Preset preset) {
    return switch (preset) {
      case TINY -> 100;
      case SMALL -> 10_000;
      case PAPER -> 600_000;
    };
  }

  @Override
  public List<String> samplers() {
    return samplers;
  }

  @Override
  public Sampler sampler(
      String sampler, Device device, Model model, Parameters weights, DType dtype) {
    return opened.open(sampler, device, model, weights, dtype);
  }
}
