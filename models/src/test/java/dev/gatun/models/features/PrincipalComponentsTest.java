package dev.gatun.models.features;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.models.metrics.Features;
import org.junit.jupiter.api.Test;

class PrincipalComponentsTest {
  private static final double ROUNDING = 1e-12; // of eigenvectors of a 4x4 matrix in f64

  /** Orthogonal and of length 1. */
  private static final double[][] DIRECTIONS = {
    {0.5, 0.5, 0.5, 0.5}, {0.5, -0.5, 0.5, -0.5}, {0.5, 0.5, -0.5, -0.5}, {0.5, -0.5, -0.5, 0.5}
  };

  private static final double[] MEAN = {3, -1, 0, 7};
  private static final double[] AWAY = {2, 16, 4, 8}; // from the mean, along each direction

  /** Two points on each direction: the covariance has just these eigenvectors; all exact in f32. */
  private static Features data() {
    float[] values = new float[8 * 4];
    for (int n = 0; n < 8; n++) {
      for (int i = 0; i < 4; i++) {
        double away = (n % 2 == 0 ? 1 : -1) * AWAY[n / 2];
        values[n * 4 + i] = (float) (MEAN[i] + away * DIRECTIONS[n / 2][i]);
      }
    }
    return new Features(8, 4, values);
  }

  @Test
  void componentsAndVariancesAreThoseOfTheCovariance() {
    PrincipalComponents pca = PrincipalComponents.fit(data(), 3);
    int[] order = {1, 3, 2};
    for (int d = 0; d < 3; d++) {
      double away = AWAY[order[d]];
      assertEquals(2 * away * away / 7, pca.variances()[d], 256 * ROUNDING);
      double product = 0;
      for (int i = 0; i < 4; i++) {
        product += pca.component(d)[i] * DIRECTIONS[order[d]][i];
      }
      assertEquals(1, Math.abs(product), ROUNDING);
    }
  }

  @Test
  void placesAreThoseAlongTheComponents() {
    Features places = PrincipalComponents.fit(data(), 3).transform(data());
    assertEquals(8, places.count());
    assertEquals(3, places.size());
    int[] order = {1, 3, 2};
    for (int n = 0; n < 8; n++) {
      for (int d = 0; d < 3; d++) {
        double expected = n / 2 == order[d] ? AWAY[order[d]] : 0;
        assertEquals(expected, Math.abs(places.values()[n * 3 + d]), 16 * ROUNDING);
      }
    }
    // the two points of a direction are on either side
    assertEquals(-places.values()[2 * 3], places.values()[3 * 3], 16 * ROUNDING);
  }

  @Test
  void whatCannotBeIsRefusedInOneLine() {
    Exception e =
        assertThrows(IllegalArgumentException.class, () -> PrincipalComponents.fit(data(), 5));
    assertEquals("5 principal components of 4 dimensions: ask for 1 to 4", e.getMessage());
    PrincipalComponents pca = PrincipalComponents.fit(data(), 1);
    Features wider = new Features(1, 5, new float[5]);
    e = assertThrows(IllegalArgumentException.class, () -> pca.transform(wider));
    assertEquals(
        "data of 5 dimensions; these features are of data of 4: use images of one size",
        e.getMessage());
  }
}
