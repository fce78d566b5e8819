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
 * of the 36 places, over all channels, are one product of matrices. Or by F(5x5,3x3), 49 products
 * where plain sums take 225, or F(7x7,3x3), 81 where they take 441: whichever wastes least on
 * places beyond an image's edge. Two by two images make a block, with a line of zeros between them,
 * where that wastes less.
 *
 * <p>All of it is in f32; tensors in bf16 are widened and rounded a row at a time, which pays where
 * a core multiplies bf16 no more than twice as fast. Tiles of 7x7 are for the gradients of weights
 * by tensors in bf16 alone: there rounding errors average out over all pixels. An output near zero
 * would be off by more than plain sums in f32 allow.
 *
 * <p>Patches of a few rows of them go through memory that stays in the second cache: transformed,
 * multiplied, transformed back. All of that memory is the device's scratchpad.
 *
 * <p>Rounding errors of a patch's largest pixels reach all of its outputs.
 *
 * @see "Lavin and Gray 2016, Fast Algorithms for Convolutional Neural Networks, section 4"
 */
abstract class Winograd implements Runnable {
  private static final int VECTOR = 16;

  /** Fewer channels, and transforms cost more than products save. */
  private static final int LEAST_CHANNELS = 32;

  /** Of smaller images most taps lie outside: plain sums leave them out. */
  private static final int LEAST_SIDE = 3;

  /** Fewer pixels, and what the weights' transform costs does. */
  private static final int LEAST_PIXELS = 1536;

  private static final int MIDDLE_TILE = 5;

  /** Rounds too roughly for all but sums over many pixels of what was rounded to bf16. */
  private static final int LARGE_TILE = 7;

  /** Images to a side of a block: with more, small batches would leave blocks half empty. */
  private static final int MOST_STACK = 2;

  private static final int LEAST_CHUNK_TILES = 64;

  /** In bf16, for each output: with more it does not pay. */
  private static final double MOST_NARROW_PRODUCTS = 2.7;

  /** But for weights' gradients it does from so many channels on. */
  private static final int LEAST_NARROW_CHANNELS = 64;

  /** Where otherwise threads would have nothing to do. */
  private static final int SMALL_CHUNK_TILES = 16;

  /** Weights that are transformed at a time. */
  static final int WEIGHTS = 512;

  final CpuDevice device;
  final TileLoops loops;
  final int stack; // images of a block, down and across
  final int tile;
  final int patch;
  final int area; // of a patch
  final int images;
  final int blocks;
  final int height;
  final int width;
  final int down; // tiles of a block
  final int across;
  final int channels;
  final int filters;
  private long size; // of the scratch memory

  /**
   * By which transforms, and how many images go into a block, down and across: as if they were one,
   * with lines of zeros between them.
   */
  record Tiling(TileLoops loops, int stack) {
    int blocks(Shape x) {
      return Math.ceilDiv(x.dim(0), stack * stack);
    }

    /** Of a block, along a side that an image has so many pixels of. */
    int tiles(int pixels) {
      return Math.ceilDiv(stack * (pixels + 1) - 1, loops.tile());
    }

    int tiles(Shape x) {
      return blocks(x) * tiles(x.dim(1)) * tiles(x.dim(2));
    }

    /** For each output. */
    double products(Shape x) {
      double all = (double) tiles(x) * loops.patch() * loops.patch();
      return all / ((double) x.dim(0) * x.dim(1) * x.dim(2));
    }
  }

  Winograd(CpuDevice device, Tiling tiling, Shape x, int filters) {
    this.device = device;
    this.filters = filters;
    loops = tiling.loops();
    stack = tiling.stack();
    blocks = tiling.blocks(x);
    tile = loops.tile();
    patch = loops.patch();
    area = patch * patch;
    images = x.dim(0);
    height = x.dim(1);
    width = x.dim(2);
    channels = x.dim(3);
    down = tiling.tiles(height);
    across = tiling.tiles(width);
  }

  /**
   * The tiles by which a convolution of stride 1, or its data gradient, is computed faster than by
   * plain sums; null if there are none.
   */
  static Tiling choose(CpuDevice device, Conv2d op, DType type, Shape x, int filters) {
    Tiling best = fewest(device, op, type, x, filters, MIDDLE_TILE);
    return best == null || type == DType.F32 || best.products(x) <= MOST_NARROW_PRODUCTS
        ? best
        : null;
  }

  /** The same of its weights' gradient. */
  static Tiling chooseForWeights(CpuDevice device, Conv2d op, DType type, Shape x, int filters) {
    int most = type == DType.F32 ? MIDDLE_TILE : LARGE_TILE;
    Tiling best = fewest(device, op, type, x, filters, most);
    return best == null
            || type == DType.F32
            || best.products(x) <= MOST_NARROW_PRODUCTS
            || Math.min(x.dim(3), filters) >= LEAST_NARROW_CHANNELS
        ? best
        : null;
  }

  /** Those that take the fewest products, of those that can be had. */
  private static Tiling fewest(
      CpuDevice device, Conv2d op, DType type, Shape x, int filters, int mostTile) {
    if (!(type == DType.F32 || device.multipliesBf16Slowly())
        || !canCompute(device, op, x, filters)) {
      return null;
    }
    Tiling best = null;
    for (TileLoops loops : device.loops().tiles()) {
      for (int stack = 1; stack <= MOST_STACK; stack++) {
        Tiling tiling = new Tiling(loops, stack);
        if (loops.tile() <= mostTile && (best == null || tiling.products(x) < best.products(x))) {
          best = tiling;
        }
      }
    }
    return best;
  }

  private static boolean canCompute(CpuDevice device, Conv2d op, Shape x, int filters) {
    int channels = x.dim(3);
    return device.usesWinograd()
        && op.strideH() == 1
        && op.strideW() == 1
        && places(op.taps()) != null
        && Math.min(x.dim(1), x.dim(2)) >= LEAST_SIDE
        && x.dim(0) * x.dim(1) * x.dim(2) >= LEAST_PIXELS
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
    return blocks * down;
  }

  /**
   * Strips of tiles that are worked on at a time.
   *
   * @param chunks that there should be at least, as long as they are not too small
   */
  final int stripsPerChunk(long bytes, int chunks) {
    long most = Math.max(LEAST_CHUNK_TILES, bytes / (4L * area * (channels + filters)));
    long share = (long) strips() * across / chunks;
    most = Math.min(most, Math.max(SMALL_CHUNK_TILES, share));
    int strips = Math.clamp(most / across, 1, strips());
    return Math.ceilDiv(strips(), Math.ceilDiv(strips(), strips)); // evenly
  }

  final DnnlDesc matrices(int rows, int columns, long down, long across) {
    return DnnlDesc.strided(
        dnnl_f32(),
        new long[] {area, rows, columns},
        new long[] {(long) rows * columns, down, across});
  }

  static void zero(long address, long elements) {
    TileLoops.MEMORY.asSlice(address, 4 * elements).fill((byte) 0);
  }

  /** Transforms of one thread, with memory of its own. */
  final class Transforms {
    private final TileLoops.Streams s = new TileLoops.Streams();
    private final int longest = Math.max(channels, filters);
    private final int rowLength = (tile * across + 2) * longest;
    private final long rows = room((long) patch * rowLength);
    private final long zeros = room((long) width * longest);
    private final long sums = room((long) tile * width * longest); // rows before they are outputs
    private final long wide; // rows that are in bf16 elsewhere
    private long base;

    /** With room for tensors in these dtypes. */
    Transforms(DType... types) {
      boolean narrow = List.of(types).contains(DType.BF16);
      wide = room(narrow ? (long) patch * width * longest : 0);
    }

    /** Before a chunk; memory is as others left it. */
    void begin(long scratch) {
      base = scratch;
      zero(scratch + zeros, (long) width * longest);
    }

    /** Where a row of the image in column g of a block begins, of those with what is around it. */
    private long row(int r, int g, int left, int columns, int c) {
      return base + rows + 4L * (r * columns + left + g * (width + 1)) * c;
    }

    /** What lies left and right of images. */
    private void frame(int c, int left, int columns) {
      for (int r = 0; r < patch; r++) {
        zero(row(r, 0, 0, columns, c), (long) left * c);
        for (int g = 0; g < stack; g++) {
          int right = g < stack - 1 ? 1 : columns - left - g * (width + 1) - width;
          zero(row(r, g, left + width, columns, c), (long) right * c);
        }
      }
    }

    /** Which of a block's images, row by row, a row of the one in column g is in. */
    private int inBlock(int strip, int row, int g) {
      return (strip % down * tile + row) / (height + 1) * stack + g;
    }

    /** The memory of a row of the image in column g, or null outside of images. */
    private MemorySegment own(Tensor t, int strip, int row, int g, int c) {
      int i = strip % down * tile + row;
      int image = strip / down * stack * stack + inBlock(strip, row, g);
      int inImage = i % (height + 1);
      if (i < 0 || i >= stack * (height + 1) || inImage == height || image >= images) {
        return null;
      }
      long size = (long) width * c * t.dtype().bytes();
      return TileLoops.MEMORY.asSlice(t.address() + ((long) image * height + inImage) * size, size);
    }

    private long wide(int slot) {
      return base + wide + 4L * slot * width * longest;
    }

    /** Where a row is in f32; widened, if it has to be, to a slot. */
    private long read(Tensor t, int strip, int row, int g, int c, int slot) {
      MemorySegment own = own(t, strip, row, g, c);
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
     * Patches of a strip of x [N,H,W,C] to V [P][tiles][C], P places of a patch; or as many of its
     * gradients.
     *
     * @param first of the strip's tiles among those of V
     */
    void pixels(Tensor x, int strip, int c, long v, int tiles, int first) {
      int columns = tile * across + 2;
      frame(c, 1, columns);
      for (int g = 0; g < stack; g++) {
        for (int r = 0; r < patch; r++) {
          s.in[r] = read(x, strip, r - 1, g, c, r);
          s.out[r] = row(r, g, 1, columns, c);
        }
        loops.pixels(s.of(width * c));
      }
      for (int r = 0; r < patch; r++) {
        for (int j = 0; j < patch; j++) {
          s.in[j] = row(r, 0, j, columns, c);
          s.out[j] = v + 4L * ((long) (r * patch + j) * tiles + first) * c;
        }
        loops.pixels(s.of(across, c, tile * c, c));
      }
    }

    /** Of a strip of dy [N,H,W,K] to [P][tiles][K]. */
    void slopes(Tensor dy, int strip, int k, long v, int tiles, int first) {
      int columns = tile * across;
      frame(k, 0, columns);
      for (int g = 0; g < stack; g++) {
        for (int r = 0; r < tile; r++) {
          s.in[r] = read(dy, strip, r, g, k, r);
        }
        for (int r = 0; r < patch; r++) {
          s.out[r] = row(r, g, 0, columns, k);
        }
        loops.slopes(s.of(width * k));
      }
      for (int r = 0; r < patch; r++) {
        for (int j = 0; j < tile; j++) {
          s.in[j] = row(r, 0, j, columns, k);
        }
        for (int j = 0; j < patch; j++) {
          s.out[j] = v + 4L * ((long) (r * patch + j) * tiles + first) * k;
        }
        loops.slopes(s.of(across, k, tile * k, k));
      }
    }

    /**
     * Products [P][tiles][K] of a strip to y [N,H,W,K].
     *
     * @param plus of each image of the block [W,K], added to each of its rows
     * @param addend like y, or null
     */
    void outputs(
        long m, int tiles, int first, int k, int strip, Tensor y, long plus, Tensor addend) {
      int columns = tile * across;
      for (int r = 0; r < patch; r++) {
        for (int j = 0; j < patch; j++) {
          s.in[j] = m + 4L * ((long) (r * patch + j) * tiles + first) * k;
        }
        for (int j = 0; j < tile; j++) {
          s.out[j] = row(r, 0, j, columns, k);
        }
        loops.outputs(s.of(across, k, k, tile * k));
      }
      for (int g = 0; g < stack; g++) {
        for (int r = 0; r < patch; r++) {
          s.in[r] = row(r, g, 0, columns, k);
        }
        for (int r = 0; r < tile; r++) {
          s.out[r] = base + sums + 4L * r * width * k;
        }
        loops.outputs(s.of(width * k));
        for (int r = 0; r < tile; r++) {
          MemorySegment own = own(y, strip, r, g, k);
          if (own != null) {
            long row = plus + 4L * inBlock(strip, r, g) * width * k;
            long added = addend == null ? base + zeros : read(addend, strip, r, g, k, r);
            loops.plus(s.out[r], row, added, y.dtype(), own.address(), width * k);
          }
        }
      }
    }
  }
}
