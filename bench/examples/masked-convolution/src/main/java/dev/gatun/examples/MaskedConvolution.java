package dev.gatun.examples;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Taps;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Random;

/**
 * One op of the engine on memory that this program owns: a 3x3 convolution under mask B of
 * PixelCNN, in which a pixel sees itself and the pixels before it in raster order.
 *
 * <p>No model, no graph, no copy. Prints what it measured and a checksum; exits with 1 if a plain
 * loop in Java computes something else.
 */
public final class MaskedConvolution {
  private static final int IMAGES = 8;
  private static final int SIDE = 28;
  private static final int CHANNELS = 32;
  private static final int FILTERS = 64;

  private MaskedConvolution() {}

  public static void main(String[] args) {
    // The op: which pixels each output sees. It holds no memory and runs on any device.
    Conv2d op = new Conv2d(Taps.masked(3, true));
    int taps = op.taps().count();

    // Ours to open, ours to close. Several devices may be open, and threads may share one.
    try (Device device = Devices.open("cpu");
        Arena arena = Arena.ofConfined()) {
      System.out.println(device.description());

      // The memory is this program's own: here from an arena, it could as well be a mapped file.
      // Images are NHWC, weights [taps, channels, filters]; all of it is f32.
      MemorySegment xs = random(arena, IMAGES * SIDE * SIDE * CHANNELS, 1);
      MemorySegment ws = random(arena, taps * CHANNELS * FILTERS, 2);
      MemorySegment biases = random(arena, FILTERS, 3);
      MemorySegment ys = arena.allocate(ValueLayout.JAVA_FLOAT, IMAGES * SIDE * SIDE * FILTERS);

      // Tensors say what lies there. Nothing is copied, and closing them would free nothing.
      Tensor x = device.wrap(xs, DType.F32, IMAGES, SIDE, SIDE, CHANNELS);
      Tensor w = device.wrap(ws, DType.F32, taps, CHANNELS, FILTERS);
      Tensor bias = device.wrap(biases, DType.F32, FILTERS);
      Tensor y = device.wrap(ys, DType.F32, IMAGES, SIDE, SIDE, FILTERS);

      // Once: check the shapes, run, done. The result is in ys.
      device.run(op, List.of(x, w, bias), List.of(y));
      double worst = worstError(op.taps(), xs, ws, biases, ys);

      // Often: a launch is the op fixed to its memory. Each run reads what is there at that moment.
      try (Launch launch = device.launch(op, List.of(x, w, bias), List.of(y))) {
        double seconds = secondsPerRun(launch);
        double products = (double) IMAGES * SIDE * SIDE * taps * CHANNELS * FILTERS;
        System.out.printf(
            "%.3f ms a run, %.1f GFLOP/s%n", seconds * 1e3, 2 * products / seconds / 1e9);
      }

      double sum = 0;
      for (float value : ys.toArray(ValueLayout.JAVA_FLOAT)) {
        sum += value;
      }
      System.out.printf("checksum %.3f, worst error %.1e%n", sum, worst);
      // 160 products of numbers below 1 and a bias, in f32: rounding stays below 161 * 161 * 2^-24
      if (!(worst < 161 * 161 * 0x1p-24)) {
        System.err.println("not what a plain loop computes");
        System.exit(1);
      }
    }
  }

  /** n values from -1 to 1. */
  private static MemorySegment random(Arena arena, int n, long seed) {
    Random random = new Random(seed);
    MemorySegment memory = arena.allocate(ValueLayout.JAVA_FLOAT, n);
    for (int i = 0; i < n; i++) {
      memory.setAtIndex(ValueLayout.JAVA_FLOAT, i, random.nextFloat(-1, 1));
    }
    return memory;
  }

  /** The best of 20 rounds of about 20 ms. */
  private static double secondsPerRun(Launch launch) {
    double best = Double.POSITIVE_INFINITY;
    for (int round = 0; round < 20; round++) {
      int runs = 0;
      long start = System.nanoTime();
      while (System.nanoTime() - start < 20_000_000) {
        launch.run();
        runs++;
      }
      best = Math.min(best, (System.nanoTime() - start) / 1e9 / runs);
    }
    return best;
  }

  /** The same by the definition of the op, in f64; the largest difference. */
  private static double worstError(
      Taps taps, MemorySegment xs, MemorySegment ws, MemorySegment biases, MemorySegment ys) {
    float[] x = xs.toArray(ValueLayout.JAVA_FLOAT);
    float[] w = ws.toArray(ValueLayout.JAVA_FLOAT);
    float[] y = ys.toArray(ValueLayout.JAVA_FLOAT);
    double worst = 0;
    for (int n = 0; n < IMAGES; n++) {
      for (int i = 0; i < SIDE; i++) {
        for (int j = 0; j < SIDE; j++) {
          for (int k = 0; k < FILTERS; k++) {
            double sum = biases.getAtIndex(ValueLayout.JAVA_FLOAT, k);
            for (int t = 0; t < taps.count(); t++) {
              int row = i + taps.list().get(t).dy();
              int column = j + taps.list().get(t).dx();
              if (row < 0 || row >= SIDE || column < 0 || column >= SIDE) {
                continue; // outside the image x is zero
              }
              int pixel = ((n * SIDE + row) * SIDE + column) * CHANNELS;
              for (int c = 0; c < CHANNELS; c++) {
                sum += (double) x[pixel + c] * w[(t * CHANNELS + c) * FILTERS + k];
              }
            }
            double error = Math.abs(sum - y[((n * SIDE + i) * SIDE + j) * FILTERS + k]);
            worst = Math.max(worst, error); // a NaN stays
          }
        }
      }
    }
    return worst;
  }
}
