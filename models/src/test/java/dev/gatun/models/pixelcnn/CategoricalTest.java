package dev.gatun.models.pixelcnn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CategoricalTest {
  private static int draw(double uniform, double temperature, float... logits) {
    return Categorical.draw(logits, 0, logits.length, temperature, uniform);
  }

  @Test
  void invertsTheCumulativeDistribution() {
    // probabilities 1/8, 4/8, 3/8
    float[] logits = {(float) Math.log(1), (float) Math.log(4), (float) Math.log(3)};
    assertEquals(0, draw(0, 1, logits));
    assertEquals(0, draw(0.1249, 1, logits));
    assertEquals(1, draw(0.1251, 1, logits));
    assertEquals(1, draw(0.6249, 1, logits));
    assertEquals(2, draw(0.6251, 1, logits));
    assertEquals(2, draw(1 - 0x1p-24, 1, logits));
  }

  @Test
  void readsFromTheOffsetAndNoFurther() {
    float[] logits = {9, 9, 0, 0, 9, 9};
    assertEquals(0, Categorical.draw(logits, 2, 2, 1, 0.49));
    assertEquals(1, Categorical.draw(logits, 2, 2, 1, 0.51));
  }

  @Test
  void hugeLogitsDoNotOverflowAndImpossibleLevelsAreNotDrawn() {
    assertEquals(1, draw(0.999, 1, 1e30f, 2e30f, -1e30f));
    assertEquals(1, draw(0, 1, Float.NEGATIVE_INFINITY, 0, Float.NEGATIVE_INFINITY));
    assertEquals(1, draw(1 - 0x1p-24, 1, Float.NEGATIVE_INFINITY, 0, Float.NEGATIVE_INFINITY));
  }

  /** Sums of many levels are rounded: what is left over is not the last level's. */
  @Test
  void theLargestUniformDoesNotDrawAnImpossibleLastLevel() {
    Random random = new Random(1);
    for (int trial = 0; trial < 1000; trial++) {
      float[] logits = new float[64];
      for (int k = 0; k < logits.length; k++) {
        logits[k] = (k < 48 ? -30 : 0) + (float) random.nextGaussian();
      }
      logits[63] = Float.NEGATIVE_INFINITY;
      assertNotEquals(63, draw(1 - 0x1p-24, 1, logits));
    }
  }

  @Test
  void temperatureDividesTheLogits() {
    // at temperature 2 the odds 9 : 1 become 3 : 1
    float[] logits = {0, (float) Math.log(9)};
    assertEquals(0, draw(0.24, 2, logits));
    assertEquals(1, draw(0.26, 2, logits));
    assertEquals(1, draw(0.11, 1, logits));
    assertEquals(0, draw(0.09, 1, logits));
  }

  /** Never a level that nobody asked for: the likeliest one, or an error that says so. */
  @ParameterizedTest
  @ValueSource(doubles = {0, Double.NaN, -1})
  void aTemperatureThatIsNotPositiveDoesNotDrawSilently(double temperature) {
    int drawn;
    try {
      drawn = draw(0.5, temperature, 3, 1, 2);
    } catch (IllegalArgumentException e) {
      assertTrue(e.getMessage().contains("temperature"), e.getMessage());
      return;
    }
    assertEquals(temperature == 0 ? 0 : -1, drawn, "drawn at temperature " + temperature);
  }
}
