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
    MemorySegment w = d.segment(in.getFirst());
    MemorySegment y = d.segment(out.getFirst());
    int channels = in.getFirst().shape().dim(1);
    int filters = in.getFirst().shape().dim(2);
    return () ->
        d.workers()
            .forRange(
                16 * filters,
                4,
                (from, to) -> {
                  for (int row = from; row < to; row++) {
                    int k = row % filters;
                    int dy = row / filters / 4;
                    int dx = row / filters % 4;
                    for (int c = 0; c < channels; c++) {
                      float sum = 0;
                      for (int a = FoldUpsampling.first(dy); a <= FoldUpsampling.last(dy); a++) {
                        for (int b = FoldUpsampling.first(dx); b <= FoldUpsampling.last(dx); b++) {
                          long at = ((long) (a * 3 + b) * channels + c) * filters + k;
                          sum += ScalarLoops.get(DType.F32, w, at);
                        }
                      }
                      ScalarLoops.set(DType.F32, y, (long) row * channels + c, sum);
                    }
                  }
                });
  }

  static Launch foldUpsamplingBackward(
      CpuDevice d, FoldUpsamplingBackward op, List<Tensor> in, List<Tensor> out) {
    MemorySegment dy = d.segment(in.getFirst());
    MemorySegment dw = d.segment(out.getFirst());
    int filters = in.getFirst().shape().dim(1);
    int channels = in.getFirst().shape().dim(2);
    return () ->
        d.workers()
            .forRange(
                9 * channels,
                4,
                (from, to) -> {
                  for (int row = from; row < to; row++) {
                    int c = row % channels;
                    int a = row / channels / 3;
                    int b = row / channels % 3;
                    for (int k = 0; k < filters; k++) {
                      float sum = 0;
                      // the taps that this one is a part of
                      for (int e = 2 - a; e <= 3 - a; e++) {
                        for (int f = 2 - b; f <= 3 - b; f++) {
                          long at = ((long) (e * 4 + f) * filters + k) * channels + c;
                          sum += ScalarLoops.get(DType.F32, dy, at);
                        }
                      }
                      ScalarLoops.set(DType.F32, dw, (long) row * filters + k, sum);
                    }
                  }
                });
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
