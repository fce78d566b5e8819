package dev.gatun.engine.op;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.op.DenoiseStep.Thresholding;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Steps whose results are known without the reference. */
class DenoiseStepTest extends WithDevice {
  /** A table's row: x becomes cX x + cD D + cN s e, after D = pX x + pF f. */
  private static double[] row(double pX, double pF, double cX, double cD, double cN) {
    return new double[] {pX, pF, cX, cD, 0, cN, 1, 0, 0, 0};
  }

  /** x after one step for each row of a table, the prediction always the same. */
  private double[] run(
      DenoiseStep op, int[] dims, double[] x, double[] said, double[][] table, byte[]... inpaint) {
    try (Owned owned = new Owned()) {
      TensorSpec f64 = TensorSpec.of(DType.F64, dims);
      int channels = said.length / (dims[0] * dims[1] * dims[2]);
      List<Tensor> in = new ArrayList<>();
      in.add(owned.add(Tensor.allocate(device, f64)).writeDoubles(x));
      in.add(owned.add(Tensor.allocate(device, f64)).writeDoubles(new double[x.length]));
      in.add(
          owned
              .add(Tensor.allocate(device, DType.F32, dims[0], dims[1], dims[2], channels))
              .writeDoubles(said));
      double[] rows = Arrays.stream(table).flatMapToDouble(Arrays::stream).toArray();
      in.add(
          owned
              .add(Tensor.allocate(device, DType.F64, table.length, DenoiseStep.COLUMNS))
              .writeDoubles(rows));
      in.add(
          owned.add(Tensor.allocate(device, DType.I32, 4)).writeDoubles(new double[] {5, 0, 0, 0}));
      if (inpaint.length == 2) {
        in.add(owned.add(Tensor.allocate(device, DType.U8, dims)).write(inpaint[0]));
        in.add(
            owned
                .add(Tensor.allocate(device, DType.U8, dims[0], dims[1], dims[2], 1))
                .write(inpaint[1]));
      }
      List<Tensor> out =
          op.check(in.stream().map(Tensor::spec).toList()).stream()
              .map(spec -> owned.add(Tensor.allocate(device, spec)))
              .toList();
      for (int i = 0; i < table.length; i++) {
        device.run(op, in, out);
      }
      return in.getFirst().toDoubles();
    }
  }

  /** Of 1 to 1000 the 99.5th percentile is 995; of 1 to 200, 199; of 1 to 199, 199 (198.005). */
  @Test
  void thePercentileIsThatOfNearestRank() {
    for (int[] known : new int[][] {{1000, 995}, {200, 199}, {199, 199}, {201, 200}, {1, 1}}) {
      int n = known[0];
      double[] x = new double[n];
      // each of 1 to n once, for n no multiple of 7; every second below zero
      Arrays.setAll(x, i -> (i * 7L % n + 1) * (i % 2 == 0 ? 1 : -1));
      double[] d =
          run(
              new DenoiseStep(Thresholding.DYNAMIC, 1, false),
              new int[] {1, n, 1, 1},
              x,
              new double[n],
              new double[][] {row(1, 0, 0, 1, 0)});
      for (int i = 0; i < n; i++) {
        double clipped = Math.max(-known[1], Math.min(known[1], x[i]));
        assertEquals(clipped / known[1], d[i], 1e-15, n + " elements, element " + i);
      }
    }
  }

  @Test
  void aPercentileInRangeChangesNothing() {
    double[] x = {0.25, -0.999, 1 / 3.0, 0.5};
    assertArrayEquals(
        x,
        run(
            new DenoiseStep(Thresholding.DYNAMIC, 1, false),
            new int[] {1, 2, 2, 1},
            x,
            new double[4],
            new double[][] {row(1, 0, 0, 1, 0)}));
  }

  /** Each image by its own percentile; a NaN makes its own image one, and nothing waits for it. */
  @Test
  void imagesDoNotShareAPercentile() {
    double nan = Double.NaN;
    assertArrayEquals(
        new double[] {1, 0.5, -1, 0.25, nan, nan},
        run(
            new DenoiseStep(Thresholding.DYNAMIC, 1, false),
            new int[] {3, 1, 2, 1},
            new double[] {4, 2, -8, 2, nan, 1},
            new double[6],
            new double[][] {row(1, 0, 0, 1, 0)}),
        1e-15);
  }

  /**
   * Two steps of the deterministic sampler with a network that is always wrong: where the mask is,
   * x is the known image with its first noise, scaled down, and then the known image.
   */
  @Test
  void theKnownPartIsAsNoisyAsTheRestAndInTheEndItself() {
    double[] noise = {0.5, -1.5, 0.25, 2};
    double[] said = {9, 9, 9, 9};
    byte[] known = {0, (byte) 255, 51, 102};
    byte[] mask = {1, 0, (byte) 200, 0};
    double[] image = {-1, 1, -0.6, -0.2};
    double[] alpha = {0, 0.6, 1};
    double[] sigma = {1, 0.8, 0};
    double[][] table = new double[2][];
    for (int i = 0; i < 2; i++) {
      double cX = sigma[i + 1] / sigma[i];
      table[i] = row(0, 1, cX, alpha[i + 1] - cX * alpha[i], 0);
    }
    DenoiseStep op = new DenoiseStep(Thresholding.STATIC, 1, false);
    int[] dims = {1, 2, 2, 1};
    double[] half = run(op, dims, noise, said, new double[][] {table[0]}, known, mask);
    double[] all = run(op, dims, noise, said, table, known, mask);
    for (int i = 0; i < 4; i++) {
      double target = mask[i] == 0 ? 1 : image[i];
      assertEquals(0.6 * target + 0.8 * noise[i], half[i], 1e-15);
      assertEquals(target, all[i], 1e-15);
    }
  }

  /** v of -1 and 1 are the bounds, 0 the geometric mean between them; the noise is the same. */
  @Test
  void aLearnedVarianceLiesBetweenItsBounds() {
    double[] zeros = new double[3];
    int[] dims = {1, 1, 3, 1};
    double[] plain =
        run(
            new DenoiseStep(Thresholding.NONE, 1, false),
            dims,
            zeros,
            zeros,
            new double[][] {row(0, 1, 0, 1, 2)});
    double[] least = row(0, 1, 0, 1, 2);
    least[8] = Math.log(0.01);
    least[9] = Math.log(0.09);
    double[] learned =
        run(
            new DenoiseStep(Thresholding.NONE, 1, true),
            dims,
            zeros,
            new double[] {0, -1, 0, 1, 0, 0},
            new double[][] {least});
    double[] deviations = {0.1, 0.3, Math.sqrt(0.03)};
    for (int i = 0; i < 3; i++) {
      assertTrue(Math.abs(plain[i]) > 1e-3);
      assertEquals(deviations[i], learned[i] / plain[i], 1e-12);
    }
  }
}
