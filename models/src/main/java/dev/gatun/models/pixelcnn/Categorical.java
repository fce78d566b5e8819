package dev.gatun.models.pixelcnn;

/** Draws from a softmax by inverting its cumulative distribution. */
final class Categorical {
  private Categorical() {}

  /**
   * The smallest k whose cumulative probability exceeds {@code uniform}.
   *
   * @param logits read from {@code offset} on, {@code classes} of them
   * @param scratch at least {@code classes} long
   */
  static int draw(
      float[] logits,
      int offset,
      int classes,
      double temperature,
      double uniform,
      double[] scratch) {
    if (!(temperature > 0)) {
      throw new IllegalArgumentException("temperature must be positive, not " + temperature);
    }
    double max = Double.NEGATIVE_INFINITY;
    for (int k = 0; k < classes; k++) {
      max = Math.max(max, logits[offset + k]);
    }
    double total = 0;
    for (int k = 0; k < classes; k++) {
      total += Math.exp((logits[offset + k] - max) / temperature);
      scratch[k] = total;
    }
    double target = uniform * total;
    for (int k = 0; k < classes - 1; k++) {
      if (scratch[k] > target) {
        return k;
      }
    }
    return classes - 1;
  }
}
