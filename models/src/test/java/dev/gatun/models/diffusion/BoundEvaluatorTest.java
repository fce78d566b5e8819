package dev.gatun.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.op.DiffusionTimes;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Condition;
import dev.gatun.models.Model;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
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

  /** Bits of a pixel, by the paper's equations; v is null where the variance is not learned. */
  private static double bound(NoiseSchedule s, int level, Double v) {
    double p = level / 127.5 - 1;
    double last = s.alphaBar(STEPS);
    double nats = 0.5 * (1 - last + last * p * p - 1 - Math.log(1 - last)); // L_T
    for (int t = 1; t <= STEPS; t++) {
      nats += term(s, t, p, v);
    }
    return nats / Math.log(2);
  }

  /** L_{t-1} of a pixel p of a network that says grey, in nats. */
  private static double term(NoiseSchedule s, int t, double p, Double v) {
    double beta = 1 - s.alphaBar(t) / s.alphaBar(t - 1);
    double posterior = (1 - s.alphaBar(t - 1)) / (1 - s.alphaBar(t)) * beta;
    if (t > 1) {
      double off = Math.sqrt(s.alphaBar(t - 1)) * beta / (1 - s.alphaBar(t)) * p;
      double variance = v == null ? posterior : between(v, posterior, beta);
      return 0.5 * (Math.log(variance / posterior) + (posterior + off * off) / variance - 1);
    }
    double next = 1 - s.alphaBar(2) / s.alphaBar(1);
    double clipped = (1 - s.alphaBar(1)) / (1 - s.alphaBar(2)) * next;
    double deviation = Math.sqrt(v == null ? beta : between(v, clipped, beta));
    return -Math.log(
        normalShare((p + 1 / 255.0) / deviation) - normalShare((p - 1 / 255.0) / deviation));
  }

  /** Nichol and Dhariwal's equation 15: v = 1 is beta, v = -1 the posterior's variance. */
  private static double between(double v, double posterior, double beta) {
    return Math.exp((v + 1) / 2 * Math.log(beta) + (1 - v) / 2 * Math.log(posterior));
  }

  /** A network that says grey, and v. */
  private static Parameters saying(Ddpm model, Double v) {
    Parameters weights = new Parameters(device, model.parameters());
    weights.initialize(1);
    if (v != null) {
      weights.get("conv_out.bias").write(0, (float) (double) v);
    }
    return weights;
  }

  @Test
  void allTermsTogetherAreTheBound() {
    for (Double v : new Double[] {null, -1.0, 0.0, 0.4, 1.0}) {
      Ddpm model = model(v != null);
      Dataset data = data(3);
      double expected = 0;
      byte[] pixels = data.images(0, 1, 2);
      for (byte pixel : pixels) {
        expected += bound(model.schedule(), pixel & 0xFF, v) / pixels.length;
      }
      try (Parameters weights = saying(model, v)) {
        try (BoundEvaluator evaluator = new BoundEvaluator(device, model, weights, 5)) {
          List<Integer> told = new ArrayList<>();
          BoundEvaluator.Score score = evaluator.score(data, 100, STEPS - 1, told::add);
          // table and terms are in f32, T terms
          assertEquals(expected, score.bitsPerDim(), 1e-4 * expected, "v " + v);
          assertEquals(3, score.images());
          assertEquals(List.of(3), told);
          assertEquals(
              score.bitsPerDim(), evaluator.score(data, 100, STEPS - 1, n -> {}).bitsPerDim());
        }
      }
    }
  }

  /** The trap: to the error comes a thousandth of the bound, T times a term of it, in bits. */
  @Test
  void theHybridLossHasAThousandthOfTheBound() {
    int count = 40;
    int number = 3;
    Dataset data = data(count);
    int[] all = IntStream.range(0, count).toArray();
    double v = 0.4;
    double[] losses = new double[2];
    double expected = 0;
    for (int i = 0; i < 2; i++) {
      Ddpm model = model(i == 1);
      try (Owned owned = new Owned()) {
        Parameters weights = owned.add(saying(model, i == 1 ? v : null));
        Graph graph = new Graph();
        Tensor images = owned.add(Tensor.allocate(device, DType.U8, count, SIDE, SIDE, 1));
        Tensor at = owned.add(Tensor.allocate(device, DType.F64, 1)).writeDoubles(number);
        Map<String, Value> known = new HashMap<>();
        model.parameters().forEach(p -> known.put(p.name(), graph.bind(weights.get(p.name()))));
        for (Model.Constant constant : model.constants()) {
          Tensor table = Tensor.allocate(device, DType.F32, constant.shape().toArray());
          known.put(constant.name(), graph.bind(owned.add(table).write(constant.values())));
        }
        Value step = graph.bind(at);
        Model.Input input =
            new Model.Input(
                graph.bind(images.write(data.images(all))),
                null,
                null,
                DType.F32,
                new Model.Training(step, 7, 0));
        Value loss = model.loss(graph, known::get, input);
        Value drawn = known.get(model.constants().getFirst().name());
        Value times = graph.apply(new DiffusionTimes(7, 0, count), List.of(drawn, step)).get(1);
        Program program = owned.add(graph.compile(device, loss, times));
        program.run();
        losses[i] = program.tensor(loss).item();
        if (i == 1) {
          float[] t = program.tensor(times).toFloats();
          for (int n = 0; n < count; n++) {
            for (byte pixel : data.images(n)) {
              double p = (pixel & 0xFF) / 127.5 - 1;
              expected += term(model.schedule(), (int) t[n], p, v) / (count * SIDE * SIDE);
            }
          }
        }
      }
    }
    expected *= STEPS / 1000.0 / Math.log(2);
    assertTrue(expected > 1e-3, "" + expected);
    assertEquals(expected, losses[1] - losses[0], 1e-3 * expected);
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
