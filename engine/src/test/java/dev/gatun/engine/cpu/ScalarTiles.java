package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.util.Arrays;

/** The transforms as the paper has them, matrices made of points; to hold fast ones against. */
final class ScalarTiles implements TileLoops {
  private static final double[] POINTS = {
    0, Math.sqrt(0.5), -Math.sqrt(0.5), Math.sqrt(2), -Math.sqrt(2)
  };

  /** Row p: the powers of point p; of infinity the last one alone. */
  private static double[][] powers(int count) {
    double[][] rows = new double[POINTS.length + 1][count];
    for (int p = 0; p < POINTS.length; p++) {
      for (int i = 0; i < count; i++) {
        rows[p][i] = Math.pow(POINTS[p], i);
      }
    }
    rows[POINTS.length][count - 1] = 1;
    return rows;
  }

  /** The product of p's differences to the other points. */
  private static double differences(int p) {
    double product = 1;
    for (int q = 0; q < POINTS.length; q++) {
      product *= q == p ? 1 : POINTS[p] - POINTS[q];
    }
    return product;
  }

  private static double[][] transposed(double[][] m) {
    double[][] t = new double[m[0].length][m.length];
    for (int i = 0; i < m.length; i++) {
      for (int j = 0; j < m[0].length; j++) {
        t[j][i] = m[i][j];
      }
    }
    return t;
  }

  private static double[][] weightMatrix() {
    double[][] rows = powers(3);
    for (int p = 0; p < POINTS.length; p++) {
      for (int i = 0; i < 3; i++) {
        rows[p][i] /= differences(p);
      }
    }
    return rows;
  }

  /** Row p: the coefficients of the product of (x - q) over the other points q; of all, last. */
  private static double[][] pixelMatrix() {
    double[][] rows = new double[POINTS.length + 1][];
    for (int p = 0; p <= POINTS.length; p++) {
      double[] polynomial = {1};
      for (int q = 0; q < POINTS.length; q++) {
        if (q != p) {
          double[] next = new double[polynomial.length + 1];
          for (int i = 0; i < polynomial.length; i++) {
            next[i + 1] += polynomial[i];
            next[i] -= POINTS[q] * polynomial[i];
          }
          polynomial = next;
        }
      }
      rows[p] = Arrays.copyOf(polynomial, POINTS.length + 1);
    }
    return rows;
  }

  private static final double[][] PIXELS = pixelMatrix();
  private static final double[][] SLOPES = powers(4);
  private static final double[][] OUTPUTS = transposed(SLOPES);
  private static final double[][] WEIGHTS = weightMatrix();
  private static final double[][] WEIGHT_SLOPES = transposed(WEIGHTS);

  private static double get(long address) {
    return MEMORY.get(JAVA_FLOAT_UNALIGNED, address);
  }

  private static void put(double value, long address) {
    MEMORY.set(JAVA_FLOAT_UNALIGNED, address, (float) value);
  }

  private static void apply(double[][] matrix, Streams s, boolean plus) {
    int inputs = matrix[0].length;
    double[] x = new double[inputs];
    for (int g = 0; g < s.groups; g++) {
      for (int i = 0; i < s.n; i++) {
        long from = 4 * (g * s.inStep + i);
        for (int k = 0; k < inputs; k++) {
          x[k] = get(s.in[k] + from);
        }
        for (int j = 0; j < matrix.length; j++) {
          double sum = plus ? get(s.in[6] + from) + get(s.in[7 + j] + from) : 0;
          for (int k = 0; k < inputs; k++) {
            sum += matrix[j][k] * x[k];
          }
          put(sum, s.out[j] + 4 * (g * s.outStep + i));
        }
      }
    }
  }

  @Override
  public void pixels(Streams s) {
    apply(PIXELS, s, false);
  }

  @Override
  public void outputs(Streams s) {
    apply(OUTPUTS, s, false);
  }

  @Override
  public void outputsPlus(Streams s) {
    apply(OUTPUTS, s, true);
  }

  @Override
  public void slopes(Streams s) {
    apply(SLOPES, s, false);
  }

  @Override
  public void weights(Streams s) {
    apply(WEIGHTS, s, false);
  }

  @Override
  public void weightSlopes(Streams s) {
    apply(WEIGHT_SLOPES, s, false);
  }
}
