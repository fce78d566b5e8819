package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.CodeVectors;
import dev.gatun.engine.op.Codebook;
import dev.gatun.engine.op.CodebookSums;
import dev.gatun.engine.op.MovingAverage;
import dev.gatun.engine.op.VectorQuantize;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;

/** Vectors, the codes nearest to them, and how a codebook follows its vectors. */
final class CpuVectorQuantize {
  /** Vectors that a worker takes at once. */
  private static final int BLOCK = 16;

  private CpuVectorQuantize() {}

  static Launch vectorQuantize(CpuDevice d, VectorQuantize op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment z = d.segment(in.get(0));
    MemorySegment codebook = d.segment(in.get(1));
    MemorySegment quantized = d.segment(out.get(0));
    MemorySegment indices = d.segment(out.get(1));
    int codes = in.get(1).shape().dim(0);
    int channels = in.get(1).shape().dim(1);
    float[] rows = new float[codes * channels];
    double[] columns = new double[channels * codes]; // [D,K]
    float[] none = new float[channels];
    Arrays.fill(none, Float.NaN);
    return () -> {
      d.loops().load(DType.F32, codebook, 0, rows, 0, rows.length);
      for (int i = 0; i < rows.length; i++) {
        columns[i % channels * codes + i / channels] = rows[i];
      }
      d.workers()
          .forRange(
              in.get(0).shape().rows(),
              BLOCK,
              (from, to) -> {
                float[] vector = new float[channels];
                double[] distances = new double[codes];
                for (int row = from; row < to; row++) {
                  long at = (long) row * channels;
                  d.loops().load(type, z, at, vector, 0, channels);
                  Arrays.fill(distances, 0);
                  addSquares(distances, vector, columns);
                  int nearest = nearest(distances);
                  if (nearest < 0) {
                    d.loops().store(type, none, 0, quantized, at, channels);
                  } else {
                    d.loops().store(type, rows, nearest * channels, quantized, at, channels);
                  }
                  indices.set(JAVA_BYTE, row, (byte) Math.max(0, nearest));
                }
              });
    };
  }

  // along the codes and not the channels: each sum keeps its order, and the loops are vectorized.
  // Four channels at once, since the sums are what is read and written most
  private static void addSquares(double[] sums, float[] vector, double[] columns) {
    int codes = sums.length;
    int c = 0;
    for (; c + 4 <= vector.length; c += 4) {
      addSquares(sums, vector, columns, c, c * codes);
    }
    for (; c < vector.length; c++) {
      for (int k = 0; k < codes; k++) {
        double difference = vector[c] - columns[c * codes + k];
        sums[k] += difference * difference;
      }
    }
  }

  private static void addSquares(double[] sums, float[] z, double[] columns, int c, int at) {
    int codes = sums.length;
    double z0 = z[c];
    double z1 = z[c + 1];
    double z2 = z[c + 2];
    double z3 = z[c + 3];
    for (int k = 0; k < codes; k++) {
      double d0 = z0 - columns[at + k];
      double d1 = z1 - columns[at + codes + k];
      double d2 = z2 - columns[at + 2 * codes + k];
      double d3 = z3 - columns[at + 3 * codes + k];
      sums[k] = sums[k] + d0 * d0 + d1 * d1 + d2 * d2 + d3 * d3;
    }
  }

  /** The first of the least; -1 where one is not finite. */
  private static int nearest(double[] distances) {
    int nearest = 0;
    double all = 0;
    for (int k = 0; k < distances.length; k++) {
      all += distances[k];
      if (distances[k] < distances[nearest]) {
        nearest = k;
      }
    }
    return all < Double.POSITIVE_INFINITY ? nearest : -1;
  }

  private static int index(String op, MemorySegment indices, int position, int codes) {
    int index = indices.get(JAVA_BYTE, position) & 0xFF;
    if (index >= codes) {
      throw new IllegalArgumentException(
          op
              + ": index "
              + index
              + " at position "
              + position
              + ", but the codebook has "
              + codes
              + " codes");
    }
    return index;
  }

  static Launch codeVectors(CpuDevice d, CodeVectors op, List<Tensor> in, List<Tensor> out) {
    MemorySegment indices = d.segment(in.get(0));
    MemorySegment codebook = d.segment(in.get(1));
    MemorySegment y = d.segment(out.getFirst());
    int codes = in.get(1).shape().dim(0);
    int channels = in.get(1).shape().dim(1);
    float[] rows = new float[codes * channels];
    return () -> {
      d.loops().load(DType.F32, codebook, 0, rows, 0, rows.length);
      d.workers()
          .forRange(
              in.get(0).elements(),
              BLOCK,
              (from, to) -> {
                for (int p = from; p < to; p++) {
                  int code = index(op.name(), indices, p, codes);
                  long at = (long) p * channels;
                  d.loops().store(op.type(), rows, code * channels, y, at, channels);
                }
              });
    };
  }

  static Launch codebookSums(CpuDevice d, CodebookSums op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment z = d.segment(in.get(0));
    MemorySegment indices = d.segment(in.get(1));
    MemorySegment y = d.segment(out.getFirst());
    int channels = in.get(0).shape().dim(-1);
    double[] sums = new double[op.codes() * (channels + 1)];
    float[] vector = new float[channels];
    return () -> {
      Arrays.fill(sums, 0);
      for (int p = 0; p < in.get(1).elements(); p++) {
        int at = index(op.name(), indices, p, op.codes()) * (channels + 1);
        d.loops().load(type, z, (long) p * channels, vector, 0, channels);
        for (int c = 0; c < channels; c++) {
          sums[at + c] += vector[c];
        }
        sums[at + channels]++;
      }
      for (int i = 0; i < sums.length; i++) {
        ScalarLoops.set(DType.F32, y, i, (float) sums[i]);
      }
    };
  }

  static Launch movingAverage(CpuDevice d, MovingAverage op, List<Tensor> in, List<Tensor> out) {
    MemorySegment state = d.segment(in.get(0));
    MemorySegment x = d.segment(in.get(1));
    return () ->
        d.workers()
            .forRange(
                in.getFirst().elements(),
                Blocks.SIZE,
                (from, to) -> {
                  Blocks block = Blocks.own();
                  int n = to - from;
                  d.loops().load(DType.F32, state, from, block.a, 0, n);
                  d.loops().load(DType.F32, x, from, block.b, 0, n);
                  average(op.decay(), block.a, block.b, n);
                  d.loops().store(DType.F32, block.a, 0, state, from, n);
                });
  }

  private static void average(double decay, float[] state, float[] x, int n) {
    for (int i = 0; i < n; i++) {
      state[i] = (float) (decay * state[i] + (1 - decay) * x[i]);
    }
  }

  static Launch codebook(CpuDevice d, Codebook op, List<Tensor> in, List<Tensor> out) {
    MemorySegment state = d.segment(in.getFirst());
    MemorySegment y = d.segment(out.getFirst());
    Shape shape = out.getFirst().shape();
    int codes = shape.dim(0);
    int channels = shape.dim(1);
    return () -> {
      double all = 0;
      for (int k = 0; k < codes; k++) {
        all += ScalarLoops.get(DType.F32, state, (k + 1L) * (channels + 1) - 1);
      }
      for (int k = 0; k < codes; k++) {
        long from = (long) k * (channels + 1);
        double own = ScalarLoops.get(DType.F32, state, from + channels);
        double count = (own + op.epsilon()) / (all + codes * op.epsilon()) * all;
        for (int c = 0; c < channels; c++) {
          double mean = ScalarLoops.get(DType.F32, state, from + c) / count;
          ScalarLoops.set(DType.F32, y, (long) k * channels + c, (float) mean);
        }
      }
    };
  }
}
