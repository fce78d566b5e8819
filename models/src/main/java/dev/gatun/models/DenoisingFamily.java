package dev.gatun.models;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.op.DenoiseStep.Thresholding;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.diffusion.Ddpm;
import dev.gatun.models.diffusion.DenoisingModel;
import dev.gatun.models.diffusion.DenoisingSampler;
import dev.gatun.models.diffusion.DenoisingSampler.Method;
import dev.gatun.models.diffusion.Edm;
import dev.gatun.models.diffusion.NoiseSchedule;
import dev.gatun.models.diffusion.Preconditioning;
import dev.gatun.models.diffusion.Prediction;
import dev.gatun.models.diffusion.UNet;
import dev.gatun.models.train.TrainConfig;
import java.util.List;
import java.util.Set;
import java.util.function.Function;

/** The models that make images out of noise. */
final class DenoisingFamily<C extends Record> extends PresetFamily<C> {
  private static final double LABEL_DROPOUT = 0.1;

  private final List<Method> samplers;

  private DenoisingFamily(
      String name,
      Class<C> configType,
      Function<C, Model> model,
      Sizes<C> sizes,
      Training training,
      List<Method> samplers) {
    super(name, configType, model, sizes, training);
    this.samplers = samplers;
  }

  static List<Family> all() {
    return List.of(
        new DenoisingFamily<>(
            "ddpm",
            Ddpm.Config.class,
            Ddpm::new,
            DenoisingFamily::ddpm,
            DenoisingFamily::ddpmTraining,
            List.of(Method.DDIM, Method.DDPM, Method.DPMPP, Method.HEUN)),
        new DenoisingFamily<>(
            "edm",
            Edm.Config.class,
            Edm::new,
            DenoisingFamily::edm,
            DenoisingFamily::edmTraining,
            List.of(Method.HEUN, Method.DPMPP, Method.DDIM, Method.DDPM)));
  }

  private static boolean isPoint(Model.ImageShape s) {
    return s.height() * s.width() == 1;
  }

  private static UNet.Config tiny(Model.ImageShape s, int classes) {
    if (isPoint(s)) {
      return unet(s, classes, 16, "1", 1, "none", 16, 4, 0, true, false);
    }
    return unet(s, classes, 8, "1,2", 1, "", 8, 4, 0, true, false);
  }

  private static UNet.Config small(Model.ImageShape s, int classes) {
    if (isPoint(s)) {
      return unet(s, classes, 64, "1", 2, "none", 64, 16, 0, true, false);
    }
    return unet(s, classes, 64, "1,2,2", 1, "", 64, 16, 0, true, false);
  }

  private static UNet.Config unet(
      Model.ImageShape s,
      int classes,
      int filters,
      String multipliers,
      int blocks,
      String attention,
      int headChannels,
      int groups,
      double dropout,
      boolean scaleShift,
      boolean resnetResampling) {
    return new UNet.Config(
        s.height(),
        s.width(),
        s.channels(),
        classes,
        filters,
        multipliers,
        blocks,
        attention,
        headChannels,
        groups,
        dropout,
        scaleShift,
        resnetResampling);
  }

  private static Ddpm.Config ddpm(Preset preset, Model.ImageShape s, int classes) {
    return switch (preset) {
      case TINY -> ddpm(tiny(s, classes), NoiseSchedule.Kind.COSINE, Prediction.VELOCITY, 5);
      case SMALL -> ddpm(small(s, classes), NoiseSchedule.Kind.COSINE, Prediction.VELOCITY, 5);
      case PAPER -> {
        // appendix B's network for CIFAR-10; its one head of 256 channels is two of 128 here
        String half = Integer.toString(s.height() / 2);
        UNet.Config net = unet(s, classes, 128, "1,2,2,2", 2, half, 128, 32, 0.1, false, false);
        yield ddpm(net, NoiseSchedule.Kind.LINEAR, Prediction.NOISE, 0);
      }
    };
  }

  private static Ddpm.Config ddpm(
      UNet.Config net, NoiseSchedule.Kind schedule, Prediction prediction, double minSnr) {
    return new Ddpm.Config(
        net, 1000, schedule, prediction, false, minSnr, LABEL_DROPOUT, Condition.NONE);
  }

  private static Edm.Config edm(Preset preset, Model.ImageShape s, int classes) {
    UNet.Config net =
        switch (preset) {
          case TINY -> tiny(s, classes);
          case SMALL -> small(s, classes);
          // table 7's DDPM++ for CIFAR-10, but two heads of 128 channels for one of 256, and
          // attention after each block on the way up, where the reference code has it once
          case PAPER -> {
            String half = Integer.toString(s.height() / 2);
            yield unet(s, classes, 128, "2,2,2", 4, half, 128, 32, 0.13, false, true);
          }
        };
    if (isPoint(s)) { // the plane's densities deviate by 2 or so, not by 0.5
      Preconditioning wide = new Preconditioning(2, 0.002, 80, 7);
      return new Edm.Config(net, 0, 1.5, wide, LABEL_DROPOUT, Condition.NONE);
    }
    return new Edm.Config(net, -1.2, 1.2, Preconditioning.EDM, LABEL_DROPOUT, Condition.NONE);
  }

  private static TrainConfig ddpmTraining(Preset preset, DType dtype, long seed) {
    return switch (preset) {
      case TINY -> new TrainConfig(16, 1e-3, 10, 1, 0.9, 0.999, 1, 0.9, false, dtype, seed);
      case SMALL -> new TrainConfig(64, 1e-3, 500, 1, 0.9, 0.999, 1, 0.999, false, dtype, seed);
      case PAPER -> new TrainConfig(128, 2e-4, 5000, 1, 0.9, 0.999, 1, 0.9999, true, dtype, seed);
    };
  }

  private static TrainConfig edmTraining(Preset preset, DType dtype, long seed) {
    return switch (preset) {
      case TINY, SMALL -> ddpmTraining(preset, dtype, seed);
      // a half-life of 500,000 images, a warm-up of 10 million; the reference code does not clip
      case PAPER ->
          new TrainConfig(512, 1e-3, 19531, 1, 0.9, 0.999, 1e3, 0.99929, true, dtype, seed);
    };
  }

  @Override
  public Set<String> fixedKeys() {
    return Set.of("height", "width", "channels", "classes");
  }

  @Override
  public long steps(Preset preset) {
    return switch (preset) {
      case TINY -> 100;
      case SMALL -> 10_000;
      case PAPER -> 800_000;
    };
  }

  @Override
  public List<String> samplers() {
    return samplers.stream().map(Method::label).toList();
  }

  @Override
  public Sampler sampler(
      String sampler, Device device, Model model, Parameters weights, DType dtype) {
    DenoisingModel denoising = (DenoisingModel) model;
    Method method = samplers.get(samplers().indexOf(sampler));
    return new DenoisingSampler(
        device,
        denoising,
        weights,
        new DenoisingSampler.Settings(
            sampler,
            method.steps(denoising, method.usualSteps(denoising), 0),
            1,
            Thresholding.STATIC),
        dtype);
  }
}
