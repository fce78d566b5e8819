package dev.gatun.models.pixelcnn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.WithDevice;
import dev.gatun.models.Model;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LogisticMixturesTest {
  /** Every pixel there can be, the first colour first. */
  private static byte[] pixels(int levels, int colours) {
    int count = (int) Math.pow(levels, colours);
    byte[] pixels = new byte[count * colours];
    for (int i = 0; i < count; i++) {
      for (int c = colours - 1, rest = i; c >= 0; c--, rest /= levels) {
        pixels[i * colours + c] = (byte) (rest % levels);
      }
    }
    return pixels;
  }

  /** The probability of each of {@link #pixels}, by the op that training minimizes. */
  private static double[] probabilities(LogisticMixtures mixtures, float[] parameters) {
    byte[] pixels = pixels(mixtures.levels(), mixtures.colours());
    int count = pixels.length / mixtures.colours();
    int each = mixtures.parameters();
    assertEquals(each, parameters.length);
    float[] repeated = new float[count * each];
    for (int i = 0; i < count; i++) {
      System.arraycopy(parameters, 0, repeated, i * each, each);
    }
    try (Device device = WithDevice.open();
        Tensor said = Tensor.allocate(device, DType.F32, count, 1, 1, each);
        Tensor images = Tensor.allocate(device, DType.U8, count, 1, 1, mixtures.colours())) {
      said.write(repeated);
      images.write(pixels);
      Graph g = new Graph();
      Model.Nats nats = mixtures.nats(g, g.bind(said), g.bind(images), DType.F32);
      try (Program program = g.compile(device, nats.terms())) {
        program.run();
        double[] p = program.tensor(nats.terms()).toDoubles();
        return Arrays.stream(p).map(n -> Math.exp(-n)).toArray();
      }
    }
  }

  private static float[] random(LogisticMixtures mixtures, long seed) {
    Random random = new Random(seed);
    float[] parameters = new float[mixtures.parameters()];
    for (int i = 0; i < parameters.length; i++) {
      parameters[i] = (float) random.nextGaussian();
    }
    int m = mixtures.mixtures();
    int each = mixtures.colours() == 3 ? 3 * m : 2 * m;
    for (int c = 0; c < mixtures.colours(); c++) {
      for (int k = 0; k < m; k++) {
        parameters[m + c * each + m + k] -= 1.5f; // narrow: the coupling must show
      }
    }
    return parameters;
  }

  /**
   * Draws of a pixel are as frequent as the loss says, all colours together: each within five
   * sigma, and all of them by chi-square within five of its own.
   */
  @ParameterizedTest
  @CsvSource({"3,4,3", "1,5,3", "5,256,1", "3,3,1"})
  void drawsFollowTheLikelihood(int mixtures, int levels, int colours) {
    LogisticMixtures likelihood = new LogisticMixtures(mixtures, levels, colours);
    int count = 200_000;
    float[] parameters = random(likelihood, 3);
    double[] p = probabilities(likelihood, parameters);
    assertEquals(1, Arrays.stream(p).sum(), 1e-5);
    Random random = new Random(7);
    int[] seen = new int[p.length];
    byte[] pixel = new byte[colours];
    for (int n = 0; n < count; n++) {
      likelihood.draw(parameters, 0, 0, 1, k -> random.nextFloat(), pixel, 0);
      int index = 0;
      for (byte b : pixel) {
        index = index * levels + (b & 0xFF);
      }
      seen[index]++;
    }
    double chi = 0;
    int cells = 0;
    for (int i = 0; i < p.length; i++) {
      double e = count * p[i];
      assertEquals(e, seen[i], 5 * Math.sqrt(e * (1 - p[i])) + 1, "pixel " + i);
      if (e >= 10) {
        chi += (seen[i] - e) * (seen[i] - e) / e;
        cells++;
      }
    }
    assertTrue(cells >= 3, cells + " cells");
    assertTrue(chi <= cells + 5 * Math.sqrt(2 * cells), chi + " of " + cells + " cells");
  }

  /** Red knows of no other colour, green of red, blue of both: in the only mixture there is. */
  @Test
  void aColourIsCoupledToEarlierOnesOnly() {
    int levels = 5;
    LogisticMixtures likelihood = new LogisticMixtures(1, levels, 3);
    float[] base = random(likelihood, 5);
    double[][] before = shares(levels, probabilities(likelihood, base));
    // 1 logit; then mean, log-scale and coefficient of red, of green, of blue
    for (int i = 1; i < 10; i++) {
      float[] moved = base.clone();
      moved[i] += 0.7f;
      double[][] after = shares(levels, probabilities(likelihood, moved));
      boolean red = i == 1 || i == 2;
      boolean green = i == 4 || i == 5 || i == 3;
      boolean blue = i == 7 || i == 8 || i == 6 || i == 9;
      requireMoved(red, before[0], after[0], "red by parameter " + i);
      requireMoved(green, before[1], after[1], "green given red by parameter " + i);
      requireMoved(blue, before[2], after[2], "blue given both by parameter " + i);
    }
    // each coefficient works on the colour that it is of
    requireDependence(levels, likelihood, base, 3, 1, 0);
    requireDependence(levels, likelihood, base, 6, 2, 0);
    requireDependence(levels, likelihood, base, 9, 2, 1);
  }

  /** P(r), P(g|r), P(b|r,g). */
  private static double[][] shares(int k, double[] p) {
    double[] red = new double[k];
    double[] pairs = new double[k * k];
    for (int i = 0; i < p.length; i++) {
      red[i / k / k] += p[i];
      pairs[i / k] += p[i];
    }
    double[] green = new double[k * k];
    Arrays.setAll(green, i -> pairs[i] / red[i / k]);
    double[] blue = new double[p.length];
    Arrays.setAll(blue, i -> p[i] / pairs[i / k]);
    return new double[][] {red, green, blue};
  }

  private static void requireMoved(boolean may, double[] a, double[] b, String what) {
    double largest = 0;
    for (int i = 0; i < a.length; i++) {
      largest = Math.max(largest, Math.abs(a[i] - b[i]));
    }
    assertTrue(may ? largest > 1e-3 : largest < 1e-5, what + ": " + largest);
  }

  /** With that coefficient alone, a colour depends on one other and on no third. */
  private static void requireDependence(
      int k, LogisticMixtures likelihood, float[] base, int coefficient, int colour, int on) {
    float[] alone = base.clone();
    alone[3] = alone[6] = alone[9] = 0;
    alone[coefficient] = 1.5f;
    double[] share = shares(k, probabilities(likelihood, alone))[colour];
    int[] stride = colour == 1 ? new int[] {k, 0} : new int[] {k * k, k};
    for (int other = 0; other < colour; other++) {
      double largest = 0;
      for (int i = 0; i + stride[other] < share.length; i++) {
        boolean inside = i / stride[other] % k < k - 1;
        if (inside) {
          largest = Math.max(largest, Math.abs(share[i] - share[i + stride[other]]));
        }
      }
      assertTrue(
          other == on ? largest > 1e-2 : largest < 1e-5,
          "coefficient " + coefficient + ": colour " + colour + " on " + other + ": " + largest);
    }
  }

  private static int draw(LogisticMixtures likelihood, double temperature, float u, float... said) {
    byte[] pixel = {0, (byte) 99};
    likelihood.draw(said, 0, 0, temperature, k -> u, pixel, 0);
    assertEquals(99, pixel[1], "wrote past the pixel");
    return pixel[0] & 0xFF;
  }

  @Test
  void drawsAreTheLevelsAndTheEndsAreOpen() {
    LogisticMixtures grey = new LogisticMixtures(1, 256, 1);
    for (int level = 0; level < 256; level++) {
      float mean = 2f * level / 255 - 1;
      assertEquals(level, draw(grey, 1, 0.5f, 0, mean, -7));
      // nearer than half a step to the level on either side
      assertEquals(level, draw(grey, 1, 0.5f, 0, mean + 0.99f / 255, -7));
      assertEquals(level, draw(grey, 1, 0.5f, 0, mean - 0.99f / 255, -7));
    }
    for (float u : new float[] {0, 0x1p-24f, 0.5f, 1 - 0x1p-24f}) {
      assertEquals(0, draw(grey, 1, u, 0, -50, 0));
      assertEquals(255, draw(grey, 1, u, 0, 50, 0));
    }
    assertEquals(0, draw(grey, 1, 0, 0, 0, 2));
    assertEquals(255, draw(grey, 1, 1 - 0x1p-24f, 0, 0, 2));
  }

  @Test
  void scalesHaveALeastSizeInTheLossAndInDraws() {
    LogisticMixtures grey = new LogisticMixtures(1, 256, 1);
    float[] least = {0, 0.1f, -7};
    float[] below = {0, 0.1f, -30};
    assertArrayEquals(probabilities(grey, least), probabilities(grey, below));
    Random random = new Random(1);
    for (int i = 0; i < 1000; i++) {
      float u = random.nextFloat();
      assertEquals(draw(grey, 1, u, least), draw(grey, 1, u, below));
    }
    // far out on the logistic the bound shows: -7 and -30 would be levels apart
    assertTrue(draw(grey, 1, 1 - 0x1p-24f, least) > draw(grey, 1, 0.5f, least));
    assertEquals(draw(grey, 1, 1 - 0x1p-24f, least), draw(grey, 1, 1 - 0x1p-24f, below));
  }

  @Test
  void temperatureNarrowsTheChoiceAndTheScale() {
    LogisticMixtures two = new LogisticMixtures(2, 256, 1);
    // odds 9 : 1 become 81 : 1 at temperature one half
    float[] said = {0, (float) Math.log(9), -0.5f, 0.5f, -7, -7};
    assertTrue(draw(two, 1, 0.05f, said) < 128);
    assertTrue(draw(two, 0.5, 0.05f, said) > 128);
    float[] wide = {0, 0, -1};
    LogisticMixtures grey = new LogisticMixtures(1, 256, 1);
    double step = 2.0 / 255;
    double x = Math.exp(-1) * Math.log(0.7 / 0.3);
    for (double t : new double[] {0.25, 1, 1.5}) {
      assertEquals(Math.floor((t * x + 1) / step + 0.5), draw(grey, t, 0.7f, wide));
    }
  }
}
