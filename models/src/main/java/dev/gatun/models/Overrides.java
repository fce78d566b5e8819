package dev.gatun.models;

import dev.gatun.models.train.TrainConfig;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** Applies {@code key=value} to a model's configuration and to that of its training. */
final class Overrides {
  /** Components of {@link TrainConfig} that have options of their own. */
  private static final Set<String> OPTIONS = Set.of("dtype", "seed");

  private final List<String> modelKeys;
  private final List<String> trainingKeys;
  private Record config;
  private Record training;

  Overrides(Record config, Set<String> fixedKeys, TrainConfig training) {
    this.config = config;
    this.training = training;
    modelKeys = without(Records.keys(config), fixedKeys);
    trainingKeys = without(Records.keys(training), OPTIONS);
  }

  void set(String key, String value) {
    if (modelKeys.contains(key)) {
      config = Records.with(config, key, value);
    } else if (trainingKeys.contains(key)) {
      training = Records.with(training, key, value);
    } else {
      throw new IllegalArgumentException(
          "unknown key '"
              + key
              + "': accepted are "
              + String.join(", ", modelKeys)
              + " (of the model), "
              + String.join(", ", trainingKeys)
              + " (of the training)");
    }
  }

  Record config() {
    return config;
  }

  Record training() {
    return training;
  }

  private static List<String> without(List<String> keys, Set<String> left) {
    List<String> rest = new ArrayList<>(keys);
    rest.removeAll(left);
    return rest;
  }
}
