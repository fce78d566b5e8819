package dev.gatun.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.Device;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Condition;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * A network that takes everything for grey has a bound that can be written down: what it says does
 * not depend on the noise.
 */
class BoundEvaluatorTest {
  private static final int SIDE = 4;
  private static final int STEPS = 20;

  private static Device device;

  @BeforeAll
  static void open() {
    device = WithDevice.open();
  }

  @AfterAll
  static void close() {
    device.close();
    assertEquals(0, device.allocatedBytes());
  }

  private static Ddpm model(boolean learned) {
    UNet.Config net = new UNet.Config(SIDE, SIDE, 1, 0, 8, "1,2", 1, "none", 8, 4, 0, true, false);
    return new Ddpm(
        new Ddpm.Config(
            net,
            STEPS,
            NoiseSchedule.Kind.COSINE,
            Prediction.IMAGE,
            learned,
            0,
            0,
            Condition.NONE));
  }

  /** Near grey, so that the decoder's terms do not outweigh all others. */
  private static Dataset data(int count) {
    byte[] pixels = new byte[count * SIDE * SIDE];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) (120 + i * 7 % 17);
    }
    return Dataset.of("greys", SIDE, SIDE, 1, pixels, null, 0, List.of());
  }

  private static double normalShare(double z) {
    // the integral of the density, by Simpson's rule from far below
    int n = 20_000;
    double from = -12;
    double sum = 0;
    double h = (z - from) / n;
    for (int i = 0; i <= n; i++) {
      double x = from + i * h;
      double density = Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
      sum += density * (i == 0 || i == n ? 1 : i % 2 == 1 ? 4 : 2);
    }
    return sum * h / 3;
  }

  /** Bits of a pixel, by the paper's equations; v is 0 where the variance is learned. */
  private static double bound(NoiseSchedule s, int level, boolean learned) {
    double p = level / 127.5 - 1;
    double last = s.alphaBar(STEPS);
    double nats = 0.5 * (1 - last + last * p * p - 1 - Math.log(1 - last)); // L_T
    for (int t = 1; t <= STEPS; t++) {
      double beta = 1 - s.alphaBar(t) / s.alphaBar(t - 1);
      double posterior = (1 - s.alphaBar(t - 1)) / (1 - s.alphaBar(t)) * beta;
      if (t > 1) {
        double off = Math.sqrt(s.alphaBar(t - 1)) * beta / (1 - s.alphaBar(t)) * p;
        double variance = learned ? Math.sqrt(beta * posterior) : posterior;
        nats += 0.5 * (Math.log(variance / posterior) + (posterior + off * off) / variance - 1);
      } else {
        double next = 1 - s.alphaBar(2) / s.alphaBar(1);
        double clipped = (1 - s.alphaBar(1)) / (1 - s.alphaBar(2)) * next;
        double deviation = Math.sqrt(learned ? Math.sqrt(beta * clipped) : beta);
        nats -=
            Math.log(
                normalShare((p + 1 / 255.0) / deviation)
                    - normalShare((p - 1 / 255.0) / deviation));
      }
    }
    return nats / Math.log(2);
  }

  @Test
  void allTermsTogetherAreTheBound() {
    for (boolean learned : new boolean[] {false, true}) {
      Ddpm model = model(learned);
      Dataset data = data(3);
      double expected = 0;
      byte[] pixels = data.images(0, 1, 2);
      for (byte pixel : pixels) {
        expected += bound(model.schedule(), pixel & 0xFF, learned) / pixels.length;
      }
      try (Parameters weights = new Parameters(device, model.parameters())) {
        weights.initialize(1);
        try (BoundEvaluator evaluator = new BoundEvaluator(device, model, weights, 5)) {
          List<Integer> told = new ArrayList<>();
          BoundEvaluator.Score score = evaluator.score(data, 100, STEPS - 1, told::add);
          // table and terms are in f32, T terms
          assertEquals(expected, score.bitsPerDim(), 1e-4 * expected, "learned " + learned);
          assertEquals(3, score.images());
          assertEquals(List.of(3), told);
        }
      }
    }
  }

  /** Some of the terms, drawn for each image, have the whole bound as their mean. */
  @Test
  void fewerTermsEstimateTheBound() {
    Ddpm model = model(false);
    try (Parameters weights = new Parameters(device, model.parameters())) {
      weights.initialize(1);
      try (BoundEvaluator evaluator = new BoundEvaluator(device, model, weights, 5)) {
        Dataset data = data(400);
        double exact = evaluator.score(data, 400, STEPS - 1, n -> {}).bitsPerDim();
        for (int times : new int[] {1, 4}) {
          BoundEvaluator.Score score = evaluator.score(data, 400, times, n -> {});
          double apart = Math.abs(score.bitsPerDim() - exact);
          assertTrue(score.standardError() > 0);
          assertTrue(
              apart < 4 * score.standardError(),
              times + " times: " + apart + " of " + score.standardError());
        }
        assertThrows(
            IllegalArgumentException.class, () -> evaluator.score(data, 400, STEPS, n -> {}));
        assertThrows(IllegalArgumentException.class, () -> evaluator.score(data, 0, 1, n -> {}));
      }
    }
  }
}
