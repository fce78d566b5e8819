package dev.gatun.engine.cpu;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Resample;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Images of twice or half the size, a row of the small ones at a time. */
final class CpuResample {
  private CpuResample() {}

  static Launch resample(CpuDevice d, Resample op, List<Tensor> in, List<Tensor> out) {
    boolean up = op.direction() == Resample.Direction.UP;
    Shape small = (up ? in : out).getFirst().shape();
    Rows rows = new Rows(d, op, in.getFirst(), out.getFirst());
    return () ->
        d.workers()
            .forRange(
                small.dim(0) * small.dim(1),
                1,
                (from, to) -> {
                  for (int row = from; row < to; row++) {
                    if (up) {
                      rows.up(row);
                    } else {
                      rows.down(row);
                    }
                  }
                });
  }

  /** Rows of the small images, those of all of them counted; row r has rows 2r and 2r+1. */
  private static final class Rows {
    final Loops loops;
    final DType type;
    final MemorySegment x;
    final MemorySegment y;
    final float factor;
    final int channels;
    final int width; // of the small images

    Rows(CpuDevice d, Resample op, Tensor in, Tensor out) {
      loops = d.loops();
      type = in.dtype();
      x = d.segment(in);
      y = d.segment(out);
      factor = op.factor();
      channels = in.shape().dim(3);
      width = Math.min(in.shape().dim(2), out.shape().dim(2));
    }

    void up(int row) {
      long wide = 2L * width * channels;
      Pieces.forEach(
          0,
          width,
          channels,
          (pixel, c, n, w) -> {
            Blocks block = Blocks.own();
            loops.loadRows(
                type, x, ((long) row * width + pixel) * channels + c, channels, block.a, n, w);
            scale(block.a, factor, n * w);
            long to = 2 * row * wide + 2L * pixel * channels + c;
            for (long at : new long[] {to, to + channels, to + wide, to + wide + channels}) {
              loops.storeRows(type, block.a, y, at, 2L * channels, n, w);
            }
          });
    }

    void down(int row) {
      long wide = 2L * width * channels;
      Pieces.forEach(
          0,
          width,
          channels,
          (pixel, c, n, w) -> {
            Blocks block = Blocks.own();
            long from = 2 * row * wide + 2L * pixel * channels + c;
            loops.loadRows(type, x, from, 2L * channels, block.a, n, w);
            for (long at : new long[] {from + channels, from + wide, from + wide + channels}) {
              loops.loadRows(type, x, at, 2L * channels, block.b, n, w);
              Arithmetic.add(block.a, block.b, n * w);
            }
            scale(block.a, factor, n * w);
            loops.storeRows(
                type, block.a, y, ((long) row * width + pixel) * channels + c, channels, n, w);
          });
    }

    private static void scale(float[] x, float by, int n) {
      for (int i = 0; i < n; i++) {
        x[i] *= by;
      }
    }
  }
}
