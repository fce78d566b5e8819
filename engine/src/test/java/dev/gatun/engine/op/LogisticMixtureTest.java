package dev.gatun.engine.op;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.WithDevice;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class LogisticMixtureTest {
  private static Device device;

  @BeforeAll
  static void open() {
    device = WithDevice.open();
  }

  @AfterAll
  static void close() {
    device.close();
  }

  /** The nats of each of {@code pixels}, all under the same parameters. */
  private static float[] nats(LogisticMixture op, float[] parameters, byte[] pixels, int colours) {
    int n = pixels.length / colours;
    float[] all = new float[n * parameters.length];
    for (int i = 0; i < n; i++) {
      System.arraycopy(parameters, 0, all, i * parameters.length, parameters.length);
    }
    try (Tensor p = Tensor.allocate(device, DType.F32, 1, 1, n, parameters.length).write(all);
        Tensor images = Tensor.allocate(device, DType.U8, 1, 1, n, colours).write(pixels)) {
      List<Tensor> out = device.apply(op, p, images);
      float[] nats = out.get(1).toFloats();
      assertEquals(sum(nats) / n / colours, out.get(0).item(), 1e-6 * Math.abs(sum(nats) / n));
      out.forEach(Tensor::close);
      return nats;
    }
  }

  private static double sum(float[] values) {
    double sum = 0;
    for (float v : values) {
      sum += v;
    }
    return sum;
  }

  private static double total(LogisticMixture op, int colours, float[] parameters) {
    int values = (int) Math.round(Math.pow(op.levels(), colours));
    byte[] pixels = new byte[values * colours];
    for (int v = 0; v < values; v++) {
      for (int c = 0, rest = v; c < colours; c++, rest /= op.levels()) {
        pixels[v * colours + c] = (byte) (rest % op.levels());
      }
    }
    double total = 0;
    for (float nats : nats(op, parameters, pixels, colours)) {
      total += Math.exp(-nats);
    }
    return total;
  }

  @Test
  void probabilitiesOfAllValuesOfAPixelSumToOne() {
    Philox philox = new Philox(3);
    int[][] kinds = {{1, 2}, {1, 3}, {1, 256}, {3, 2}, {3, 3}, {3, 6}};
    for (int[] kind : kinds) {
      for (int mixtures : new int[] {1, 4}) {
        LogisticMixture op = new LogisticMixture(mixtures, kind[1], null);
        for (int draw = 0; draw < 20; draw++) {
          float[] p = new float[op.channels(kind[0])];
          for (int i = 0; i < p.length; i++) {
            p[i] = (float) (2 * philox.normal(Philox.Stream.TEST, draw, i));
          }
          assertEquals(1, total(op, kind[0], p), 1e-6, op + " of " + kind[0] + " colours");
        }
      }
    }
  }

  @Test
  void tailsStayFiniteAndSumToOne() {
    LogisticMixture op = new LogisticMixture(1, 256, null);
    for (float mean : new float[] {0, 0.5f, -1, 1.7f, -30, 1e6f, -1e30f}) {
      for (float logScale : new float[] {-1e30f, -100, -7, -3, 0, 20, 300, 800, 1e30f}) {
        float[] p = {5, mean, logScale};
        byte[] all = new byte[256];
        for (int v = 0; v < 256; v++) {
          all[v] = (byte) v;
        }
        for (float nats : nats(op, p, all, 1)) {
          assertTrue(nats >= 0 && nats < 1e34f, "mean " + mean + ", log-scale " + logScale);
        }
        assertEquals(1, total(op, 1, p), 1e-6, "mean " + mean + ", log-scale " + logScale);
      }
    }
  }

  @Test
  void gradientsOfTheTailsAreFinite() {
    float[] means = {0, 0.5f, -1, 1.7f, -30, 1e6f, -1e30f};
    float[] logScales = {-1e30f, -100, -7, -3, 0, 20, 300, 800, 1e30f};
    int n = means.length * logScales.length;
    for (int value : new int[] {0, 1, 128, 254, 255}) {
      float[] p = new float[3 * n];
      byte[] pixels = new byte[n];
      for (int i = 0; i < n; i++) {
        p[3 * i + 1] = means[i % means.length];
        p[3 * i + 2] = logScales[i / means.length];
        pixels[i] = (byte) value;
      }
      try (Tensor parameters = Tensor.allocate(device, DType.F32, 1, 1, n, 3).write(p);
          Tensor images = Tensor.allocate(device, DType.U8, 1, 1, n, 1).write(pixels);
          Tensor one = Tensor.allocate(device, DType.F32, 1).write(1f)) {
        LogisticMixtureBackward op = new LogisticMixtureBackward(1, 256, DType.F32);
        List<Tensor> out = device.apply(op, parameters, images, one);
        float[] slopes = out.getFirst().toFloats();
        for (int i = 0; i < slopes.length; i++) {
          assertTrue(Float.isFinite(slopes[i]), value + " parameter " + i + ": " + slopes[i]);
          boolean clamped = i % 3 == 2 && p[i] < LogisticMixture.LEAST_LOG_SCALE;
          assertTrue(!clamped || slopes[i] == 0, "a log-scale below the bound has a gradient");
        }
        out.forEach(Tensor::close);
      }
    }
  }
}
