package dev.gatun.models.features;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.models.metrics.Features;
import java.util.Comparator;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class KMeansFeaturesTest {
  private static final int SIZE = 5; // not a multiple of 4
  private static final int EACH = 40;

  /** Points that only the last dimension sets apart: it is about 0, 100 and 250, in turn. */
  private static Features blobs() {
    Random random = new Random(1);
    float[] values = new float[3 * EACH * SIZE];
    for (int at = 0; at < values.length; at++) {
      int blob = at % SIZE == SIZE - 1 ? at / SIZE % 3 : 0;
      values[at] = (blob == 0 ? 0 : blob == 1 ? 100 : 250) + random.nextFloat();
    }
    return new Features(3 * EACH, SIZE, values);
  }

  private static double[][] means() {
    double[][] means = new double[3][SIZE];
    float[] values = blobs().values();
    for (int at = 0; at < values.length; at++) {
      means[at / SIZE % 3][at % SIZE] += (double) values[at] / EACH;
    }
    return means;
  }

  private static double distance(double[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += (a[i] - b[i]) * (a[i] - b[i]);
    }
    return Math.sqrt(sum);
  }

  @Test
  void centroidsAreTheMeansOfSeparateBlobs() {
    for (long seed = 0; seed < 5; seed++) {
      KMeansFeatures features = KMeansFeatures.fit(blobs(), 3, seed);
      assertEquals(3, features.count());
      double[][] found =
          IntStream.range(0, 3)
              .mapToObj(features::centroid)
              .sorted(Comparator.comparingDouble(c -> c[SIZE - 1]))
              .toArray(double[][]::new);
      for (int k = 0; k < 3; k++) {
        assertArrayEquals(means()[k], found[k], 1e-10, "seed " + seed); // 40 additions in f64
      }
    }
  }

  @Test
  void featuresAreTheTrianglesOfDistances() {
    KMeansFeatures features = KMeansFeatures.fit(blobs(), 3, 0);
    float[] point = {20, 0, 30, 10, 50};
    double[] wide = {20, 0, 30, 10, 50};
    float[] values = features.transform(new Features(1, SIZE, point)).values();
    double mean = 0;
    for (int k = 0; k < 3; k++) {
      mean += distance(wide, features.centroid(k)) / 3;
    }
    int zeros = 0;
    for (int k = 0; k < 3; k++) {
      double expected = Math.max(0, mean - distance(wide, features.centroid(k)));
      assertEquals(expected, values[k], 1e-4); // an ulp of a hundred in f32 is 8e-6
      zeros += expected == 0 ? 1 : 0;
    }
    assertEquals(1, zeros, "the farthest is beyond the mean");
  }

  @Test
  void theSeedDecides() {
    Features noise = noise();
    KMeansFeatures once = KMeansFeatures.fit(noise, 7, 4);
    KMeansFeatures again = KMeansFeatures.fit(noise, 7, 4);
    KMeansFeatures other = KMeansFeatures.fit(noise, 7, 5);
    assertArrayEquals(once.centroid(6), again.centroid(6));
    assertEquals(false, once.centroid(6)[0] == other.centroid(6)[0]);
  }

  private static Features noise() {
    Random random = new Random(2);
    float[] values = new float[200 * SIZE];
    for (int i = 0; i < values.length; i++) {
      values[i] = random.nextFloat();
    }
    return new Features(200, SIZE, values);
  }

  @Test
  void tooManyCentroidsAreRefusedInOneLine() {
    Exception e =
        assertThrows(IllegalArgumentException.class, () -> KMeansFeatures.fit(blobs(), 121, 0));
    assertEquals("121 centroids of 120 images: ask for 1 to 120", e.getMessage());
  }
}
