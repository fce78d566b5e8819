package dev.gatun.models.vae;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Tensor;
import java.util.List;
import org.junit.jupiter.api.Test;

/** What is drawn is what is scored. */
class PixelsTest {
  private static final int COUNT = 40_000;

  /** The share of each level among the draws against the likelihood's probability of it. */
  @Test
  void drawsOfALogisticAreAsItsLikelihoodSays() {
    float mean = 0.9f; // so that the last level takes a tail
    float scale = -3;
    double[] counts = new double[256];
    Philox philox = new Philox(3);
    for (int i = 0; i < COUNT; i++) {
      double uniform = philox.uniform(Philox.Stream.TEST, 0, i) + 0x1p-25;
      float x = (float) Pixels.LOGISTIC.draw(mean, scale, uniform, 0);
      counts[Decoder.levels(new float[] {x})[0] & 0xFF]++;
    }
    float[] parameters = new float[512];
    byte[] levels = new byte[256];
    for (int k = 0; k < 256; k++) {
      parameters[2 * k] = mean;
      parameters[2 * k + 1] = scale;
      levels[k] = (byte) k;
    }
    float[] nats = nats(Pixels.LOGISTIC, parameters, levels);
    double total = 0;
    double rare = 0;
    double rareCount = 0;
    for (int k = 0; k < 256; k++) {
      double p = Math.exp(-nats[k]);
      total += p;
      if (p * COUNT < 10) { // together: each alone is far from normal
        rare += p;
        rareCount += counts[k];
      } else {
        // five standard errors, of some sixty of them
        assertEquals(p, counts[k] / COUNT, 5 * Math.sqrt(p * (1 - p) / COUNT), "level " + k);
      }
    }
    assertEquals(rare, rareCount / COUNT, 5 * Math.sqrt(rare / COUNT));
    assertEquals(1, total, 1e-5);
  }

  @Test
  void drawsOfABernoulliAreAsItsLikelihoodSays() {
    int white = 0;
    Philox philox = new Philox(3);
    for (int i = 0; i < COUNT; i++) {
      double uniform = philox.uniform(Philox.Stream.TEST, 1, i) + 0x1p-25;
      white += Pixels.BERNOULLI.draw(-0.7, 0, uniform, 0) > 0 ? 1 : 0;
    }
    float[] nats = nats(Pixels.BERNOULLI, new float[] {-0.7f, -0.7f}, new byte[] {0, (byte) 255});
    double p = Math.exp(-nats[1]);
    assertEquals(1, p + Math.exp(-nats[0]), 1e-6);
    assertEquals(p, (double) white / COUNT, 4 * Math.sqrt(p * (1 - p) / COUNT));
    assertEquals(2 * p - 1, Pixels.BERNOULLI.mean(-0.7, 0), 1e-6);
  }

  @Test
  void drawsOfAGaussianHaveItsMoments() {
    Philox philox = new Philox(3);
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < COUNT; i++) {
      double normal = philox.normal(Philox.Stream.TEST, 2, i);
      double x = Pixels.GAUSSIAN.draw(2, Math.log(9), 0.5, normal);
      sum += x;
      squares += (x - 2) * (x - 2);
    }
    assertEquals(2, sum / COUNT, 4 * 3 / Math.sqrt(COUNT));
    assertEquals(9, squares / COUNT, 4 * 9 * Math.sqrt(2.0 / COUNT));
  }

  /** Nats of images of one pixel. */
  private static float[] nats(Pixels pixels, float[] parameters, byte[] levels) {
    int n = levels.length;
    try (Device device = Devices.open("cpu");
        Tensor said = Tensor.allocate(device, DType.F32, n, 1, 1, pixels.parameters());
        Tensor images = Tensor.allocate(device, DType.U8, n, 1, 1, 1)) {
      said.write(parameters);
      images.write(levels);
      List<Tensor> out = device.apply(pixels.nats(DType.F32), said, images);
      float[] values = out.getFirst().toFloats();
      out.forEach(Tensor::close);
      return values;
    }
  }
}
