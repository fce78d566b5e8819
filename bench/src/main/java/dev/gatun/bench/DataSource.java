package dev.gatun.bench;

import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.data.Datasets;
import dev.gatun.engine.data.Split;
import dev.gatun.models.planar.PlanarDensity;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;

/** Opens what {@code --data} names. */
final class DataSource {
  /** Held-out images are the same for every run, so that scores can be compared. */
  static final long SPLIT_SEED = 0;

  /** Points of each split of a density; their seeds. */
  private static final int TRAIN_POINTS = 60_000;

  private static final int TEST_POINTS = 10_000;
  private static final long TRAIN_SEED = 1;
  private static final long TEST_SEED = 2;

  private DataSource() {}

  /** What {@code --split} names. */
  static Split split(String name) {
    return switch (name) {
      case "train" -> Split.TRAIN;
      case "test" -> Split.TEST;
      default -> throw new UsageException("--split " + name + ": expected train or test");
    };
  }

  /** The density of the plane that a path names; null where it names files. */
  static PlanarDensity density(Path path) {
    return Files.exists(path)
        ? null
        : Arrays.stream(PlanarDensity.values())
            .filter(density -> density.label().equals(path.toString()))
            .findFirst()
            .orElse(null);
  }

  /** What a path names: files, or a density of the plane, of which points are drawn. */
  static Dataset open(Path path, Split split, long splitSeed) throws IOException {
    PlanarDensity density = density(path);
    if (density != null) {
      return Dataset.ofPoints(
          density.label(),
          2,
          split == Split.TRAIN
              ? density.draw(TRAIN_POINTS, TRAIN_SEED)
              : density.draw(TEST_POINTS, TEST_SEED));
    }
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
