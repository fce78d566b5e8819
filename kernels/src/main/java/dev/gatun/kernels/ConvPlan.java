package dev.gatun.kernels;

import java.util.ArrayList;
import java.util.List;

/**
 * One convolution as {@code conv_pack.cu} and {@code conv_taps.cu} compute it: which taps belong to
 * which phase, how large the tiles are, how weights lie once packed. Forward pass and data gradient
 * are plans of the same kind; see {@code common/conv.cuh}.
 */
public final class ConvPlan {
  private static final int PHASE_INTS = 4;
  private static final int TAP_INTS = 4;
  private static final int STEP_BYTES = 64;
  private static final int PACK_THREADS = 256;

  /** Rows and columns of an image batch's tensors. */
  public record Image(int height, int width, int channels) {}

  /** What happens to a sum before it is written. */
  public enum Activation {
    NONE,
    RELU,
    ELU,
    CONCAT_ELU,
    GATE_TANH,
    GATE_LINEAR;

    boolean gate() {
      return this == GATE_TANH || this == GATE_LINEAR;
    }
  }

  /**
   * Where sums go; device addresses, 0 where there is none.
   *
   * @param bias [TC] f32
   * @param addend like the sums, or [N,TC]
   * @param ofImages whether the addend is [N,TC], a row for all positions of an image
   * @param sum the sums themselves, where an activation follows
   * @param residual like y; only with a gate
   * @param y the result
   * @param f32 whether addend and y are f32; else they are in x's dtype
   * @param half a gate's: channels of a in each of its groups, a multiple of 8
   * @param from the first channel of the sums that is wanted, a multiple of 8
   * @param to the last, and one more
   */
  public record Output(
      long bias,
      long addend,
      boolean ofImages,
      long sum,
      long residual,
      long y,
      boolean f32,
      Activation activation,
      int half,
      int from,
      int to) {
    /** The sums and nothing else, of {@code channels} channels. */
    public static Output of(long y, boolean f32, int channels) {
      return new Output(0, 0, false, 0, 0, y, f32, Activation.NONE, 0, 0, channels);
    }

    /** With this added to the sums. */
    public Output plus(long newBias, long newAddend, boolean newOfImages) {
      return new Output(
          newBias, newAddend, newOfImages, sum, residual, y, f32, activation, half, from, to);
    }

    /** With the sums through an activation, and kept at {@code newSum}. */
    public Output through(Activation newActivation, int newHalf, long newResidual, long newSum) {
      return new Output(
          bias, addend, ofImages, newSum, newResidual, y, f32, newActivation, newHalf, from, to);
    }

    /** Of a range of the sums' channels. */
    public Output channels(int newFrom, int newTo) {
      return new Output(
          bias, addend, ofImages, sum, residual, y, f32, activation, half, newFrom, newTo);
    }
  }

  private enum Tile {
    LARGE(128, 128),
    WIDE(128, 64),
    SMALL(64, 32);

    final int rows;
    final int columns;

    Tile(int rows, int columns) {
      this.rows = rows;
      this.columns = columns;
    }
  }

  private final Element type;
  private final int images;
  private final Image source;
  private final Image target;
  private final int[] steps; // inH, inW, outH, outW
  private final int phases;
  private final int[] table;
  private final int blocks;
  private final Tile tile;
  private final boolean chunks;
  private final long[] weightSteps; // tap, source channel, target channel

  /**
   * Plans a convolution.
   *
   * @param taps dy0, dx0, dy1, dx1, ... of the forward pass
   * @param backward false for [N,H,W,C] to [N,OH,OW,K], true for its data gradient, from dy to dx
   * @param aligned whether the source starts at a multiple of 16 bytes
   * @param positions of an image that a launch computes; 0 for all
   * @param multiprocessors how many blocks it takes to keep the GPU busy
   */
  public ConvPlan(
      Element type,
      int images,
      Image source,
      Image target,
      int[] taps,
      int strideH,
      int strideW,
      boolean backward,
      boolean aligned,
      int positions,
      int multiprocessors) {
    this.type = type;
    this.images = images;
    this.source = source;
    this.target = target;
    steps = backward ? new int[] {1, 1, strideH, strideW} : new int[] {strideH, strideW, 1, 1};
    phases = steps[2] * steps[3];
    chunks = aligned && source.channels % type.chunk() == 0;
    List<int[]> chosen = new ArrayList<>();
    int[] head = new int[PHASE_INTS * phases];
    int next = 0;
    for (int p = 0; p < phases; p++) {
      int first = chosen.size();
      for (int t = 0; t < taps.length / 2; t++) {
        int[] tap = tap(taps[2 * t], taps[2 * t + 1], p, backward);
        if (tap != null) {
          chosen.add(new int[] {tap[0], tap[1], t, p});
        }
      }
      int count = chosen.size() - first;
      int own = Math.ceilDiv(Math.multiplyExact(count, source.channels), inner());
      System.arraycopy(new int[] {first, count, next, own}, 0, head, PHASE_INTS * p, PHASE_INTS);
      next += own;
    }
    blocks = next;
    table = new int[head.length + TAP_INTS * Math.max(1, chosen.size())];
    System.arraycopy(head, 0, table, 0, head.length);
    for (int i = 0; i < chosen.size(); i++) {
      System.arraycopy(chosen.get(i), 0, table, head.length + TAP_INTS * i, TAP_INTS);
    }
    long k = backward ? source.channels : target.channels;
    long c = backward ? target.channels : source.channels;
    weightSteps = backward ? new long[] {c * k, 1, k} : new long[] {c * k, k, 1};
    int rows = positions == 0 ? positionsOfPhase() : positions;
    tile = chooseTile((long) images * rows, multiprocessors);
  }

  /** The tap as a phase sees it, or null if it is none of its, or never meets the image. */
  private int[] tap(int dy, int dx, int phase, boolean backward) {
    int h = dy;
    int w = dx;
    int ph = phase / steps[3];
    int pw = phase % steps[3];
    if (backward) {
      if (Math.floorMod(ph - dy, steps[2]) != 0 || Math.floorMod(pw - dx, steps[3]) != 0) {
        return null;
      }
      h = Math.floorDiv(ph - dy, steps[2]);
      w = Math.floorDiv(pw - dx, steps[3]);
    }
    long rows = Math.ceilDiv(target.height - ph, steps[2]);
    long columns = Math.ceilDiv(target.width - pw, steps[3]);
    boolean meets =
        rows > 0
            && columns > 0
            && h < source.height
            && w < source.width
            && h + (rows - 1) * steps[0] >= 0
            && w + (columns - 1) * steps[1] >= 0;
    return meets ? new int[] {h, w} : null;
  }

  private int positionsOfPhase() {
    return Math.ceilDiv(target.height, steps[2]) * Math.ceilDiv(target.width, steps[3]);
  }

  /** The largest tile of which there are enough, and whose columns are mostly used. */
  private Tile chooseTile(long rows, int multiprocessors) {
    if (!chunks) {
      return Tile.SMALL;
    }
    for (Tile t : Tile.values()) {
      long count = Math.ceilDiv(rows, t.rows) * Math.ceilDiv(target.channels, t.columns) * phases;
      boolean used =
          Math.ceilDiv(target.channels, t.columns) * t.columns * 3 <= target.channels * 4;
      if ((type == Element.BF16 || t != Tile.LARGE) && used && count >= multiprocessors) {
        return t;
      }
    }
    return Tile.SMALL;
  }

  /** Inner indices of a step. */
  private int inner() {
    return STEP_BYTES / bytes();
  }

  private int bytes() {
    return type == Element.F32 ? 4 : 2;
  }

  private int columnTiles() {
    return Math.ceilDiv(target.channels, tile.columns);
  }

  /** What the device needs in memory beside the tensors: phases and taps, i32. */
  public int[] table() {
    return table.clone();
  }

  /** Bytes of the packed weights. */
  public long packedBytes() {
    return (long) blocks * columnTiles() * tile.columns * STEP_BYTES;
  }

  /** Bytes of the marks that tell which tiles of the weights have anything. */
  public long usedBytes() {
    return (long) blocks * columnTiles() * Integer.BYTES;
  }

  /** Whether there is anything to pack: not where no tap meets the image. */
  public boolean hasWeights() {
    return blocks > 0;
  }

  /**
   * Packs the weights.
   *
   * @param weights [T,C,K] f32
   * @param table device address of {@link #table}
   * @param half as {@link Output#half}; 0 without a gate
   */
  public KernelCall pack(long weights, long table, long packed, long used, int half) {
    return new KernelCall(
        "conv_pack",
        "conv_pack_" + type.suffix() + "_" + tile.columns,
        new LaunchShape(blocks, columnTiles(), 1, PACK_THREADS, 1, 1, 0),
        new Arguments()
            .pointer(weights)
            .pointer(table)
            .pointer(taps(table))
            .pointer(packed)
            .pointer(used)
            .int32(phases)
            .int32(source.channels)
            .int32(target.channels)
            .int64(weightSteps[0])
            .int64(weightSteps[1])
            .int64(weightSteps[2])
            .int32(half)
            .toList());
  }

  private long taps(long table) {
    return table + (long) PHASE_INTS * Integer.BYTES * phases;
  }

  /**
   * Convolves.
   *
   * @param x the source
   * @param window of target positions, by raster position: {@code count} is 1, or a row; only
   *     {@code first}, {@code time} and {@code count} are looked at
   */
  public KernelCall convolve(
      long x, long table, long packed, long used, Output output, Window window) {
    boolean whole = window.first() == 0;
    long positions = whole ? positionsOfPhase() : window.count();
    int columns =
        output.activation.gate()
            ? columnTiles()
            : Math.ceilDiv(output.to, tile.columns) - output.from / tile.columns;
    String shape = tile.rows + "x" + tile.columns + (chunks ? "" : "_any");
    return new KernelCall(
        "conv_taps",
        "conv_taps_" + type.suffix() + "_" + shape,
        new LaunchShape(
            Math.toIntExact(Math.ceilDiv(images * positions, tile.rows)),
            columns,
            phases,
            tile == Tile.SMALL ? 128 : 256,
            1,
            1,
            0),
        new Arguments()
            .pointer(x)
            .pointer(packed)
            .pointer(used)
            .pointer(table)
            .pointer(taps(table))
            .struct(shape())
            .struct(
                new Arguments()
                    .pointer(output.bias)
                    .pointer(output.addend)
                    .pointer(output.sum)
                    .pointer(output.residual)
                    .pointer(output.y)
                    .int32(output.f32 ? 1 : 0)
                    .int32(output.ofImages ? 1 : 0)
                    .int32(output.activation.ordinal())
                    .int32(output.half)
                    .int32(output.from)
                    .int32(output.to))
            .struct(window.members())
            .toList());
  }

  private Arguments shape() {
    return new Arguments()
        .int32(images)
        .int32(source.height)
        .int32(source.width)
        .int32(source.channels)
        .int32(target.height)
        .int32(target.width)
        .int32(target.channels)
        .int32(steps[0])
        .int32(steps[1])
        .int32(steps[2])
        .int32(steps[3]);
  }

  // ---- the gradient with respect to the weights, of a forward plan

  private static final int WEIGHTS_TILE = 64;
  private static final int FINISH_THREADS = 256;

  /** How {@link #weights} divides its work. */
  public record Split(int parts, int positionsEach, int rows, int columns) {
    /** Bytes of the parts. */
    public long bytes() {
      return (long) parts * rows * columns * Float.BYTES;
    }
  }

  /** Enough parts to keep the GPU busy, each long enough to be worth its sum. */
  public Split split(int multiprocessors) {
    int rows = Math.ceilDiv(Math.max(1, taps() * source.channels), WEIGHTS_TILE);
    int columns = Math.ceilDiv(target.channels, WEIGHTS_TILE);
    int positions = images * target.height * target.width;
    int step = type == Element.F32 ? 16 : 32;
    int wanted = Math.ceilDiv(2 * multiprocessors, Math.multiplyExact(rows, columns));
    int parts = Math.clamp(wanted, 1, Math.max(1, positions / (8 * step)));
    int each = Math.ceilDiv(Math.ceilDiv(positions, parts), step) * step;
    return new Split(
        Math.ceilDiv(positions, each), each, rows * WEIGHTS_TILE, columns * WEIGHTS_TILE);
  }

  private int taps() {
    return table[1];
  }

  /** For each of {@code count} taps of the convolution the first row of a part, or -1. */
  public int[] rowsOfTaps(int count) {
    int[] rows = new int[count];
    java.util.Arrays.fill(rows, -1);
    for (int i = 0; i < taps(); i++) {
      rows[table[PHASE_INTS + TAP_INTS * i + 2]] = i * source.channels;
    }
    return rows;
  }

  /**
   * Sums the products of x and dy over parts of the positions.
   *
   * @param aligned whether dy, too, starts at a multiple of 16 bytes
   * @param parts {@link Split#bytes} of f32, written
   */
  public KernelCall weights(long x, long dy, long table, long parts, Split split, boolean aligned) {
    boolean wide = chunks && aligned && target.channels % type.chunk() == 0;
    return new KernelCall(
        "conv_weights",
        "conv_weights_" + type.suffix() + (wide ? "" : "_any"),
        new LaunchShape(
            split.rows / WEIGHTS_TILE,
            split.columns / WEIGHTS_TILE,
            split.parts,
            type == Element.F32 ? 256 : 128,
            1,
            1,
            0),
        new Arguments()
            .pointer(x)
            .pointer(dy)
            .pointer(taps(table))
            .pointer(parts)
            .struct(shape())
            .int32(taps())
            .int32(split.positionsEach)
            .toList());
  }

  /** dw [T,C,K] f32 = the sum of the parts; rowsOfTaps [T] i32 on the device. */
  public KernelCall weightsFinish(long parts, long rowsOfTaps, long dw, Split split, int count) {
    long elements = (long) count * source.channels * target.channels;
    return new KernelCall(
        "conv_weights",
        "conv_weights_finish",
        LaunchShape.linear(Math.toIntExact(Math.ceilDiv(elements, FINISH_THREADS)), FINISH_THREADS),
        new Arguments()
            .pointer(parts)
            .pointer(rowsOfTaps)
            .pointer(dw)
            .int32(split.parts)
            .int64(split.rows)
            .int32(split.columns)
            .int32(count)
            .int32(source.channels)
            .int32(target.channels)
            .toList());
  }
}
