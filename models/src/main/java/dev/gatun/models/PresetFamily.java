package dev.gatun.models;

import dev.gatun.engine.DType;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.train.TrainConfig;
import java.util.function.Function;

/** A family that is told how its presets are sized and trained; how it draws is its own. */
abstract class PresetFamily<C extends Record> implements Family {
  /** The hyper-parameters of a preset. */
  interface Sizes<C> {
    C of(Preset preset, Model.ImageShape shape, int classes);
  }

  /** How a preset is trained. */
  interface Training {
    TrainConfig of(Preset preset, DType dtype, long seed);
  }

  private final String name;
  private final Class<C> configType;
  private final Function<C, Model> model;
  private final Sizes<C> sizes;
  private final Training training;

  PresetFamily(
      String name,
      Class<C> configType,
      Function<C, Model> model,
      Sizes<C> sizes,
      Training training) {
    this.name = name;
    this.configType = configType;
    this.model = model;
    this.sizes = sizes;
    this.training = training;
  }

  @Override
  public final String name() {
    return name;
  }

  @Override
  public final C config(Preset preset, Model.ImageShape shape, int classes) {
    return sizes.of(preset, shape, classes);
  }

  @Override
  public final Class<C> configType() {
    return configType;
  }

  @Override
  public final TrainConfig training(Preset preset, DType dtype, long seed) {
    return training.of(preset, dtype, seed);
  }

  @Override
  public final Model model(Record config) {
    return model.apply(configType.cast(config));
  }
}
