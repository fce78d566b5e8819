package dev.gatun.models.metrics;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@Tag("cpu")
class KernelDistanceTest {
  /**
   * a = (0,0), (2,0), (0,2); b = (2,2), (2,0); k = (x.y / 2 + 1)^3. Among a: x.y = 0 for all three
   * pairs, k = 1. Among b: 4, k = 27. Between: 0 0, 4 4, 4 0: k = 1 1 27 27 27 1, mean 14.
   */
  @Test
  void aCaseByHand() {
    Features a = Sets.of(2, 0, 0, 2, 0, 0, 2);
    Features b = Sets.of(2, 2, 2, 2, 0);
    assertEquals(1 + 27 - 2 * 14, KernelDistance.squaredDiscrepancy(a, b));
    assertEquals(1 + 27 - 2 * 14, KernelDistance.squaredDiscrepancy(b, a));
    Features c = Sets.of(2, 4, 0, 0, 0); // k = 1 in c; with a: 1 1, 125 1... (4,0).(2,0) = 8
    assertEquals(
        1 + 1 - 2 * (1 + 1 + 125 + 1 + 1 + 1) / 6.0,
        KernelDistance.squaredDiscrepancy(a, c),
        1e-12);
  }

  /** Splits of one distribution are at 0 on average, however small they are. */
  @Test
  void itIsUnbiased() {
    int splits = 400;
    double mean = 0;
    double squares = 0;
    for (int i = 0; i < splits; i++) {
      double d =
          KernelDistance.squaredDiscrepancy(
              Sets.normal(20, 4, 0.5, 1, 2 * i), Sets.normal(20, 4, 0.5, 1, 2 * i + 1));
      mean += d / splits;
      squares += d * d / splits;
    }
    double error = Math.sqrt((squares - mean * mean) / splits);
    assertTrue(Math.abs(mean) < 3 * error, mean + " +- " + error);
    // with the images' own kernels in the sums it would be off by 2/20 of about k(x,x)
    assertTrue(error < 0.2, "small enough to see a bias: " + error);
  }

  /** For x of mean a and y of mean b in one dimension, var 1: sum over c of (E x^c - E y^c)^2. */
  @Test
  void whatTheDistanceIs() {
    Features a = Sets.normal(20_000, 1, 0, 1, 1);
    Features b = Sets.normal(20_000, 1, 1, 1, 2);
    // (xy + 1)^3 = 1 + 3 xy + 3 x^2 y^2 + x^3 y^3; moments of N(0,1): 0 1 0, of N(1,1): 1 2 4
    double expected = 3 * (0 - 1) * (0 - 1) + 3 * (1 - 2) * (1 - 2) + (0 - 4) * (0 - 4);
    KernelDistance d = KernelDistance.between(a, b);
    assertEquals(20, d.blocks());
    assertTrue(Math.abs(d.mean() - expected) < 4 * d.standardError(), d.toString());
    assertTrue(d.standardError() < 2, d.toString());
  }

  /** The spread of estimates from new samples is the standard error that each of them states. */
  @Test
  void theStandardErrorIsThatOfTheMean() {
    int samples = 60;
    double stated = 0;
    double mean = 0;
    double squares = 0;
    for (int i = 0; i < samples; i++) {
      KernelDistance d =
          KernelDistance.between(
              Sets.normal(200, 3, 0, 1, 3 * i), Sets.normal(240, 3, 0.7, 1, 3 * i + 1));
      assertEquals(10, d.blocks());
      stated += d.standardError() * d.standardError() / samples;
      mean += d.mean() / samples;
      squares += d.mean() * d.mean() / samples;
    }
    double ratio = (squares - mean * mean) / stated;
    // a variance from 60 draws is within 3 * sqrt(2 / 60) of itself
    assertTrue(ratio > 0.45 && ratio < 1.55, "variance over stated variance " + ratio);
  }

  /** Two sets of the same two kinds of images, one kind after the other, but not in one order. */
  @Test
  void theOrderOfImagesDoesNotMatter() {
    Features low = Sets.normal(200, 3, -1, 1, 1);
    Features high = Sets.normal(200, 3, 1, 1, 2);
    Features a = Sets.join(low, high);
    Features b = Sets.join(Sets.normal(200, 3, 1, 1, 3), Sets.normal(200, 3, -1, 1, 4));
    KernelDistance d = KernelDistance.between(a, b);
    assertTrue(Math.abs(d.mean()) < 3 * d.standardError(), d.toString());
    // block by block in the order given each would be about this far off
    assertTrue(KernelDistance.squaredDiscrepancy(low, high) > 10 * d.standardError());
    assertEquals(d, KernelDistance.between(a, b));
  }

  @Test
  void fewImagesAreRefused() {
    Features few = Sets.normal(19, 3, 0, 1, 1);
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> KernelDistance.between(few, few));
    assertEquals(
        "the kernel distance of 19 and 19 images needs at least 20 of each: give more",
        e.getMessage());
  }
}
