package dev.gatun.models;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.train.TrainConfig;
import java.util.List;
import java.util.Set;

/** Everything {@link Models} must know of one kind of model. */
interface Family {
  String name();

  /**
   * The preset's hyper-parameters for images of a shape.
   *
   * @param classes of their labels; 0 for a model that is not given any
   * @throws IllegalArgumentException in one line if the model is not for such images
   */
  Record config(Preset preset, Model.ImageShape shape, int classes);

  Class<? extends Record> configType();

  /** Whether its models can be given classes. */
  default boolean takesClasses() {
    return true;
  }

  /** Components of the configuration that the data decide. */
  Set<String> fixedKeys();

  TrainConfig training(Preset preset, DType dtype, long seed);

  long steps(Preset preset);

  Model model(Record config);

  List<String> samplers();

  Sampler sampler(String sampler, Device device, Model model, Parameters weights, DType dtype);
}
