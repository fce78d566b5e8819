package dev.gatun.bench;

import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.data.Datasets;
import dev.gatun.engine.data.Split;
import java.io.IOException;
import java.nio.file.Path;

/** Opens what {@code --data} names. */
final class DataSource {
  /** Held-out images are the same for every run, so that scores can be compared. */
  static final long SPLIT_SEED = 0;

  private DataSource() {}

  /** What {@code --split} names. */
  static Split split(String name) {
    return switch (name) {
      case "train" -> Split.TRAIN;
      case "test" -> Split.TEST;
      default -> throw new UsageException("--split " + name + ": expected train or test");
    };
  }

  static Dataset open(Path path, Split split, long splitSeed) throws IOException {
    Dataset data = Datasets.open(path, split, splitSeed);
    if (data.count() == 0) {
      throw new UsageException(
          path
              + ": no images to "
              + (split == Split.TRAIN ? "train on" : "test on")
              + "; give more data");
    }
    return data;
  }
}
