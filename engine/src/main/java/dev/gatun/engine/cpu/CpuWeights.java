package dev.gatun.engine.cpu;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.FoldUpsampling;
import dev.gatun.engine.op.FoldUpsamplingBackward;
import dev.gatun.engine.op.MaskChannels;
import dev.gatun.engine.op.WeightNorm;
import dev.gatun.engine.op.WeightNormBackward;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/** Ops that make one tensor of weights of another. */
final class CpuWeights {
  private CpuWeights() {}

  static Launch weightNorm(CpuDevice d, WeightNorm op, List<Tensor> in, List<Tensor> out) {
    MemorySegment v = d.segment(in.get(0));
    MemorySegment g = d.segment(in.get(1));
    MemorySegment w = d.segment(out.get(0));
    Sums sums = new Sums(d, op.axis(), in.get(0).shape());
    float[] factors = new float[in.get(1).elements()];
    float[] none = new float[factors.length];
    return () -> {
      double[] squares = sums.of(v, v);
      for (int i = 0; i < factors.length; i++) {
        double norm = Math.sqrt(Math.max(squares[i], WeightNorm.LEAST));
        factors[i] = (float) (ScalarLoops.get(DType.F32, g, i) / norm);
      }
      sums.combine(v, factors, v, none, w);
    };
  }

  static Launch weightNormBackward(
      CpuDevice d, WeightNormBackward op, List<Tensor> in, List<Tensor> out) {
    MemorySegment v = d.segment(in.get(0));
    MemorySegment g = d.segment(in.get(1));
    MemorySegment dw = d.segment(in.get(2));
    MemorySegment dv = d.segment(out.get(0));
    MemorySegment dg = d.segment(out.get(1));
    Sums sums = new Sums(d, op.axis(), in.get(0).shape());
    int n = in.get(1).elements();
    float[] ofDw = new float[n];
    float[] ofV = new float[n];
    double[] squares = new double[n];
    return () -> {
      System.arraycopy(sums.of(v, v), 0, squares, 0, n);
      double[] dots = sums.of(dw, v);
      for (int i = 0; i < n; i++) {
        double norm = Math.sqrt(Math.max(squares[i], WeightNorm.LEAST));
        double slope = dots[i] / norm;
        double scale = ScalarLoops.get(DType.F32, g, i) / norm;
        ScalarLoops.set(DType.F32, dg, i, (float) slope);
        ofDw[i] = (float) scale;
        ofV[i] = squares[i] > WeightNorm.LEAST ? (float) (-scale * slope / norm) : 0;
      }
      sums.combine(dw, ofDw, v, ofV, dv);
    };
  }

  /** Sums over, and products with one factor for each index of, axis 1 or 2 of [T,C,K] weights. */
  private static final class Sums {
    // rows that one sum is made of before sums are added to each other: fixed, so that the result
    // does not depend on the number of workers
    private static final int ROWS = 64;

    final CpuDevice d;
    final boolean inner;
    final int rows;
    final int channels;
    final int width;
    final double[][] parts;
    final double[] totals;

    Sums(CpuDevice d, int axis, Shape v) {
      this.d = d;
      inner = axis == 2;
      channels = v.dim(1);
      width = v.dim(2);
      rows = v.dim(0) * channels;
      parts = inner ? new double[Math.ceilDiv(rows, ROWS)][width] : new double[1][rows];
      totals = new double[inner ? width : channels];
    }

    /** Rows of two tensors in a block's a and b. */
    private interface Body {
      void run(Blocks block, int row, int column, int rows, int n);
    }

    /** Pieces do not reach over a multiple of {@link #ROWS}. */
    private void forEach(MemorySegment a, MemorySegment b, Body body) {
      Pieces.Body loaded =
          (row, column, count, n) -> {
            Blocks block = Blocks.own();
            long at = (long) row * width + column;
            d.loops().load(DType.F32, a, at, block.a, 0, count * n);
            d.loops().load(DType.F32, b, at, block.b, 0, count * n);
            body.run(block, row, column, count, n);
          };
      d.workers().forRange(rows, ROWS, (from, to) -> Pieces.forEach(from, to, width, loaded));
    }

    /** The sums of a * b; the array is this object's own. */
    double[] of(MemorySegment a, MemorySegment b) {
      for (double[] part : parts) {
        Arrays.fill(part, 0);
      }
      forEach(
          a,
          b,
          (block, row, column, count, n) -> {
            for (int r = 0; r < count; r++) {
              if (inner) {
                products(parts[row / ROWS], column, block.a, block.b, r * n, n);
              } else {
                parts[0][row + r] += dot(block.a, block.b, r * n, n);
              }
            }
          });
      Arrays.fill(totals, 0);
      for (double[] part : parts) {
        for (int i = 0; i < part.length; i++) {
          totals[inner ? i : i % channels] += part[i];
        }
      }
      return totals;
    }

    private static void products(double[] sums, int at, float[] a, float[] b, int from, int n) {
      for (int i = 0; i < n; i++) {
        sums[at + i] += (double) a[from + i] * b[from + i];
      }
    }

    private static double dot(float[] a, float[] b, int from, int n) {
      double sum = 0;
      for (int i = from; i < from + n; i++) {
        sum += (double) a[i] * b[i];
      }
      return sum;
    }

    /** target = a * ofA + b * ofB. */
    void combine(MemorySegment a, float[] ofA, MemorySegment b, float[] ofB, MemorySegment target) {
      forEach(
          a,
          b,
          (block, row, column, count, n) -> {
            for (int r = 0; r < count; r++) {
              if (inner) {
                byColumn(block.a, ofA, block.b, ofB, r * n, column, n);
              } else {
                int c = (row + r) % channels;
                byRow(block.a, ofA[c], block.b, ofB[c], r * n, n);
              }
            }
            long at = (long) row * width + column;
            d.loops().store(DType.F32, block.a, 0, target, at, count * n);
          });
    }

    private static void byColumn(
        float[] a, float[] ofA, float[] b, float[] ofB, int at, int column, int n) {
      for (int i = 0; i < n; i++) {
        a[at + i] = a[at + i] * ofA[column + i] + b[at + i] * ofB[column + i];
      }
    }

    private static void byRow(float[] a, float ofA, float[] b, float ofB, int at, int n) {
      for (int i = at; i < at + n; i++) {
        a[i] = a[i] * ofA + b[i] * ofB;
      }
    }
  }

  static Launch foldUpsampling(CpuDevice d, FoldUpsampling op, List<Tensor> in, List<Tensor> out) {
    int[][] taps = new int[16][];
    for (int t = 0; t < taps.length; t++) {
      int dy = t / 4;
      int dx = t % 4;
      taps[t] =
          box(
              FoldUpsampling.first(dy),
              FoldUpsampling.last(dy),
              FoldUpsampling.first(dx),
              FoldUpsampling.last(dx),
              3);
    }
    return transposedSums(d, in.getFirst(), taps, out.getFirst());
  }

  static Launch foldUpsamplingBackward(
      CpuDevice d, FoldUpsamplingBackward op, List<Tensor> in, List<Tensor> out) {
    int[][] taps = new int[9][]; // those that this one is a part of
    for (int t = 0; t < taps.length; t++) {
      int a = t / 3;
      int b = t % 3;
      taps[t] = box(2 - a, 3 - a, 2 - b, 3 - b, 4);
    }
    return transposedSums(d, in.getFirst(), taps, out.getFirst());
  }

  /** Some rows and columns of a kernel so wide. */
  private static int[] box(int top, int bottom, int left, int right, int width) {
    return IntStream.rangeClosed(top, bottom)
        .flatMap(y -> IntStream.rangeClosed(left, right).map(x -> y * width + x))
        .toArray();
  }

  /** Rows that are transposed together: what is written of one column is half a cache line. */
  private static final int ROWS = 8;

  /** y[t,k,c] = the sum of x[s,c,k] over the s in taps[t]. */
  private static Launch transposedSums(CpuDevice d, Tensor in, int[][] taps, Tensor out) {
    MemorySegment x = d.segment(in);
    MemorySegment y = d.segment(out);
    int rows = in.shape().dim(1);
    int columns = in.shape().dim(2);
    int pieces = Math.ceilDiv(rows, ROWS);
    return () ->
        d.workers()
            .forRange(
                taps.length * pieces,
                4,
                (from, to) -> {
                  for (int i = from; i < to; i++) {
                    int t = i / pieces;
                    int row = i % pieces * ROWS;
                    for (int column = 0; column < columns; column += Blocks.SIZE / ROWS) {
                      int n = Math.min(Blocks.SIZE / ROWS, columns - column);
                      int height = Math.min(ROWS, rows - row);
                      float[] sums = Blocks.own().c;
                      for (int r = 0; r < height; r++) {
                        long at = (long) (row + r) * columns + column;
                        float[] sum = sum(d, x, at, rows * columns, taps[t], n);
                        for (int k = 0; k < n; k++) {
                          sums[k * height + r] = sum[k];
                        }
                      }
                      for (int k = 0; k < n; k++) {
                        long at = ((long) t * columns + column + k) * rows + row;
                        d.loops().store(DType.F32, sums, k * height, y, at, height);
                      }
                    }
                  }
                });
  }

  private static float[] sum(
      CpuDevice d, MemorySegment x, long at, int tapElements, int[] taps, int n) {
    Blocks block = Blocks.own();
    d.loops().load(DType.F32, x, at + (long) taps[0] * tapElements, block.a, 0, n);
    for (int i = 1; i < taps.length; i++) {
      d.loops().load(DType.F32, x, at + (long) taps[i] * tapElements, block.b, 0, n);
      Arithmetic.add(block.a, block.b, n);
    }
    return block.a;
  }

  static Launch maskChannels(CpuDevice d, MaskChannels op, List<Tensor> in, List<Tensor> out) {
    MemorySegment w = d.segment(in.get(0));
    MemorySegment masked = d.segment(out.get(0));
    Shape shape = in.get(0).shape();
    int channels = shape.dim(1);
    int width = shape.dim(2);
    int inputsPerColour = (channels - op.free()) / op.colours();
    int outputsPerColour = width / op.colours();
    long first = (long) op.centre() * channels;
    return () -> {
      masked.copyFrom(w);
      for (int c = 0; c < channels - op.free(); c++) {
        // colours that may not see this one come first, so what becomes zero lies together
        int hidden = (c / inputsPerColour + (op.strict() ? 1 : 0)) * outputsPerColour;
        masked
            .asSlice((first + c) * width * Float.BYTES, (long) hidden * Float.BYTES)
            .fill((byte) 0);
      }
    };
  }
}
