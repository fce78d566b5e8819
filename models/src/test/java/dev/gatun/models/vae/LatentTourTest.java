package dev.gatun.models.vae;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class LatentTourTest {
  @Test
  void theManifoldIsOfQuantiles() {
    float[] z = LatentTour.manifold(4);
    assertEquals(32, z.length);
    // centres of quarters: 1/8, 3/8, 5/8, 7/8 of the normal distribution
    double[] expected = {-1.15034938, -0.31863936, 0.31863936, 1.15034938};
    for (int row = 0; row < 4; row++) {
      for (int column = 0; column < 4; column++) {
        assertEquals(expected[column], z[2 * (4 * row + column)], 1e-6);
        assertEquals(expected[3 - row], z[2 * (4 * row + column) + 1], 1e-6, "upwards");
      }
    }
  }

  @Test
  void aTraversalMovesOneLatentAlone() {
    float[] from = {0.5f, -0.25f, 2};
    float[] z = LatentTour.traversal(from, new int[] {2, 0}, 3);
    assertArrayEquals(
        new float[] {
          0.5f, -0.25f, -3, 0.5f, -0.25f, 0, 0.5f, -0.25f, 3, -3, -0.25f, 2, 0, -0.25f, 2, 3,
          -0.25f, 2
        },
        z);
  }

  @Test
  void latentsThatSayMostComeFirst() {
    double[] kl = {0.1, 3, 0.1, 7, 0};
    assertArrayEquals(new int[] {3, 1, 0, 2, 4}, LatentTour.byKl(kl, 9));
    assertArrayEquals(new int[] {3, 1}, LatentTour.byKl(kl, 2));
  }

  @Test
  void anInterpolationHasItsEnds() {
    float[] ends = {0, 10, 4, 20, 1, 1, 3, 3};
    float[] z = LatentTour.interpolation(ends, 2, 5);
    assertArrayEquals(
        new float[] {
          0, 10, 1, 12.5f, 2, 15, 3, 17.5f, 4, 20, 1, 1, 1.5f, 1.5f, 2, 2, 2.5f, 2.5f, 3, 3
        },
        z,
        1e-6f);
  }

  @Test
  void levelsAreRoundedAndBounded() {
    byte[] levels = Decoder.levels(new float[] {-1, 1, 0, -7, 5, 0.0039f});
    int[] expected = {0, 255, 128, 0, 255, 128};
    for (int i = 0; i < levels.length; i++) {
      assertTrue(Math.abs(expected[i] - (levels[i] & 0xFF)) == 0, i + ": " + (levels[i] & 0xFF));
    }
  }
}
