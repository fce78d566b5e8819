package dev.gatun.engine.op;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.WithDevice;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Bounds whose values are known without the reference. */
class VariationalBoundTest extends WithDevice {
  /** A row of the table whose D is x. */
  private static double[] row(
      double cD, double logTrue, double logLeast, double logMost, boolean decoder) {
    return new double[] {1, 0, cD, logTrue, logLeast, logMost, decoder ? 1 : 0, 0};
  }

  /** The results of an op on images of one element: D, level, time and, unless empty, v of each. */
  private List<double[]> run(
      Op op, double[] denoised, int[] levels, double[] times, double[][] rows, double... v) {
    try (Owned owned = new Owned()) {
      int n = denoised.length;
      TensorSpec x = TensorSpec.of(DType.F32, n, 1, 1, 1);
      List<Tensor> in = new ArrayList<>();
      in.add(owned.add(Tensor.allocate(device, x)).writeDoubles(new double[n]));
      in.add(owned.add(Tensor.allocate(device, x)).writeDoubles(denoised));
      double[] images = Arrays.stream(levels).asDoubleStream().toArray();
      in.add(owned.add(Tensor.allocate(device, DType.U8, n, 1, 1, 1)).writeDoubles(images));
      in.add(owned.add(Tensor.allocate(device, DType.F32, n)).writeDoubles(times));
      in.add(
          owned
              .add(Tensor.allocate(device, DType.F32, rows.length, VariationalBound.COLUMNS))
              .writeDoubles(Arrays.stream(rows).flatMapToDouble(Arrays::stream).toArray()));
      if (v.length > 0) {
        in.add(owned.add(Tensor.allocate(device, x)).writeDoubles(v));
      }
      if (op instanceof VariationalBoundBackward) {
        in.add(owned.add(Tensor.allocate(device, DType.F32, 1)).writeDoubles(1));
      }
      List<Tensor> out =
          op.check(in.stream().map(Tensor::spec).toList()).stream()
              .map(spec -> owned.add(Tensor.allocate(device, spec)))
              .toList();
      device.run(op, in, out);
      return out.stream().map(Tensor::toDoubles).toList();
    }
  }

  /** The terms under one row alone. */
  private double[] terms(double[] denoised, int[] levels, double[] row, double... v) {
    double[] times = new double[denoised.length];
    Arrays.fill(times, 1);
    return run(new VariationalBound(1), denoised, levels, times, new double[][] {row}, v).get(1);
  }

  @Test
  void equalDistributionsAreNoDistanceApart() {
    double[] row = row(0.7, -3, -5, -3, false);
    assertArrayEquals(new double[2], terms(new double[] {-1, 1}, new int[] {0, 255}, row));
    row = row(0.7, -4, -5, -3, false);
    assertArrayEquals(new double[2], terms(new double[] {1, -1}, new int[] {255, 0}, row, 0, 0));
  }

  @Test
  void distancesOfKnownDistributions() {
    // KL(N(0,1) || N(1,4)) = (log 4 - log 1 + 1/4 - 1 + 1/4) / 2; the means are 0.5 * 2 apart
    double known = (Math.log(4) - 0.5) / 2;
    double[] row = row(0.5, 0, 0, Math.log(4), false);
    assertEquals(known, terms(new double[] {-1}, new int[] {255}, row)[0], 1e-7);
    assertEquals(known, terms(new double[] {-1}, new int[] {255}, row, 1)[0], 1e-7);
    // v = -1: KL(N(0,1) || N(1,1)) = 1/2; v = 0: variance 2
    assertEquals(0.5, terms(new double[] {-1}, new int[] {255}, row, -1)[0], 1e-7);
    double between = (Math.log(2) + 0.5 - 1 + 0.5) / 2;
    assertEquals(between, terms(new double[] {-1}, new int[] {255}, row, 0)[0], 1e-7);
  }

  /** What the network says is clipped: D of 3 is as 1. */
  @Test
  void denoisedImagesAreClipped() {
    double[] row = row(0.5, 0, 0, 0, false);
    double[] terms = terms(new double[] {3, 1, -7}, new int[] {0, 0, 0}, row);
    assertEquals(0.5, terms[0], 1e-7);
    assertEquals(0.5, terms[1], 1e-7);
    assertEquals(0, terms[2]);
  }

  /** Also where all of the mass is in one bin, or a bin has next to none. */
  @Test
  void theProbabilitiesOfAllLevelsSumToOne() {
    int[] levels = new int[256];
    Arrays.setAll(levels, i -> i);
    for (double d : new double[] {0, -1, 1, 0.3, 1 / 255.0, -0.999, 51 / 127.5 - 1}) {
      for (double log : new double[] {-60, -20, -13, -9, -6, -2, 0, 4, 30}) {
        double[] all = new double[256];
        Arrays.fill(all, d);
        double sum = 0;
        for (double nats : terms(all, levels, row(1, 0, 0, log, true))) {
          assertTrue(nats >= 0 && nats < 1e30, "D " + d + ", log-variance " + log + ": " + nats);
          sum += Math.exp(-nats);
        }
        assertEquals(1, sum, 1e-6, "D " + d + ", log-variance " + log);
      }
    }
  }

  /** By mpmath, 40 digits: -log(Phi(b) - Phi(a)). */
  @Test
  void knownProbabilitiesOfLevels() {
    double[][] known = { // D, level, log-variance, nats
      {-1, 255, -8, 5944.1690402524283},
      {1, 100, -12, 119499.53885188266},
      {0.5, 0, -20, 542960673.84874123},
      {0, 128, -4, 3.7676145382129185},
      {1, 255, -6, 0.63225727874930933},
      {1, 255, -16, 7.1666871829096464e-32}
    };
    for (double[] k : known) {
      double nats = terms(new double[] {k[0]}, new int[] {(int) k[1]}, row(1, 0, 0, k[2], true))[0];
      assertEquals(k[3], nats, k[3] * 0x1p-24, Arrays.toString(k));
    }
  }

  @Test
  void theMeanIsScaledAndOverAllImages() {
    double[][] rows = {row(0.5, 0, 0, 0, false), row(1, 0, 0, 0, false)};
    List<double[]> out =
        run(
            new VariationalBound(30),
            new double[] {-1, -1, 1},
            new int[] {255, 255, 255},
            new double[] {1, 2, 2},
            rows);
    assertArrayEquals(new double[] {0.5, 2, 0}, out.get(1), 1e-7);
    assertEquals(25, out.get(0)[0], 1e-5);
  }

  @Test
  void aTimeWithoutARowIsRefused() {
    double[][] rows = {row(0.5, 0, 0, 0, false), row(1, 0, 0, 0, false)};
    for (double time : new double[] {0, 3, 1.5, -1, Double.NaN}) {
      for (Op op : List.of(new VariationalBound(1), new VariationalBoundBackward(1))) {
        IllegalArgumentException e =
            assertThrows(
                IllegalArgumentException.class,
                () -> run(op, new double[2], new int[2], new double[] {1, time}, rows, 0, 0));
        assertEquals(
            "variational_bound: the time of image 1 is not a whole number from 1 to 2",
            e.getMessage());
      }
    }
  }
}
