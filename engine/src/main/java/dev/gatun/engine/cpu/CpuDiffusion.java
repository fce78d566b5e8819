package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Diffuse;
import dev.gatun.engine.op.DiffusionTimes;
import dev.gatun.engine.op.SinusoidalEmbedding;
import dev.gatun.engine.op.SquaredError;
import dev.gatun.engine.op.SquaredErrorBackward;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Noise that is added, told and taken away again; each element a few operations. */
final class CpuDiffusion {
  private CpuDiffusion() {}

  static Launch times(CpuDevice d, DiffusionTimes op, List<Tensor> in, List<Tensor> out) {
    MemorySegment table = d.segment(in.get(0));
    MemorySegment steps = d.segment(in.get(1));
    MemorySegment coefficients = d.segment(out.get(0));
    MemorySegment times = d.segment(out.get(1));
    MemorySegment weights = d.segment(out.get(2));
    int rows = in.getFirst().shape().dim(0);
    Philox philox = new Philox(op.seed());
    return () -> {
      int step = step(op.name(), steps.get(JAVA_DOUBLE_UNALIGNED, 0));
      for (int n = 0; n < op.images(); n++) {
        int row = philox.below(rows, Philox.Stream.TIMES, step, op.first() + n);
        long at = (long) row * DiffusionTimes.COLUMNS;
        for (int i = 0; i < Diffuse.COEFFICIENTS; i++) {
          float value = ScalarLoops.get(DType.F32, table, at + i);
          ScalarLoops.set(DType.F32, coefficients, (long) n * Diffuse.COEFFICIENTS + i, value);
        }
        ScalarLoops.set(DType.F32, times, n, ScalarLoops.get(DType.F32, table, at + 4));
        ScalarLoops.set(DType.F32, weights, n, ScalarLoops.get(DType.F32, table, at + 5));
      }
    };
  }

  static Launch diffuse(CpuDevice d, Diffuse op, List<Tensor> in, List<Tensor> out) {
    MemorySegment images = d.segment(in.get(0));
    MemorySegment coefficients = d.segment(in.get(1));
    MemorySegment steps = d.segment(in.get(2));
    MemorySegment x = d.segment(out.get(0));
    MemorySegment target = d.segment(out.get(1));
    int image = in.get(0).elements() / in.get(0).shape().dim(0);
    boolean points = in.getFirst().dtype() == DType.F32;
    Philox philox = new Philox(op.seed());
    return () -> {
      int step = step(op.name(), steps.get(JAVA_DOUBLE_UNALIGNED, 0));
      d.workers()
          .forRange(
              in.get(0).elements(),
              Blocks.SIZE,
              (from, to) -> {
                Blocks block = Blocks.own();
                for (int i = from; i < to; i++) {
                  long at = (long) i / image * Diffuse.COEFFICIENTS;
                  float pixel =
                      points
                          ? ScalarLoops.get(DType.F32, images, i)
                          : (images.get(JAVA_BYTE, i) & 0xFF) / 127.5f - 1;
                  float noise =
                      (float)
                          philox.normal(Philox.Stream.NOISE, step, (long) op.first() * image + i);
                  block.a[i - from] =
                      ScalarLoops.get(DType.F32, coefficients, at) * pixel
                          + ScalarLoops.get(DType.F32, coefficients, at + 1) * noise;
                  block.b[i - from] =
                      ScalarLoops.get(DType.F32, coefficients, at + 2) * pixel
                          + ScalarLoops.get(DType.F32, coefficients, at + 3) * noise;
                }
                d.loops().store(op.type(), block.a, 0, x, from, to - from);
                d.loops().store(DType.F32, block.b, 0, target, from, to - from);
              });
    };
  }

  /** A step's number, by which random numbers are told apart. */
  static int step(String op, double step) {
    if (step != Math.rint(step) || step < 0 || step > Integer.MAX_VALUE) {
      throw new IllegalArgumentException(
          op + ": step must be a whole number below 2^31, not " + step);
    }
    return (int) step;
  }

  static Launch squaredError(CpuDevice d, SquaredError op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment prediction = d.segment(in.get(0));
    MemorySegment target = d.segment(in.get(1));
    MemorySegment weights = d.segment(in.get(2));
    MemorySegment mean = d.segment(out.get(0));
    MemorySegment errors = d.segment(out.get(1));
    int count = in.get(0).shape().dim(0);
    int image = in.get(0).elements() / count;
    return () -> {
      d.workers()
          .forRange(
              count,
              1,
              (from, to) -> {
                for (int n = from; n < to; n++) {
                  double sum = squares(d, type, prediction, target, (long) n * image, image);
                  ScalarLoops.set(DType.F32, errors, n, (float) (sum / image));
                }
              });
      double sum = 0;
      for (int n = 0; n < count; n++) {
        sum +=
            (double) ScalarLoops.get(DType.F32, weights, n) * ScalarLoops.get(DType.F32, errors, n);
      }
      ScalarLoops.set(DType.F32, mean, 0, (float) (sum / count));
    };
  }

  private static double squares(
      CpuDevice d, DType type, MemorySegment p, MemorySegment t, long first, int count) {
    Blocks block = Blocks.own();
    double sum = 0;
    for (int at = 0; at < count; at += Blocks.SIZE) {
      int n = Math.min(Blocks.SIZE, count - at);
      d.loops().load(type, p, first + at, block.a, 0, n);
      d.loops().load(DType.F32, t, first + at, block.b, 0, n);
      subtract(block.a, block.b, n);
      sum += d.loops().squaredNorm(block.a, 0, n);
    }
    return sum;
  }

  private static void subtract(float[] a, float[] b, int n) {
    for (int i = 0; i < n; i++) {
      a[i] -= b[i];
    }
  }

  private static void scale(float[] a, float factor, int n) {
    for (int i = 0; i < n; i++) {
      a[i] *= factor;
    }
  }

  static Launch squaredErrorBackward(
      CpuDevice d, SquaredErrorBackward op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment prediction = d.segment(in.get(0));
    MemorySegment target = d.segment(in.get(1));
    MemorySegment weights = d.segment(in.get(2));
    MemorySegment dmean = d.segment(in.get(3));
    MemorySegment dp = d.segment(out.getFirst());
    int count = in.get(0).shape().dim(0);
    int elements = in.get(0).elements();
    int image = elements / count;
    return () ->
        d.workers()
            .forRange(
                count,
                1,
                (from, to) -> {
                  Blocks block = Blocks.own();
                  for (int n = from; n < to; n++) {
                    float factor =
                        (float)
                            (2.0
                                * ScalarLoops.get(DType.F32, weights, n)
                                * ScalarLoops.get(DType.F32, dmean, 0)
                                / elements);
                    for (int at = 0; at < image; at += Blocks.SIZE) {
                      long first = (long) n * image + at;
                      int size = Math.min(Blocks.SIZE, image - at);
                      d.loops().load(type, prediction, first, block.a, 0, size);
                      d.loops().load(DType.F32, target, first, block.b, 0, size);
                      subtract(block.a, block.b, size);
                      scale(block.a, factor, size);
                      d.loops().store(type, block.a, 0, dp, first, size);
                    }
                  }
                });
  }

  static Launch sinusoidalEmbedding(
      CpuDevice d, SinusoidalEmbedding op, List<Tensor> in, List<Tensor> out) {
    MemorySegment times = d.segment(in.getFirst());
    MemorySegment y = d.segment(out.getFirst());
    int count = in.getFirst().elements();
    int half = op.channels() / 2;
    double[] frequencies = new double[half];
    for (int i = 0; i < half; i++) {
      frequencies[i] = Math.exp(-i * op.decay());
    }
    return () -> {
      for (int n = 0; n < count; n++) {
        double t = ScalarLoops.get(DType.F32, times, n);
        long at = (long) n * op.channels();
        for (int i = 0; i < half; i++) {
          float sine = (float) Math.sin(t * frequencies[i]);
          float cosine = (float) Math.cos(t * frequencies[i]);
          ScalarLoops.set(op.type(), y, at + i, op.cosineFirst() ? cosine : sine);
          ScalarLoops.set(op.type(), y, at + half + i, op.cosineFirst() ? sine : cosine);
        }
      }
    };
  }
}
