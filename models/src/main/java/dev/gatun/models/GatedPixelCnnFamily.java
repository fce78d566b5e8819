package dev.gatun.models;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.pixelcnn.GatedPixelCnn;
import dev.gatun.models.pixelcnn.PixelSampler;
import dev.gatun.models.pixelcnn.Sampler;
import dev.gatun.models.train.TrainConfig;
import java.util.List;
import java.util.Set;

/** Presets of {@link GatedPixelCnn}. */
final class GatedPixelCnnFamily implements Family {
  private static final int LEVELS = 256;

  @Override
  public String name() {
    return "gated-pixelcnn";
  }

  @Override
  public GatedPixelCnn.Config config(Preset preset, Model.ImageShape shape) {
    if (shape.channels() != 1) {
      throw new IllegalArgumentException(
          "gated-pixelcnn models images of one channel, these are "
              + shape
              + ": give it grey images");
    }
    int h = shape.height();
    int w = shape.width();
    return switch (preset) {
      case TINY -> new GatedPixelCnn.Config(h, w, LEVELS, 8, 2, 5, 3, 16);
      case SMALL -> new GatedPixelCnn.Config(h, w, LEVELS, 32, 7, 7, 3, 128);
      // the paper shows no grey images: width and depth are our choice, between its figures
      case PAPER -> new GatedPixelCnn.Config(h, w, LEVELS, 128, 15, 7, 3, 1024);
    };
  }

  @Override
  public Class<GatedPixelCnn.Config> configType() {
    return GatedPixelCnn.Config.class;
  }

  @Override
  public Set<String> fixedKeys() {
    return Set.of("height", "width", "levels");
  }

  @Override
  public TrainConfig training(Preset preset, DType dtype, long seed) {
    return switch (preset) {
      case TINY -> new TrainConfig(16, 1e-3, 10, 1, 0.9, 0.999, 1, 0.9, dtype, seed);
      case SMALL -> new TrainConfig(16, 3e-3, 100, 0.999, 0.9, 0.999, 1, 0.995, dtype, seed);
      case PAPER ->
          new TrainConfig(128, 4e-4, 1000, 0.999995, 0.95, 0.9995, 1, 0.9995, dtype, seed);
    };
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
  public Model model(Record config) {
    return new GatedPixelCnn((GatedPixelCnn.Config) config);
  }

  @Override
  public List<String> samplers() {
    return List.of("rows", "full");
  }

  @Override
  public Sampler sampler(
      String sampler, Device device, Model model, Parameters weights, DType dtype) {
    GatedPixelCnn pixelCnn = (GatedPixelCnn) model;
    return sampler.equals("rows")
        ? PixelSampler.rows(device, pixelCnn, weights, dtype)
        : PixelSampler.full(device, pixelCnn, weights, dtype);
  }
}
