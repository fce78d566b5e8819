package dev.gatun.models.features;

import dev.gatun.models.metrics.Features;

/** Applies a function to each row of features. */
final class Rows {
  private Rows() {}

  /** y of x; y comes as zeros. */
  @FunctionalInterface
  interface Function {
    void apply(float[] x, double[] y);
  }

  /**
   * The function's values.
   *
   * @param data [N,F]
   * @param size F, as it was fitted
   * @return [N,D]
   * @throws IllegalArgumentException in one line if the data have another size
   */
  static Features map(Features data, int size, int features, Function function) {
    if (data.size() != size) {
      throw new IllegalArgumentException(
          "data of "
              + data.size()
              + " dimensions; these features are of data of "
              + size
              + ": use images of one size");
    }
    float[] all = new float[Math.multiplyExact(data.count(), features)];
    float[] x = new float[size];
    for (int n = 0; n < data.count(); n++) {
      data.copy(n, x, 0);
      double[] y = new double[features];
      function.apply(x, y);
      for (int d = 0; d < features; d++) {
        all[n * features + d] = (float) y[d];
      }
    }
    return new Features(data.count(), features, all);
  }
}
