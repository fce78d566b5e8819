package dev.gatun.engine.cpu;

/** Points +-p of a Winograd transform, infinity being one more, and what its matrices take. */
final class PointPairs {
  /** No pair. */
  static final int NONE = -1;

  private final double[] points;

  PointPairs(double... points) {
    this.points = points;
  }

  /** Of pair k's p. */
  float power(int k, int exponent) {
    return (float) Math.pow(points[k], exponent);
  }

  /** Of u^exponent, in the product of (u - q^2) over all pairs but one, or {@link #NONE}. */
  float coefficient(int without, int exponent) {
    double[] c = new double[points.length + 1];
    c[0] = 1;
    for (int k = 0; k < points.length; k++) {
      for (int i = c.length - 1; i >= 0 && k != without; i--) {
        c[i] = (i > 0 ? c[i - 1] : 0) - points[k] * points[k] * c[i];
      }
    }
    return (float) c[exponent];
  }

  /**
   * One over what p's differences to all other points multiply to; those of -p, to the negative.
   */
  float share(int k) {
    double product = 2 * points[k];
    for (int q = 0; q < points.length; q++) {
      product *= q == k ? 1 : points[k] * points[k] - points[q] * points[q];
    }
    return (float) (1 / product);
  }
}
