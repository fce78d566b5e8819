package dev.gatun.models.planar;

import java.util.function.DoubleUnaryOperator;

/**
 * Gauss-Legendre quadrature: exact for polynomials of degree 2n-1.
 *
 * @see "Press et al. 2007, Numerical Recipes, section 4.6"
 */
final class GaussLegendre {
  private final double[] nodes;
  private final double[] weights;

  /**
   * The rule of n nodes on [-1,1]: the roots of the Legendre polynomial P_n, by Newton's method.
   */
  GaussLegendre(int n) {
    nodes = new double[n];
    weights = new double[n];
    for (int i = 0; i < n; i++) {
      double x = Math.cos(Math.PI * (i + 0.75) / (n + 0.5));
      double slope = 0;
      // quadratic from a start this close: five steps are at the last bit
      for (int step = 0; step < 6; step++) {
        double p = 1;
        double before = 0;
        for (int k = 1; k <= n; k++) {
          double next = ((2 * k - 1) * x * p - (k - 1) * before) / k;
          before = p;
          p = next;
        }
        slope = n * (x * p - before) / (x * x - 1);
        x -= p / slope;
      }
      nodes[i] = x;
      weights[i] = 2 / ((1 - x * x) * slope * slope);
    }
  }

  double integrate(double from, double to, DoubleUnaryOperator f) {
    double middle = (from + to) / 2;
    double half = (to - from) / 2;
    double sum = 0;
    for (int i = 0; i < nodes.length; i++) {
      sum += weights[i] * f.applyAsDouble(middle + half * nodes[i]);
    }
    return half * sum;
  }
}
