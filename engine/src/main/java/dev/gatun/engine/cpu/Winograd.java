package dev.gatun.engine.cpu;

import static dev.gatun.ffi.onednn.OneDnn.dnnl_f32;

import dev.gatun.engine.DType;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Taps;
import dev.gatun.ffi.DnnlDesc;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Convolutions of 3x3 taps by Winograd's F(4x4,3x3): of each patch of 6x6 pixels come 4x4 outputs,
 * by 36 products of a pixel and a weight where plain sums take 144. Products of all patches at one
 * of the 36 places, over all channels, are one product of matrices. All of it is in f32; tensors in
 * bf16 are widened and rounded a row at a time, which pays where a core multiplies bf16 no more
 * than twice as fast.
 *
 * <p>Patches of a few rows of them go through memory that stays in the second cache: transformed,
 * multiplied, transformed back. All of that memory is the device's scratchpad.
 *
 * <p>Rounding errors are five to six times those of plain sums, and those of a patch's largest
 * pixels reach all of its outputs.
 *
 * @see "Lavin and Gray 2016, Fast Algorithms for Convolutional Neural Networks, section 4"
 */
abstract class Winograd implements Runnable {
  static final int TILE = 4;
  static final int PATCH = 6;
  static final int PLACES = PATCH * PATCH;
  private static final int VECTOR = 16;

  /** Fewer channels, and transforms cost more than products save. */
  private static final int LEAST_CHANNELS = 32;

  /** Fewer tiles, and what the weights' transform costs does. */
  private static final int LEAST_TILES = 128;

  private static final int LEAST_CHUNK_TILES = 64;

  /** In bf16: with tiles that reach further beyond the image it does not pay. */
  private static final double MOST_NARROW_WASTE = 1.2;

  /** But for weights' gradients it does from so many channels on. */
  private static final int LEAST_NARROW_CHANNELS = 64;

  /** Where otherwise threads would have nothing to do. */
  private static final int SMALL_CHUNK_TILES = 16;

  /** Weights that are transformed at a time. */
  static final int WEIGHTS = 512;

  final CpuDevice device;
  final TileLoops loops;
  final int images;
  final int height;
  final int width;
  final int down; // tiles of an image
  final int across;
  final int channels;
  final int filters;
  private long size; // of the scratch memory

  Winograd(CpuDevice device, Shape x, int filters) {
    this.device = device;
    this.filters = filters;
    loops = device.loops().tiles();
    images = x.dim(0);
    height = x.dim(1);
    width = x.dim(2);
    channels = x.dim(3);
    down = Math.ceilDiv(height, TILE);
    across = Math.ceilDiv(width, TILE);
  }

  /** Whether a convolution of stride 1, or its data gradient, can be computed so, and faster. */
  static boolean suits(CpuDevice device, Conv2d op, DType type, Shape x, int filters) {
    double computed = (double) tiles(x) * TILE * TILE;
    return canCompute(device, op, x, filters)
        && (type == DType.F32
            || device.multipliesBf16Slowly()
                && computed <= MOST_NARROW_WASTE * x.dim(0) * x.dim(1) * x.dim(2));
  }

  /** The same of its weights' gradient. */
  static boolean suitsWeights(CpuDevice device, Conv2d op, DType type, Shape x, int filters) {
    return suits(device, op, type, x, filters)
        || canCompute(device, op, x, filters)
            && device.multipliesBf16Slowly()
            && Math.min(x.dim(3), filters) >= LEAST_NARROW_CHANNELS;
  }

  private static int tiles(Shape x) {
    return x.dim(0) * Math.ceilDiv(x.dim(1), TILE) * Math.ceilDiv(x.dim(2), TILE);
  }

  private static boolean canCompute(CpuDevice device, Conv2d op, Shape x, int filters) {
    int channels = x.dim(3);
    return device.usesWinograd()
        && op.strideH() == 1
        && op.strideW() == 1
        && places(op.taps()) != null
        && x.dim(1) >= TILE - 1
        && x.dim(2) >= TILE - 1
        && tiles(x) >= LEAST_TILES
        && Math.min(channels, filters) >= LEAST_CHANNELS
        && channels % VECTOR == 0
        && filters % VECTOR == 0;
  }

  /** Which tap is at each of the 3x3 places, row by row; null if they are others. */
  static int[] places(Taps taps) {
    int[] at = new int[9];
    if (taps.count() != 9) {
      return null;
    }
    for (int t = 0; t < 9; t++) {
      Taps.Tap tap = taps.list().get(t);
      if (Math.abs(tap.dy()) > 1 || Math.abs(tap.dx()) > 1) {
        return null;
      }
      at[(tap.dy() + 1) * 3 + tap.dx() + 1] = t;
    }
    return at;
  }

  /** Room for so many f32 in the scratch memory; where it begins, in bytes. */
  final long room(long elements) {
    long at = size;
    size += (4 * elements + 63) / 64 * 64;
    return at;
  }

  final void reserve() {
    device.scratchpad().reserve(size);
  }

  final int strips() {
    return images * down;
  }

  /**
   * Strips of tiles that are worked on at a time.
   *
   * @param chunks that there should be at least, as long as they are not too small
   */
  final int stripsPerChunk(long bytes, int chunks) {
    long most = Math.max(LEAST_CHUNK_TILES, bytes / (4L * PLACES * (channels + filters)));
    long share = (long) strips() * across / chunks;
    most = Math.min(most, Math.max(SMALL_CHUNK_TILES, share));
    int strips = Math.clamp(most / across, 1, strips());
    return Math.ceilDiv(strips(), Math.ceilDiv(strips(), strips)); // evenly
  }

  static DnnlDesc matrices(int rows, int columns, long down, long across) {
    return DnnlDesc.strided(
        dnnl_f32(),
        new long[] {PLACES, rows, columns},
        new long[] {(long) rows * columns, down, across});
  }

  static void zero(long address, long elements) {
    TileLoops.MEMORY.asSlice(address, 4 * elements).fill((byte) 0);
  }

  /** Transforms of one thread, with memory of its own. */
  final class Transforms {
    private final TileLoops.Streams s = new TileLoops.Streams();
    private final int longest = Math.max(channels, filters);
    private final int rowLength = (TILE * across + 2) * longest;
    private final long rows = room((long) PATCH * rowLength);
    private final long zeros = room((long) width * longest);
    private final long unused = room((long) width * longest);
    private final long wide; // rows that are in bf16 elsewhere
    private long base;

    /** With room for tensors in these dtypes. */
    Transforms(DType... types) {
      boolean narrow = List.of(types).contains(DType.BF16);
      wide = room(narrow ? 2L * TILE * width * longest : 0);
    }

    /** Before a chunk; memory is as others left it. */
    void begin(long scratch) {
      base = scratch;
      zero(scratch + zeros, (long) width * longest);
    }

    /** What lies left and right of the image. */
    private void frame(int c, int left, int columns) {
      for (int r = 0; r < PATCH; r++) {
        long row = base + rows + 4L * r * columns * c;
        zero(row, (long) left * c);
        zero(row + 4L * (left + width) * c, (long) (columns - left - width) * c);
      }
    }

    /** The row's memory, or null outside of the image. */
    private MemorySegment row(Tensor t, int strip, int row, int c) {
      int i = strip % down * TILE + row;
      long size = (long) width * c * t.dtype().bytes();
      return i < 0 || i >= height
          ? null
          : TileLoops.MEMORY.asSlice(t.address() + ((long) strip / down * height + i) * size, size);
    }

    private long wide(int slot) {
      return base + wide + 4L * slot * width * longest;
    }

    /** Where a row is in f32; widened, if it has to be, to a slot. */
    private long read(Tensor t, int strip, int row, int c, int slot) {
      MemorySegment own = row(t, strip, row, c);
      if (own == null) {
        return base + zeros;
      }
      if (t.dtype() == DType.F32) {
        return own.address();
      }
      MemorySegment to = TileLoops.MEMORY.asSlice(wide(slot), 4L * width * c);
      device.loops().widen(own, to, width * c);
      return wide(slot);
    }

    /**
     * Patches of a strip of x [N,H,W,C] to V [36][tiles][C], or as many of its gradients.
     *
     * @param first of the strip's tiles among those of V
     */
    void pixels(Tensor x, int strip, int c, long v, int tiles, int first) {
      int columns = TILE * across + 2;
      frame(c, 1, columns);
      for (int r = 0; r < PATCH; r++) {
        s.in[r] = read(x, strip, r - 1, c, r);
        s.out[r] = base + rows + 4L * (r * columns + 1) * c;
      }
      loops.pixels(s.of(width * c));
      for (int r = 0; r < PATCH; r++) {
        for (int j = 0; j < PATCH; j++) {
          s.in[j] = base + rows + 4L * (r * columns + j) * c;
          s.out[j] = v + 4L * ((long) (r * PATCH + j) * tiles + first) * c;
        }
        loops.pixels(s.of(across, c, TILE * c, c));
      }
    }

    /** Of a strip of dy [N,H,W,K] to [36][tiles][K]. */
    void slopes(Tensor dy, int strip, int k, long v, int tiles, int first) {
      int columns = TILE * across;
      frame(k, 0, columns);
      for (int r = 0; r < TILE; r++) {
        s.in[r] = read(dy, strip, r, k, r);
      }
      for (int r = 0; r < PATCH; r++) {
        s.out[r] = base + rows + 4L * r * columns * k;
      }
      loops.slopes(s.of(width * k));
      for (int r = 0; r < PATCH; r++) {
        for (int j = 0; j < TILE; j++) {
          s.in[j] = base + rows + 4L * (r * columns + j) * k;
        }
        for (int j = 0; j < PATCH; j++) {
          s.out[j] = v + 4L * ((long) (r * PATCH + j) * tiles + first) * k;
        }
        loops.slopes(s.of(across, k, TILE * k, k));
      }
    }

    /**
     * Products [36][tiles][K] of a strip to y [N,H,W,K].
     *
     * @param plus [W,K], added to each row
     * @param addend like y, or null
     */
    void outputs(
        long m, int tiles, int first, int k, int strip, Tensor y, long plus, Tensor addend) {
      int columns = TILE * across;
      for (int r = 0; r < PATCH; r++) {
        for (int j = 0; j < PATCH; j++) {
          s.in[j] = m + 4L * ((long) (r * PATCH + j) * tiles + first) * k;
        }
        for (int j = 0; j < TILE; j++) {
          s.out[j] = base + rows + 4L * (r * columns + j) * k;
        }
        loops.outputs(s.of(across, k, k, TILE * k));
      }
      for (int r = 0; r < PATCH; r++) {
        s.in[r] = base + rows + 4L * r * columns * k;
      }
      s.in[PATCH] = plus;
      for (int r = 0; r < TILE; r++) {
        s.in[PATCH + 1 + r] = addend == null ? base + zeros : read(addend, strip, r, k, TILE + r);
        MemorySegment own = row(y, strip, r, k);
        s.out[r] = own == null ? base + unused : y.dtype() == DType.F32 ? own.address() : wide(r);
      }
      loops.outputsPlus(s.of(width * k));
      for (int r = 0; r < TILE && y.dtype() != DType.F32; r++) {
        MemorySegment own = row(y, strip, r, k);
        if (own != null) {
          MemorySegment from = TileLoops.MEMORY.asSlice(wide(r), 4L * width * k);
          device.loops().scale(from, 0, 1, y.dtype(), own, 0, width * k);
        }
      }
    }
  }
}
