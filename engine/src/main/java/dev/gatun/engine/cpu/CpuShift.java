package dev.gatun.engine.cpu;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Concat;
import dev.gatun.engine.op.ReverseChannels;
import dev.gatun.engine.op.Shift;
import dev.gatun.engine.op.Split;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Moves pixels, what stays together of a row or of a pixel at a time. */
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

  static Launch reverseChannels(
      CpuDevice d, ReverseChannels op, List<Tensor> in, List<Tensor> out) {
    DType type = in.getFirst().dtype();
    MemorySegment x = d.segment(in.getFirst());
    MemorySegment y = d.segment(out.getFirst());
    int channels = in.getFirst().shape().dim(-1);
    return () ->
        d.workers()
            .forRange(
                in.getFirst().shape().rows(),
                64,
                (from, to) -> {
                  for (long row = from; row < to; row++) {
                    long last = (row + 1) * channels - 1;
                    for (int c = 0; c < channels; c++) {
                      float value = ScalarLoops.get(type, x, last - c);
                      ScalarLoops.set(type, y, row * channels + c, value);
                    }
                  }
                });
  }

  static Launch concat(CpuDevice d, Concat op, List<Tensor> in, List<Tensor> out) {
    return channels(d, out.getFirst(), in.get(0), in.get(1), true);
  }

  static Launch split(CpuDevice d, Split op, List<Tensor> in, List<Tensor> out) {
    return channels(d, in.getFirst(), out.get(0), out.get(1), false);
  }

  /** Between a tensor and the two whose channels lie side by side in it. */
  private static Launch channels(CpuDevice d, Tensor both, Tensor a, Tensor b, boolean join) {
    MemorySegment[] parts = {d.segment(a), d.segment(b)};
    MemorySegment whole = d.segment(both);
    long bytes = both.dtype().bytes();
    long[] widths = {bytes * a.shape().dim(-1), bytes * b.shape().dim(-1)};
    long rowBytes = widths[0] + widths[1];
    return () ->
        d.workers()
            .forRange(
                both.shape().rows(),
                64,
                (from, to) -> {
                  for (long row = from; row < to; row++) {
                    long at = row * rowBytes;
                    for (int i = 0; i < 2; i++) {
                      long own = row * widths[i];
                      if (join) {
                        MemorySegment.copy(parts[i], own, whole, at, widths[i]);
                      } else {
                        MemorySegment.copy(whole, at, parts[i], own, widths[i]);
                      }
                      at += widths[i];
                    }
                  }
                });
  }
}
