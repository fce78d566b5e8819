package dev.gatun.models.planar;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Draws, densities and entropies of the plane's toy densities agree with each other. */
@Tag("cpu")
class PlanarDensityTest {
  private static final int DRAWS = 200_000;

  /** Beyond [-6,6]^2 lies less than 1e-10 of each; the rest is the midpoint rule's error. */
  @ParameterizedTest
  @EnumSource
  void integratesToOne(PlanarDensity density) {
    int n = 300;
    double[] points = PlanarDensity.gridPoints(n, 6);
    double sum = 0;
    for (int i = 0; i < n * n; i++) {
      sum += Math.exp(density.logDensity(points[2 * i], points[2 * i + 1]));
    }
    assertEquals(1, sum * Math.pow(12.0 / n, 2), 1e-9);
  }

  /**
   * Pearson's chi-square over cells of the extent, those that expect fewer than 10 draws and all
   * that is outside as one. Its quantile at 1 - 1e-6 is Wilson and Hilferty's.
   */
  @ParameterizedTest
  @EnumSource
  void aHistogramOfDrawsAgreesWithTheDensity(PlanarDensity density) {
    int cells = 40;
    int fine = 8;
    double extent = density.extent();
    double[] expected = new double[cells * cells];
    double[] logs = density.grid(cells * fine);
    double area = Math.pow(2 * extent / (cells * fine), 2);
    for (int i = 0; i < logs.length; i++) {
      int row = i / (cells * fine) / fine;
      int column = i % (cells * fine) / fine;
      expected[row * cells + column] += DRAWS * area * Math.exp(logs[i]);
    }
    int[] observed = new int[cells * cells];
    float[] points = density.draw(DRAWS, 1);
    for (int i = 0; i < DRAWS; i++) {
      int column = (int) Math.floor((points[2 * i] / extent + 1) / 2 * cells);
      int row = (int) Math.floor((points[2 * i + 1] / extent + 1) / 2 * cells);
      if (Math.min(row, column) >= 0 && Math.max(row, column) < cells) {
        observed[row * cells + column]++;
      }
    }
    double chiSquare = 0;
    int freedom = 0;
    double expectedRest = DRAWS;
    int observedRest = DRAWS;
    for (int i = 0; i < expected.length; i++) {
      if (expected[i] >= 10) {
        chiSquare += Math.pow(observed[i] - expected[i], 2) / expected[i];
        freedom++;
        expectedRest -= expected[i];
        observedRest -= observed[i];
      }
    }
    if (expectedRest > 1) {
      chiSquare += Math.pow(observedRest - expectedRest, 2) / expectedRest;
    } else {
      // the checkerboard has nothing between its squares
      assertEquals(0, observedRest);
      freedom--;
    }
    double spread = 2.0 / (9 * freedom);
    double quantile = freedom * Math.pow(1 - spread + 4.753 * Math.sqrt(spread), 3);
    assertTrue(
        chiSquare <= quantile,
        density + ": chi-square " + chiSquare + " of " + freedom + " degrees, above " + quantile);
  }

  @ParameterizedTest
  @EnumSource
  void theEntropyIsTheMeanOfMinusTheLogDensity(PlanarDensity density) {
    float[] points = density.draw(DRAWS, 2);
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < DRAWS; i++) {
      double surprise = -density.logDensity(points[2 * i], points[2 * i + 1]);
      sum += surprise;
      squares += surprise * surprise;
    }
    double mean = sum / DRAWS;
    double error = Math.sqrt(Math.max(0, squares / DRAWS - mean * mean) / DRAWS);
    // the checkerboard's log-density is one number: only rounding is left
    assertEquals(mean, density.entropy(), 4 * error + 1e-9);
  }

  /** The integrand is smooth, so the rule's error falls faster than any power of the step. */
  @ParameterizedTest
  @EnumSource
  void theEntropyIsThatOfAGridTwiceAsFine(PlanarDensity density) {
    assertEquals(density.entropy(600), density.entropy(), 1e-8);
  }

  @Test
  void theCheckerboardsEntropyIsTheLogOfItsArea() {
    assertEquals(Math.log(32), PlanarDensity.CHECKERBOARD.entropy(), 1e-12);
  }

  /**
   * Eight Gaussians far apart have log 8 more than one has, log(2 pi e sigma^2). These lack the
   * entropy of the component given the point: by Fano's inequality at most 0.02, since the nearest
   * centre is the wrong one for a share of 0.0022, with neighbours 6.12 deviations away.
   */
  @Test
  void eightGaussiansHaveTheEntropyOfOneAndOfTheChoice() {
    double apart = Math.log(8) + Math.log(2 * Math.PI * Math.E * 0.125);
    double entropy = PlanarDensity.EIGHT_GAUSSIANS.entropy();
    assertTrue(entropy < apart && entropy > apart - 0.02, entropy + " against " + apart);
  }

  /**
   * Against a plain sum along both arcs by the midpoint rule, in steps h of pi/200,000. Where the
   * nearest point is an end, the integrand falls like exp(-ct) and the rule is off by (ch)^2/24:
   * 3e-7 at (4,4), where c is 160, the largest of these points.
   */
  @ParameterizedTest
  @CsvSource({
    "-1, 1.8",
    "1, -1.2",
    "0.5, 0.3",
    "-1, -0.2",
    "-3, -0.3",
    "3, 0.9",
    "-1, -4",
    "-1.01, -3.5",
    "4, 4",
    "-8, 0.1",
    "2, -9",
    "-1, -0.19"
  })
  void twoMoonsIsTheIntegralAlongItsArcs(double x, double y) {
    int steps = 200_000;
    double[] exponents = new double[2 * steps];
    for (int i = 0; i < steps; i++) {
      double t = Math.PI * (i + 0.5) / steps;
      double upper = Math.hypot(x - (2 * Math.cos(t) - 1), y - (2 * Math.sin(t) - 0.2));
      double lower = Math.hypot(x - (1 - 2 * Math.cos(t)), y - (0.8 - 2 * Math.sin(t)));
      exponents[2 * i] = -upper * upper / 0.08;
      exponents[2 * i + 1] = -lower * lower / 0.08;
    }
    double largest = Arrays.stream(exponents).max().orElseThrow();
    double sum = Arrays.stream(exponents).map(e -> Math.exp(e - largest)).sum();
    double expected = largest + Math.log(sum / (2 * steps * 2 * Math.PI * 0.04));
    assertEquals(expected, PlanarDensity.TWO_MOONS.logDensity(x, y), 1e-6);
  }

  /** The turn of an arm's mean, at radius 1 before it, and the density there. */
  @Test
  void thePinwheelsArmsAreTurnedClockwise() {
    double angle = -0.25 * Math.E;
    double peak = -Math.log(5 * 2 * Math.PI * 0.3 * 0.1 * 4);
    for (int arm = 0; arm < 5; arm++) {
      double turned = angle - 2 * Math.PI * arm / 5;
      double x = 2 * Math.cos(turned);
      double y = 2 * Math.sin(turned);
      // the other arms are ten of their deviations away
      assertEquals(peak, PlanarDensity.PINWHEEL.logDensity(x, y), 1e-9);
    }
    assertTrue(
        PlanarDensity.PINWHEEL.logDensity(2 * Math.cos(-angle), 2 * Math.sin(-angle)) < peak);
  }

  @ParameterizedTest
  @EnumSource
  void aPointDoesNotDependOnHowManyAreDrawn(PlanarDensity density) {
    assertArrayEquals(density.draw(10, 3), Arrays.copyOf(density.draw(1_000, 3), 20));
    assertEquals(0, density.draw(0, 3).length);
  }

  /** f32 has some 2^20 values where these lie: that two points agree in both is out of reach. */
  @ParameterizedTest
  @EnumSource
  void seedsDrawOtherPoints(PlanarDensity density) {
    float[] a = density.draw(1_000, 3);
    float[] b = density.draw(1_000, 4);
    assertFalse(
        IntStream.range(0, 1_000)
            .anyMatch(i -> a[2 * i] == b[2 * i] && a[2 * i + 1] == b[2 * i + 1]));
  }

  /**
   * The share outside is at most 0.001: at most 200 draws are expected there, 5 standard deviations
   * more are 271.
   */
  @ParameterizedTest
  @EnumSource
  void theExtentHoldsPracticallyAll(PlanarDensity density) {
    float[] points = density.draw(DRAWS, 5);
    long outside =
        IntStream.range(0, DRAWS)
            .filter(i ->
                Math.max(Math.abs(points[2 * i]), Math.abs(points[2 * i + 1])) > density.extent())
            .count();
    assertTrue(outside <= 271, outside + " outside");
  }

  @Test
  void aGridGoesFromTheLowerLeftRightwardsThenUp() {
    assertArrayEquals(
        new double[] {-2, -2, 2, -2, -2, 2, 2, 2}, PlanarDensity.gridPoints(2, 4), 1e-15);
    double[] grid = PlanarDensity.CHECKERBOARD.grid(4);
    for (int i = 0; i < 16; i++) {
      boolean black = (i % 4 + i / 4) % 2 == 0;
      assertEquals(black, Double.isFinite(grid[i]), "cell " + i);
    }
  }

  @ParameterizedTest
  @EnumSource
  void aLabelNamesItsDensity(PlanarDensity density) {
    assertEquals(density, PlanarDensity.of(density.label()));
  }

  @Test
  void whatDoesNotExistIsRefusedInALine() {
    IllegalArgumentException label =
        assertThrows(IllegalArgumentException.class, () -> PlanarDensity.of("moons"));
    assertEquals(
        "no planar density 'moons'; choose one of eight-gaussians, two-moons, pinwheel,"
            + " checkerboard",
        label.getMessage());
    assertThrows(IllegalArgumentException.class, () -> PlanarDensity.PINWHEEL.draw(-1, 0));
    assertThrows(
        IllegalArgumentException.class, () -> PlanarDensity.PINWHEEL.logDensity(Double.NaN, 0));
    assertThrows(IllegalArgumentException.class, () -> PlanarDensity.PINWHEEL.grid(0));
  }
}
