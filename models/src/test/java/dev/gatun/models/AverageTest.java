package dev.gatun.models;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@Tag("cpu")
class AverageTest {
  @Test
  void isTheMeanAndItsStandardError() {
    // deviations -3, -1, 1, 3: variance 20/3, and a quarter of that for the mean
    Average average = Average.of(new double[] {1, 3, 5, 7});
    assertEquals(4, average.mean());
    assertEquals(Math.sqrt(5.0 / 3), average.standardError(), 1e-15);
    assertEquals(4, average.count());
  }

  @Test
  void aLargeMeanHidesNoDeviation() {
    assertEquals(0.5, Average.of(new double[] {1e9, 1e9 + 1}).standardError(), 1e-12);
  }

  @Test
  void oneNumberHasNoError() {
    assertEquals(new Average(2, 0, 1), Average.of(new double[] {2}));
  }

  @Test
  void noNumbersHaveNoMean() {
    assertThrows(IllegalArgumentException.class, () -> Average.of(new double[0]));
  }
}
