package dev.gatun.models;

import dev.gatun.models.train.TrainConfig;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Applies {@code key=value} to a model's configuration and to that of its training. */
final class Overrides {
  /** Components of {@link TrainConfig} that have options of their own. */
  private static final Set<String> OPTIONS = Set.of("dtype", "seed");

  private final List<String> modelKeys;
  private final List<String> trainingKeys;
  private final Map<String, String> ofModel = new LinkedHashMap<>();
  private final Map<String, String> ofTraining = new LinkedHashMap<>();
  private final Record config;
  private final Record training;

  Overrides(Record config, Set<String> fixedKeys, TrainConfig training) {
    this.config = config;
    this.training = training;
    modelKeys = without(Records.keys(config), fixedKeys);
    trainingKeys = without(Records.keys(training), OPTIONS);
  }

  void set(String key, String value) {
    if (modelKeys.contains(key)) {
      ofModel.put(key, value);
    } else if (trainingKeys.contains(key)) {
      ofTraining.put(key, value);
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

  /** The configuration with what was set of it; it is checked now, as a whole. */
  Record config() {
    return Records.with(config, ofModel);
  }

  /** The same of the training. */
  Record training() {
    return Records.with(training, ofTraining);
  }

  private static List<String> without(List<String> keys, Set<String> left) {
    List<String> rest = new ArrayList<>(keys);
    rest.removeAll(left);
    return rest;
  }
}
