package dev.gatun.engine.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.op.SquaredNorm;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class AdamTest {
  private static final int N = 257;
  private static final int STEPS = 50;

  /** Kingma and Ba's algorithm 1 written out in f64, with what is said to be added to it. */
  private static final class Plain {
    final double[] p = new double[N];
    final double[] m = new double[N];
    final double[] v = new double[N];
    final double[] ema = new double[N];

    void step(
        int t, double[] gradient, double lr, int warmup, double decay, double clip, double e) {
      double squares = 0;
      for (double g : gradient) {
        squares += g * g;
      }
      double scale = Math.min(1, clip / Math.sqrt(squares));
      double rate = lr;
      if (warmup > 0 && t < warmup) {
        rate *= (double) t / warmup;
      }
      for (int i = 0; i < t; i++) {
        rate *= decay;
      }
      double emaDecay = Math.min(e, t / (t + 10.0));
      for (int i = 0; i < N; i++) {
        double g = gradient[i] * scale;
        m[i] = 0.9 * m[i] + 0.1 * g;
        v[i] = 0.99 * v[i] + 0.01 * g * g;
        double mHat = m[i] / (1 - Math.pow(0.9, t));
        double vHat = v[i] / (1 - Math.pow(0.99, t));
        p[i] -= rate * mHat / (Math.sqrt(vHat) + 1e-6);
        ema[i] = emaDecay * ema[i] + (1 - emaDecay) * p[i];
      }
    }
  }

  @ParameterizedTest
  @CsvSource({
    "0, 1, Infinity, 0.5", // bias correction alone
    "20, 1, Infinity, 0.5", // warm-up that ends within the run
    "0, 0.97, Infinity, 0.5", // decay
    "0, 1, 0.7, 0.5", // clipping, always at work
    "0, 1, 12, 0.5", // clipping at work in some steps only
    "0, 1, Infinity, 0.95", // an EMA that early on is held back by t / (t + 10)
    "20, 0.97, 0.7, 0.95"
  })
  void fiftyStepsAreThoseOfThePlainLoop(int warmup, double decay, double clip, double emaDecay) {
    Random random = new Random(3);
    Plain plain = new Plain();
    try (Device device = WithDevice.open();
        Tensor p = Tensor.allocate(device, DType.F32, N);
        Tensor m = Tensor.allocate(device, DType.F32, N);
        Tensor v = Tensor.allocate(device, DType.F32, N);
        Tensor ema = Tensor.allocate(device, DType.F32, N);
        Tensor state = Tensor.allocate(device, DType.F64, 1);
        Tensor gradients = Tensor.allocate(device, DType.F32, N)) {
      float[] start = new float[N];
      for (int i = 0; i < N; i++) {
        start[i] = (float) random.nextGaussian();
        plain.p[i] = start[i];
        plain.ema[i] = start[i];
      }
      p.write(start);
      ema.write(start);
      Graph graph = new Graph();
      Value g = graph.bind(gradients);
      graph.apply(
          new Adam(0.03, 0.9, 0.99, 1e-6, warmup, decay, clip, emaDecay),
          List.of(
              graph.bind(p),
              graph.bind(m),
              graph.bind(v),
              graph.bind(ema),
              graph.bind(state),
              g,
              graph.apply(new SquaredNorm(), g)));
      int clipped = 0;
      try (Program program = graph.compile(device)) {
        for (int t = 1; t <= STEPS; t++) {
          float[] values = new float[N];
          double[] wide = new double[N];
          double squares = 0;
          for (int i = 0; i < N; i++) {
            values[i] = (float) (random.nextGaussian() * (0.3 + t % 3) + 0.2);
            wide[i] = values[i];
            squares += wide[i] * wide[i];
          }
          clipped += Math.sqrt(squares) > clip ? 1 : 0;
          gradients.write(values);
          program.run();
          plain.step(t, wide, 0.03, warmup, decay, clip, emaDecay);
          assertEquals(t, state.item());
        }
      }
      assertTrue(clip != 0.7 || clipped == STEPS);
      assertTrue(clip != 12 || (clipped > 0 && clipped < STEPS), "clipped " + clipped);
      // each step rounds a few times in f32; the errors of fifty steps add up
      assertClose("parameters", plain.p, p, 2e-5);
      assertClose("first moment", plain.m, m, 2e-6);
      assertClose("second moment", plain.v, v, 2e-6);
      assertClose("EMA", plain.ema, ema, 2e-5);
    }
  }

  private static void assertClose(String what, double[] expected, Tensor actual, double tolerance) {
    double[] values = actual.toDoubles();
    for (int i = 0; i < N; i++) {
      assertEquals(
          expected[i], values[i], tolerance * Math.max(1, Math.abs(expected[i])), what + " " + i);
    }
  }
}
