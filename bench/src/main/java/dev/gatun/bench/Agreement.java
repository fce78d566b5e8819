package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.io.SafetensorsEntry;
import dev.gatun.engine.io.SafetensorsFile;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;

/**
 * Whether a device computes what the CPU does: before it is timed, as a peer is. Differences are
 * Euclidean norms, |a - b| / |b|.
 */
final class Agreement {
  private Agreement() {}

  /** What is tolerated of results whose activations are of a dtype. */
  static double tolerance(DType type) {
    return type == DType.F32 ? 1e-4 : 2e-2;
  }

  /** |a - b| / |b|; a NaN where either has one. */
  static double difference(float[] a, float[] b) {
    if (a.length != b.length) {
      return Double.NaN;
    }
    double gap = 0;
    double size = 0;
    for (int i = 0; i < a.length; i++) {
      double d = (double) a[i] - b[i];
      gap += d * d;
      size += (double) b[i] * b[i];
    }
    return gap == 0 ? 0 : Math.sqrt(gap / size);
  }

  /**
   * Notes the difference in a row.
   *
   * @throws IllegalStateException unless it is tolerated
   */
  static void require(Comparison row, String key, float[] ours, float[] wanted, DType type) {
    double difference = difference(ours, wanted);
    row.facts.put(key, difference);
    if (!(difference <= tolerance(type))) {
      throw new IllegalStateException(
          String.format(
              Locale.ROOT,
              "not timed, this device computes something else than the CPU: %s differs by %.3g,"
                  + " tolerated is %.3g",
              row.what,
              difference,
              tolerance(type)));
    }
  }

  /** Holds results against {@code out.0}, {@code out.1} ... of a file. */
  static void require(Comparison row, List<float[]> ours, Path file, DType type)
      throws IOException {
    try (SafetensorsFile saved = SafetensorsFile.open(file)) {
      for (int i = 0; i < ours.size(); i++) {
        SafetensorsEntry entry = saved.entry("out." + i);
        float[] wanted = entry.data().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
        require(row, "ourDifference" + i, ours.get(i), wanted, type);
      }
    }
  }
}
