package dev.gatun.models;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.pixelcnn.CachedSampler;
import dev.gatun.models.pixelcnn.FullSampler;
import dev.gatun.models.pixelcnn.GatedPixelCnn;
import dev.gatun.models.pixelcnn.PixelCnn;
import dev.gatun.models.pixelcnn.PixelCnnPlusPlus;
import dev.gatun.models.pixelcnn.PixelModel;
import dev.gatun.models.train.TrainConfig;
import java.util.List;
import java.util.Set;
import java.util.function.Function;

/** The models that draw an image pixel by pixel. */
final class PixelFamily<C extends Record> extends PresetFamily<C> {
  private static final int LEVELS = 256;

  private PixelFamily(
      String name,
      Class<C> configType,
      Function<C, Model> model,
      Sizes<C> sizes,
      Training training) {
    super(name, configType, model, sizes, training);
  }

  static List<Family> all() {
    return List.of(
        new PixelFamily<>(
            "pixelcnn",
            PixelCnn.Config.class,
            PixelCnn::new,
            PixelFamily::pixelCnn,
            PixelFamily::softmaxTraining),
        new PixelFamily<>(
            "gated-pixelcnn",
            GatedPixelCnn.Config.class,
            GatedPixelCnn::new,
            PixelFamily::gatedPixelCnn,
            PixelFamily::softmaxTraining),
        new PixelFamily<>(
            "pixelcnn++",
            PixelCnnPlusPlus.Config.class,
            PixelCnnPlusPlus::new,
            PixelFamily::pixelCnnPlusPlus,
            PixelFamily::mixtureTraining));
  }

  /** Colours share a layer's channels, so their number divides it. */
  private static int filters(Model.ImageShape shape, int grey, int coloured) {
    return shape.channels() == 1 ? grey : coloured;
  }

  private static PixelCnn.Config pixelCnn(Preset preset, Model.ImageShape s, int classes) {
    int h = s.height();
    int w = s.width();
    int c = s.channels();
    return switch (preset) {
      case TINY -> new PixelCnn.Config(h, w, c, LEVELS, classes, filters(s, 8, 12), 2, 5, 3, 24);
      case SMALL ->
          new PixelCnn.Config(
              h, w, c, LEVELS, classes, filters(s, 32, 48), 7, 7, 3, filters(s, 128, 144));
      // table 1's model for CIFAR-10; 129 and 1026 are the nearest that three colours can share
      case PAPER ->
          new PixelCnn.Config(
              h, w, c, LEVELS, classes, filters(s, 128, 129), 15, 7, 3, filters(s, 1024, 1026));
    };
  }

  private static GatedPixelCnn.Config gatedPixelCnn(
      Preset preset, Model.ImageShape s, int classes) {
    int h = s.height();
    int w = s.width();
    int c = s.channels();
    return switch (preset) {
      case TINY ->
          new GatedPixelCnn.Config(h, w, c, LEVELS, classes, filters(s, 8, 12), 2, 5, 3, 24);
      case SMALL ->
          new GatedPixelCnn.Config(
              h, w, c, LEVELS, classes, filters(s, 32, 48), 7, 7, 3, filters(s, 128, 144));
      case PAPER ->
          new GatedPixelCnn.Config(
              h, w, c, LEVELS, classes, filters(s, 128, 129), 15, 7, 3, filters(s, 1024, 1026));
    };
  }

  private static PixelCnnPlusPlus.Config pixelCnnPlusPlus(
      Preset preset, Model.ImageShape s, int classes) {
    int h = s.height();
    int w = s.width();
    int c = s.channels();
    return switch (preset) {
      case TINY -> new PixelCnnPlusPlus.Config(h, w, c, LEVELS, classes, 8, 1, 3, 2, 0);
      case SMALL -> new PixelCnnPlusPlus.Config(h, w, c, LEVELS, classes, 48, 2, 10, 3, 0);
      case PAPER -> new PixelCnnPlusPlus.Config(h, w, c, LEVELS, classes, 160, 5, 10, 3, 0.5);
    };
  }

  private static TrainConfig softmaxTraining(Preset preset, DType dtype, long seed) {
    return switch (preset) {
      case TINY -> new TrainConfig(16, 1e-3, 10, 1, 0.9, 0.999, 1, 0.9, false, dtype, seed);
      case SMALL -> new TrainConfig(16, 3e-3, 100, 0.999, 0.9, 0.999, 1, 0.995, false, dtype, seed);
      case PAPER ->
          new TrainConfig(128, 4e-4, 1000, 0.999995, 0.95, 0.9995, 1, 0.9995, false, dtype, seed);
    };
  }

  private static TrainConfig mixtureTraining(Preset preset, DType dtype, long seed) {
    return switch (preset) {
      case TINY -> new TrainConfig(16, 1e-3, 10, 1, 0.9, 0.999, 1, 0.9, false, dtype, seed);
      case SMALL ->
          new TrainConfig(16, 2e-3, 100, 0.9995, 0.95, 0.9995, 1, 0.995, false, dtype, seed);
      // the reference code does not clip: no gradient of a whole is that long
      case PAPER ->
          new TrainConfig(16, 1e-3, 0, 0.999995, 0.95, 0.9995, 1e3, 0.9995, false, dtype, seed);
    };
  }

  @Override
  public Set<String> fixedKeys() {
    return Set.of("height", "width", "channels", "levels", "classes");
  }

  @Override
  public long steps(Preset preset) {
    return switch (preset) {
      case TINY -> 100;
      case SMALL -> 3_000;
      case PAPER -> 200_000;
    };
  }

  @Override
  public List<String> samplers() {
    return List.of("cached", "full");
  }

  @Override
  public Sampler sampler(
      String sampler, Device device, Model model, Parameters weights, DType dtype) {
    PixelModel pixels = (PixelModel) model;
    return sampler.equals("cached")
        ? new CachedSampler(device, pixels, weights, dtype)
        : new FullSampler(device, pixels, weights, dtype);
  }
}
