package dev.gatun.engine.cpu;

import dev.gatun.engine.Launch;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Shift;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Moves images, a row at a time: what stays of a row lies together. */
final class CpuShift {
  private CpuShift() {}

  static Launch shift(CpuDevice d, Shift op, List<Tensor> in, List<Tensor> out) {
    MemorySegment x = d.segment(in.get(0));
    MemorySegment y = d.segment(out.get(0));
    Shape shape = in.get(0).shape();
    int height = shape.dim(1);
    long pixelBytes = (long) shape.dim(3) * in.get(0).dtype().bytes();
    long rowBytes = pixelBytes * shape.dim(2);
    long empty = Math.min(rowBytes, Math.abs((long) op.columns()) * pixelBytes);
    long kept = rowBytes - empty;
    boolean left = op.columns() < 0;
    return () ->
        d.workers()
            .forRange(
                shape.dim(0) * height,
                16,
                (from, to) -> {
                  for (int row = from; row < to; row++) {
                    long at = row * rowBytes;
                    long source = (long) row % height - op.rows();
                    if (source < 0 || source >= height) {
                      y.asSlice(at, rowBytes).fill((byte) 0);
                      continue;
                    }
                    long read = at - op.rows() * rowBytes;
                    MemorySegment.copy(
                        x, read + (left ? empty : 0), y, at + (left ? 0 : empty), kept);
                    y.asSlice(at + (left ? kept : 0), empty).fill((byte) 0);
                  }
                });
  }
}
