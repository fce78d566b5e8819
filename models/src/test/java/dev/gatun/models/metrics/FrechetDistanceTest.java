package dev.gatun.models.metrics;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.models.metrics.FrechetDistance.Gaussian;
import java.util.Random;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@Tag("cpu")
class FrechetDistanceTest {
  /** Of d eigenvalues of a matrix of norm 100 at most, none of them small. */
  private static final double ROUNDING = 16 * 100 * 0x1p-50;

  private static double between(double[] m1, double[] s1, double[] m2, double[] s2) {
    double distance = FrechetDistance.between(new Gaussian(m1, s1), new Gaussian(m2, s2));
    double other = FrechetDistance.between(new Gaussian(m2, s2), new Gaussian(m1, s1));
    assertEquals(distance, other, ROUNDING, "it is symmetric");
    return distance;
  }

  /** Of numbers it is (m1 - m2)^2 + (s1 - s2)^2, s the deviations; diagonal: the sum of those. */
  @Test
  void commutingCovariances() {
    assertEquals(
        9 + 4,
        between(new double[] {1}, new double[] {9}, new double[] {4}, new double[] {25}),
        ROUNDING);
    assertEquals(
        1 + 4 + (2 - 1) * (2 - 1) + (3 - 5) * (3 - 5),
        between(
            new double[] {0, 2},
            new double[] {4, 0, 0, 9},
            new double[] {1, 0},
            new double[] {1, 0, 0, 25}),
        ROUNDING);
  }

  /**
   * In two dimensions the root R of a matrix P with positive eigenvalues has tr(R)^2 = tr(P) + 2
   * sqrt(det(P)): here P = S1 S2 with S1 = [[2,1],[1,2]], S2 = [[3,0],[0,1]], which do not commute.
   */
  @Test
  void covariancesThatDoNotCommute() {
    double traceOfProduct = 2 * 3 + 2 * 1;
    double determinant = 3 * 3;
    double root = Math.sqrt(traceOfProduct + 2 * Math.sqrt(determinant));
    double expected = 4 + 4 - 2 * root;
    double[] zero = {0, 0};
    assertEquals(
        expected,
        between(zero, new double[] {2, 1, 1, 2}, zero, new double[] {3, 0, 0, 1}),
        ROUNDING);
  }

  /** A covariance of rank 1 in each of two directions: the root's trace is |u.v|. */
  @Test
  void singularCovariances() {
    double[] zero = {0, 0};
    double[] along = {25, 0, 0, 0}; // u u^T, u = (5,0)
    double[] across = {9, 12, 12, 16}; // v v^T, v = (3,4)
    // an eigenvalue of 0 comes out as 2^-50 of the largest, and its root counts
    double rounding = 2 * 25 * 0x1p-24;
    assertEquals(
        25 + 25 - 2 * 15,
        FrechetDistance.between(new Gaussian(zero, along), new Gaussian(zero, across)),
        rounding);
  }

  @Test
  void meansAndUnbiasedCovariances() {
    Gaussian gaussian = Gaussian.of(Sets.of(2, 1, 10, 2, 14, 6, 12));
    assertArrayEquals(new double[] {3, 12}, gaussian.mean());
    assertArrayEquals(new double[] {7, 1, 1, 4}, gaussian.covariance());
  }

  @Test
  void theSameSetIsAtZero() {
    Features set = Sets.normal(500, 16, 3, 2, 1);
    assertEquals(0, FrechetDistance.between(set, set), ROUNDING);
    assertTrue(FrechetDistance.between(set, Sets.normal(500, 16, 3, 2, 2)) > 0.1);
  }

  /** Both sets turned by one rotation are as far apart as before. */
  @Test
  void rotationsChangeNothing() {
    int d = 12;
    Features a = stretched(Sets.normal(400, d, 0, 1, 3), 1);
    Features b = stretched(Sets.normal(300, d, 0.5, 1, 4), 3);
    double[][] rotation = rotation(d);
    double before = FrechetDistance.between(a, b);
    double after = FrechetDistance.between(turned(a, rotation), turned(b, rotation));
    // features are rounded to f32 anew, by 2^-24 of each
    assertEquals(before, after, before * 64 * 0x1p-24);
    assertTrue(before > 1, "far enough apart to tell: " + before);
  }

  /** Feature j times 1 + (j * factor mod 5). */
  private static Features stretched(Features x, int factor) {
    float[] values = x.values().clone();
    for (int i = 0; i < values.length; i++) {
      values[i] *= 1 + i % x.size() * factor % 5;
    }
    return new Features(x.count(), x.size(), values);
  }

  /** A product of rotations in planes. */
  private static double[][] rotation(int d) {
    double[][] q = new double[d][d];
    for (int i = 0; i < d; i++) {
      q[i][i] = 1;
    }
    Random random = new Random(5);
    for (int i = 0; i < d; i++) {
      for (int j = 0; j < i; j++) {
        double angle = 2 * Math.PI * random.nextDouble();
        for (int k = 0; k < d; k++) {
          double x = q[i][k];
          double y = q[j][k];
          q[i][k] = Math.cos(angle) * x - Math.sin(angle) * y;
          q[j][k] = Math.sin(angle) * x + Math.cos(angle) * y;
        }
      }
    }
    return q;
  }

  private static Features turned(Features x, double[][] q) {
    int d = x.size();
    float[] values = new float[x.values().length];
    for (int i = 0; i < x.count(); i++) {
      for (int j = 0; j < d; j++) {
        double sum = 0;
        for (int k = 0; k < d; k++) {
          sum += q[j][k] * x.values()[i * d + k];
        }
        values[i * d + j] = (float) sum;
      }
    }
    return new Features(x.count(), d, values);
  }

  @Test
  void whatCannotBeComparedIsRefused() {
    Features two = Sets.of(2, 1, 2, 3, 4);
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class,
            () -> FrechetDistance.between(two, Sets.of(1, 1, 2, 3, 4)));
    assertEquals(
        "features of 2 and of 1 dimensions cannot be compared: use the same classifier for both",
        e.getMessage());
    e =
        assertThrows(
            IllegalArgumentException.class, () -> FrechetDistance.between(two, Sets.of(2, 1, 2)));
    assertEquals("a covariance needs 2 images or more, not 1", e.getMessage());
    e = assertThrows(IllegalArgumentException.class, () -> Sets.of(2, 1, 2, Double.NaN, 4));
    assertEquals("feature 0 of image 1 is NaN", e.getMessage());
    assertThrows(IllegalArgumentException.class, () -> new Features(2, 2, new float[3]));
  }
}
