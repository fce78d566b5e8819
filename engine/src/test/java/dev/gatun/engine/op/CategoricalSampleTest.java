package dev.gatun.engine.op;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.Op;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.GumbelSoftmax.Temperature;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/** Draws of categorical variables, relaxed and not, on the CPU. */
class CategoricalSampleTest {
  private static final double NAN = Double.NaN;

  private static Device device;

  @BeforeAll
  static void open() {
    device = Devices.open("cpu");
  }

  @AfterAll
  static void close() {
    device.close();
  }

  /** The op's first output, of logits [N,E], at a step. */
  private static double[] draw(Op op, int step, double[] logits, int... dims) {
    try (Tensor x = Tensor.allocate(device, DType.F32, dims).writeDoubles(logits);
        Tensor at = Tensor.allocate(device, DType.F64, 1).writeDoubles(step)) {
      List<Tensor> out = device.apply(op, x, at);
      double[] y = out.getFirst().toDoubles();
      out.forEach(Tensor::close);
      return y;
    }
  }

  private static double[] logits(int n) {
    Philox philox = new Philox(4);
    double[] values = new double[n];
    Arrays.setAll(values, i -> 2 * philox.normal(Philox.Stream.TEST, 0, i));
    return values;
  }

  @Test
  void categoriesAreDrawnAsOftenAsTheirSoftmaxSays() {
    int n = 40_000;
    double[] p = {0.6, 0.3, 0.1};
    double[] logits = Arrays.stream(p).map(Math::log).toArray();
    double[] y = draw(new CategoricalSample(3, 9, 0, n), 5, logits, 1, 3);
    double[] counts = new double[3];
    for (int i = 0; i < y.length; i++) {
      counts[i % 3] += y[i];
    }
    assertEquals(n, Arrays.stream(counts).sum());
    for (int k = 0; k < 3; k++) {
      double deviation = Math.sqrt(n * p[k] * (1 - p[k]));
      assertEquals(n * p[k], counts[k], 4 * deviation, "category " + k);
    }
  }

  @Test
  void theDrawIsTheLargestOfTheRelaxedOne() {
    double[] logits = logits(2 * 5 * 7);
    double[] drawn = draw(new CategoricalSample(7, 3, 11, 4), 8, logits, 2, 5 * 7);
    double[] relaxed =
        draw(new GumbelSoftmax(7, 3, 11, 4, Temperature.constant(0.6)), 8, logits, 2, 5 * 7);
    for (int latent = 0; latent < drawn.length / 7; latent++) {
      double largest = 0;
      double sum = 0;
      int chosen = -1;
      for (int i = 7 * latent; i < 7 * latent + 7; i++) {
        largest = Math.max(largest, relaxed[i]);
        sum += relaxed[i];
        chosen = drawn[i] == 1 ? i : chosen;
      }
      assertEquals(largest, relaxed[chosen]);
      assertEquals(1, sum, 1e-6);
    }
  }

  @Test
  void partsOfABatchDrawWhatTheWholeDoesAndStepsDiffer() {
    int samples = 3;
    int each = 12;
    double[] logits = logits(4 * each);
    Temperature warm = Temperature.constant(1);
    double[] whole = draw(new GumbelSoftmax(4, 3, 0, samples, warm), 8, logits, 4, each);
    List<double[]> parts = new ArrayList<>();
    for (int first : new int[] {0, 2}) {
      double[] part = Arrays.copyOfRange(logits, first * each, (first + 2) * each);
      parts.add(draw(new GumbelSoftmax(4, 3, first, samples, warm), 8, part, 2, each));
    }
    for (int i = 0; i < whole.length; i++) {
      int sample = i / (4 * each);
      int image = i / each % 4;
      int at = (sample * 2 + image % 2) * each + i % each;
      assertEquals(whole[i], parts.get(image / 2)[at], "element " + i);
    }
    double[] other = draw(new GumbelSoftmax(4, 3, 0, samples, warm), 9, logits, 4, each);
    assertFalse(Arrays.equals(whole, other));
  }

  @Test
  void theTemperatureFallsToItsLeast() {
    Temperature temperature = new Temperature(2, 0.5, 1e-2);
    assertEquals(2, temperature.at(0));
    assertEquals(2 / Math.E, temperature.at(100), 1e-12);
    assertEquals(0.5, temperature.at(1000));
    assertEquals(0.7, Temperature.constant(0.7).at(1e9));
  }

  @Test
  void aNanIsThatOfItsLatentAlone() {
    double[] logits = {1, NAN, 2, 3};
    for (Op op :
        List.of(
            new CategoricalSample(2, 3, 0, 1),
            new GumbelSoftmax(2, 3, 0, 1, Temperature.constant(1)))) {
      double[] y = draw(op, 8, logits, 1, 4);
      assertTrue(Double.isNaN(y[0]) && Double.isNaN(y[1]), op + Arrays.toString(y));
      assertEquals(1, y[2] + y[3], 1e-6);
    }
    try (Tensor x = Tensor.allocate(device, DType.F32, 2, 4)) {
      x.writeDoubles(1, NAN, 2, 3, 4, 5, 6, 7);
      List<Tensor> kl = device.apply(new CategoricalKl(2), x);
      double[] ofImages = kl.get(0).toDoubles();
      double[] byDimension = kl.get(1).toDoubles();
      assertTrue(Double.isNaN(ofImages[0]) && ofImages[1] > 0);
      assertTrue(Double.isNaN(byDimension[0]) && byDimension[1] > 0);
      kl.forEach(Tensor::close);
    }
  }

  @Test
  void vectorsThatAreNotFiniteHaveNoCode() {
    try (Tensor z = Tensor.allocate(device, DType.F32, 3, 2);
        Tensor codebook = Tensor.allocate(device, DType.F32, 2, 2)) {
      z.writeDoubles(0, NAN, 3, 3, Double.POSITIVE_INFINITY, 0);
      codebook.writeDoubles(1, 1, 4, 4);
      List<Tensor> out = device.apply(new VectorQuantize(), z, codebook);
      double[] none = {NAN, NAN, 4, 4, NAN, NAN};
      assertArrayEquals(none, out.get(0).toDoubles());
      assertArrayEquals(new double[] {0, 1, 0}, out.get(1).toDoubles());
      out.forEach(Tensor::close);
      codebook.writeDoubles(1, NAN, 4, 4);
      out = device.apply(new VectorQuantize(), z, codebook);
      assertTrue(Arrays.stream(out.get(0).toDoubles()).allMatch(Double::isNaN));
      out.forEach(Tensor::close);
    }
  }
}
