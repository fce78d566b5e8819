package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import dev.gatun.engine.Launch;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.SelectRow;
import dev.gatun.engine.op.SelectRowBackward;
import dev.gatun.engine.op.ShiftColumns;
import dev.gatun.engine.op.ShiftRows;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Ops that move whole rows or columns of images. */
final class CpuRows {
  private CpuRows() {}

  static Launch selectRow(CpuDevice d, SelectRow op, List<Tensor> in, List<Tensor> out) {
    return rows(d, in.get(0), d.segment(in.get(1)), out.get(0), true);
  }

  static Launch selectRowBackward(
      CpuDevice d, SelectRowBackward op, List<Tensor> in, List<Tensor> out) {
    Launch copy = rows(d, out.get(0), d.segment(in.get(1)), in.get(0), false);
    MemorySegment dx = d.segment(out.get(0));
    return () -> {
      dx.fill((byte) 0);
      copy.run();
    };
  }

  /** Copies between one row of each image and a tensor of single rows, one way or the other. */
  private static Launch rows(
      CpuDevice d, Tensor images, MemorySegment row, Tensor single, boolean out) {
    MemorySegment whole = d.segment(images);
    MemorySegment part = d.segment(single);
    Shape shape = images.shape();
    long rowBytes = (long) shape.dim(2) * shape.dim(3) * images.dtype().bytes();
    return () -> {
      int index = row.get(JAVA_INT_UNALIGNED, 0);
      if (index < 0 || index >= shape.dim(1)) {
        throw new IndexOutOfBoundsException("select_row: row " + index + " of images " + shape);
      }
      for (int n = 0; n < shape.dim(0); n++) {
        long at = ((long) n * shape.dim(1) + index) * rowBytes;
        if (out) {
          MemorySegment.copy(whole, at, part, n * rowBytes, rowBytes);
        } else {
          MemorySegment.copy(part, n * rowBytes, whole, at, rowBytes);
        }
      }
    };
  }

  static Launch shiftRows(CpuDevice d, ShiftRows op, List<Tensor> in, List<Tensor> out) {
    MemorySegment x = d.segment(in.get(0));
    MemorySegment y = d.segment(out.get(0));
    Shape shape = in.get(0).shape();
    long rowBytes = (long) shape.dim(2) * shape.dim(3) * in.get(0).dtype().bytes();
    long imageBytes = rowBytes * shape.dim(1);
    long moved = Math.min(imageBytes, Math.abs(op.rows()) * rowBytes);
    long kept = imageBytes - moved;
    return () ->
        d.workers()
            .forRange(
                shape.dim(0),
                1,
                (from, to) -> {
                  long at = from * imageBytes;
                  MemorySegment.copy(
                      x,
                      at + (op.rows() < 0 ? moved : 0),
                      y,
                      at + (op.rows() < 0 ? 0 : moved),
                      kept);
                  y.asSlice(at + (op.rows() < 0 ? kept : 0), moved).fill((byte) 0);
                });
  }

  static Launch shiftColumns(CpuDevice d, ShiftColumns op, List<Tensor> in, List<Tensor> out) {
    MemorySegment x = d.segment(in.get(0));
    MemorySegment y = d.segment(out.get(0));
    Shape shape = in.get(0).shape();
    long pixelBytes = (long) shape.dim(3) * in.get(0).dtype().bytes();
    long rowBytes = pixelBytes * shape.dim(2);
    long moved = Math.min(rowBytes, Math.abs((long) op.columns()) * pixelBytes);
    long kept = rowBytes - moved;
    boolean left = op.columns() < 0;
    return () ->
        d.workers()
            .forRange(
                shape.dim(0) * shape.dim(1),
                16,
                (from, to) -> {
                  for (int row = from; row < to; row++) {
                    long at = row * rowBytes;
                    MemorySegment.copy(
                        x, at + (left ? moved : 0), y, at + (left ? 0 : moved), kept);
                    y.asSlice(at + (left ? kept : 0), moved).fill((byte) 0);
                  }
                });
  }
}
