package dev.gatun.engine.cpu;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;

/**
 * Where a lane keeps a value of the network: of a value by rows its latest row; of one by pixels
 * its latest pixel or, where convolutions read it, the windows that they read.
 *
 * <p>Letters: N images of the lane, W columns, C channels.
 */
final class CausalPlace implements AutoCloseable {
  /**
   * The rows that a convolution reads, side by side: (N, W + padding, R, C) for each of its output
   * rows, so that what one output reads is contiguous. A pixel is written once for each of the R
   * output rows that will read it.
   */
  final class Window {
    final int rows;
    private int left;
    private int right;
    private List<Tensor> planes;
    private MemorySegment[] segments;

    private Window(int rows) {
      this.rows = rows;
    }

    private int width() {
      return columns + left + right;
    }

    /** Elements from one image to the next. */
    long stride() {
      return (long) width() * rows * channels;
    }

    private void allocate(Device device) {
      // one more than are read at a time: the next row begins before the last is read to its end
      planes = new ArrayList<>();
      for (int i = 0; i <= rows; i++) {
        planes.add(own(Tensor.allocate(device, type, images, width(), rows, channels)));
      }
      segments = planes.stream().map(lane::segment).toArray(MemorySegment[]::new);
    }

    /** What output row {@code row} reads. */
    MemorySegment plane(int row) {
      return segments[row % segments.length];
    }

    /** The element at which a column begins, {@code slot} 0 being the uppermost row. */
    long offset(int column, int slot) {
      return ((long) (column + left) * rows + slot) * channels;
    }
  }

  final DType type;
  final int images;
  final int height;
  final int columns;
  final int channels;
  final boolean byRows;

  private final CpuDevice lane;
  private final List<Tensor> owned = new ArrayList<>();
  private final List<Window> windows = new ArrayList<>();
  private final List<RowWindow> rowWindows = new ArrayList<>();
  private Tensor latest; // (N, 1, W, C) by rows, (N, C) by pixels
  private MemorySegment latestSegment;

  CausalPlace(CpuDevice lane, TensorSpec spec, boolean byRows) {
    this.lane = lane;
    this.byRows = byRows;
    Shape shape = spec.shape();
    type = spec.dtype();
    images = shape.dim(0);
    height = shape.dim(1);
    columns = shape.dim(2);
    channels = shape.dim(3);
  }

  private Tensor own(Tensor tensor) {
    owned.add(tensor);
    return tensor;
  }

  /** Asks for a window of a value by pixels, before {@link #allocate}. */
  Window window(int rows, int left, int right) {
    Window found =
        windows.stream().filter(w -> w.rows == rows).findFirst().orElseGet(() -> add(rows));
    found.left = Math.max(found.left, left);
    found.right = Math.max(found.right, right);
    return found;
  }

  /** The smallest window asked for so far with at least so many rows, or a new one. */
  Window anyWindow(int rows) {
    return windows.stream()
        .filter(w -> w.rows >= rows)
        .min((a, b) -> Integer.compare(a.rows, b.rows))
        .orElseGet(() -> add(rows));
  }

  private Window add(int rows) {
    Window window = new Window(rows);
    windows.add(window);
    return window;
  }

  /** The latest R rows of a value by rows, (N, R, W, C). */
  private record RowWindow(Tensor rows, MemorySegment segment) {}

  /** A tensor that always holds the latest rows of a value by rows, the last one lowest. */
  Tensor latestRows(int rows) {
    if (rows == 1) {
      return latest;
    }
    for (RowWindow window : rowWindows) {
      if (window.rows.shape().dim(1) == rows) {
        return window.rows;
      }
    }
    Tensor tensor = own(Tensor.allocate(lane, type, images, rows, columns, channels));
    rowWindows.add(new RowWindow(tensor, lane.segment(tensor)));
    return tensor;
  }

  void allocate() {
    if (byRows) {
      latest = own(Tensor.allocate(lane, type, images, 1, columns, channels));
    } else if (windows.isEmpty()) {
      latest = own(Tensor.allocate(lane, type, images, channels));
    } else {
      windows.forEach(w -> w.allocate(lane));
      return;
    }
    latestSegment = lane.segment(latest);
  }

  /** The memory in which the pixel at a position lies. */
  MemorySegment segment(int row) {
    return latest == null ? windows.getFirst().plane(row) : latestSegment;
  }

  /** The element at which the first image's pixel lies. */
  long offset(int column) {
    if (latest == null) {
      Window window = windows.getFirst();
      return window.offset(column, window.rows - 1);
    }
    return byRows ? (long) column * channels : 0;
  }

  /** Elements from one image's pixel to the next's. */
  long stride() {
    if (latest == null) {
      return windows.getFirst().stride();
    }
    return byRows ? (long) columns * channels : channels;
  }

  /** Whether only the latest pixel is kept. */
  boolean forgets() {
    return !byRows && windows.isEmpty();
  }

  /** Whether rows above the latest are kept too. */
  boolean hasRowWindows() {
    return !rowWindows.isEmpty();
  }

  /**
   * How many rows may be begun after one before its pixels are overwritten where {@link #segment}
   * says they are.
   */
  int keptRows() {
    return windows.getFirst().rows;
  }

  /** Rounds the same channels of all images' pixel into every place where it will be read. */
  void store(float[] block, int firstImage, int count, int row, int column, int channel, int n) {
    if (latest != null) {
      lane.loops()
          .storeRows(
              type,
              block,
              latestSegment,
              offset(column) + firstImage * stride() + channel,
              stride(),
              count,
              n);
      return;
    }
    for (Window window : windows) {
      for (int k = 0; k < window.rows && row + k < height; k++) {
        lane.loops()
            .storeRows(
                type,
                block,
                window.plane(row + k),
                window.offset(column, window.rows - 1 - k) + firstImage * window.stride() + channel,
                window.stride(),
                count,
                n);
      }
    }
  }

  /** Sets a channel of all pixels of the rows that are to come, which a clear has left zero. */
  void preset(int channel, float value) {
    float[] block = new float[images];
    java.util.Arrays.fill(block, value);
    if (latest != null) {
      store(block, 0, images, 0, 0, channel, 1);
      return;
    }
    for (Window window : windows) {
      for (int plane = 0; plane <= window.rows; plane++) {
        for (int column = 0; column < columns; column++) {
          lane.loops()
              .storeRows(
                  type,
                  block,
                  window.plane(plane),
                  window.offset(column, window.rows - 1) + channel,
                  window.stride(),
                  images,
                  1);
        }
      }
    }
  }

  /** Copies a pixel, written where {@link #segment} says, to every other place. */
  void spread(int row, int column, int channel, int n) {
    if (latest != null) {
      return;
    }
    for (int i = 0; i < windows.size(); i++) {
      Window window = windows.get(i);
      for (int k = i == 0 ? 1 : 0; k < window.rows && row + k < height; k++) {
        copy(
            segment(row),
            offset(column) + channel,
            stride(),
            window.plane(row + k),
            window.offset(column, window.rows - 1 - k) + channel,
            window.stride(),
            n);
      }
    }
  }

  /** Copies n elements of each image. */
  void copy(
      MemorySegment from,
      long offset,
      long stride,
      MemorySegment to,
      long toOffset,
      long toStride,
      int n) {
    int size = type.bytes();
    for (int i = 0; i < images; i++) {
      MemorySegment.copy(
          from,
          (offset + i * stride) * size,
          to,
          (toOffset + i * toStride) * size,
          (long) n * size);
    }
  }

  /** The latest row, just written, becomes the lowest of every row window. */
  void pushRow() {
    long rowBytes = (long) columns * channels * type.bytes();
    for (RowWindow window : rowWindows) {
      int rows = window.rows.shape().dim(1);
      for (int i = 0; i < images; i++) {
        long at = i * rows * rowBytes;
        MemorySegment.copy(
            window.segment, at + rowBytes, window.segment, at, (rows - 1) * rowBytes);
        MemorySegment.copy(
            latestSegment, i * rowBytes, window.segment, at + (rows - 1) * rowBytes, rowBytes);
      }
    }
  }

  /** The latest row's tensor. */
  Tensor latest() {
    return latest;
  }

  /** Forgets everything: what lies outside the image reads as zeros. */
  void clear() {
    for (Tensor tensor : owned) {
      lane.segment(tensor).fill((byte) 0);
    }
  }

  @Override
  public void close() {
    owned.forEach(Tensor::close);
    owned.clear();
  }
}
