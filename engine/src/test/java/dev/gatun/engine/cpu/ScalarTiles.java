package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import dev.gatun.engine.DType;
import java.util.Arrays;
import java.util.List;

/** The transforms as the paper has them, matrices made of points; to hold fast ones against. */
final class ScalarTiles implements TileLoops {
  private static final double A = Math.sqrt(0.5);
  private static final double B = Math.sqrt(2);

  static final List<ScalarTiles> ALL =
      List.of(
          new ScalarTiles(0, A, -A, B, -B),
          new ScalarTiles(0.3, -0.3, 0.85, -0.85, 1.7, -1.7),
          new ScalarTiles(0.225, -0.225, 0.7, -0.7, 1.125, -1.125, 2.25, -2.25));

  private final double[] points; // but infinity
  private final double[][] pixels;
  private final double[][] slopes;
  private final double[][] weights;

  private ScalarTiles(double... points) {
    this.points = points;
    pixels = pixelMatrix();
    slopes = powers(tile());
    weights = weightMatrix();
  }

  @Override
  public int tile() {
    return points.length - 1;
  }

  /** Row p: the powers of point p; of infinity the last one alone. */
  private double[][] powers(int count) {
    double[][] rows = new double[points.length + 1][count];
    for (int p = 0; p < points.length; p++) {
      for (int i = 0; i < count; i++) {
        rows[p][i] = Math.pow(points[p], i);
      }
    }
    rows[points.length][count - 1] = 1;
    return rows;
  }

  /** The product of p's differences to the other points. */
  private double differences(int p) {
    double product = 1;
    for (int q = 0; q < points.length; q++) {
      product *= q == p ? 1 : points[p] - points[q];
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

  private double[][] weightMatrix() {
    double[][] rows = powers(3);
    for (int p = 0; p < points.length; p++) {
      for (int i = 0; i < 3; i++) {
        rows[p][i] /= differences(p);
      }
    }
    return rows;
  }

  /** Row p: the coefficients of the product of (x - q) over the other points q; of all, last. */
  private double[][] pixelMatrix() {
    double[][] rows = new double[points.length + 1][];
    for (int p = 0; p <= points.length; p++) {
      double[] polynomial = {1};
      for (int q = 0; q < points.length; q++) {
        if (q != p) {
          double[] next = new double[polynomial.length + 1];
          for (int i = 0; i < polynomial.length; i++) {
            next[i + 1] += polynomial[i];
            next[i] -= points[q] * polynomial[i];
          }
          polynomial = next;
        }
      }
      rows[p] = Arrays.copyOf(polynomial, points.length + 1);
    }
    return rows;
  }

  private static double get(long address) {
    return MEMORY.get(JAVA_FLOAT_UNALIGNED, address);
  }

  private static void put(double value, long address) {
    MEMORY.set(JAVA_FLOAT_UNALIGNED, address, (float) value);
  }

  private void apply(double[][] matrix, Streams s) {
    int inputs = matrix[0].length;
    double[] x = new double[inputs];
    for (int g = 0; g < s.groups; g++) {
      for (int i = 0; i < s.n; i++) {
        long from = 4 * (g * s.inStep + i);
        for (int k = 0; k < inputs; k++) {
          x[k] = get(s.in[k] + from);
        }
        for (int j = 0; j < matrix.length; j++) {
          double sum = 0;
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
    apply(pixels, s);
  }

  @Override
  public void outputs(Streams s) {
    apply(transposed(slopes), s);
  }

  @Override
  public void plus(long x, long row, long addend, DType type, long y, int n) {
    for (int i = 0; i < n; i++) {
      double sum = get(x + 4L * i) + get(row + 4L * i) + get(addend + 4L * i);
      ScalarLoops.set(type, MEMORY.asSlice(y), i, (float) sum);
    }
  }

  @Override
  public void slopes(Streams s) {
    apply(slopes, s);
  }

  @Override
  public void weights(Streams s) {
    apply(weights, s);
  }

  @Override
  public void weightSlopes(Streams s) {
    apply(transposed(weights), s);
  }
}
