package dev.gatun.engine.cpu;

import static dev.gatun.ffi.onednn.OneDnn.*;

import dev.gatun.engine.DType;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.ffi.Dnnl;
import dev.gatun.ffi.DnnlDesc;
import dev.gatun.ffi.DnnlPrimitive;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * y = x * w and what is added, see {@link Winograd}; the gradient of x too, where w is seen the
 * other way round. Chunks of strips are divided among threads.
 */
final class WinogradForward extends Winograd {
  /** What a chunk's patches and products may take: they stay in a cache. */
  private static final long CHUNK_BYTES = 4 << 20;

  /** Blocks of weights that a thread takes at a time. */
  private static final int WEIGHT_BLOCKS = 4;

  /** So that a thread which is held up elsewhere does not keep the others waiting for long. */
  private static final int CHUNKS_A_THREAD = 4;

  private final Tensor x;
  private final Tensor w;
  private final int[] places;
  private final Tensor bias;
  private final Tensor addend;
  private final Tensor y;
  private final int stripsPerChunk;
  private final int tiles;
  private final long weights; // [P][C][K]
  private final DnnlDesc weightsDesc;
  private final Turn turn; // or null
  private final Owned owned;
  private final ConcurrentLinkedQueue<Lane> free = new ConcurrentLinkedQueue<>();
  private long bound; // the scratch memory that primitives were told of

  /**
   * Allocates nothing but what {@code owned} closes.
   *
   * @param transposed whether w is [T,K,C]
   * @param bias [K], or null
   * @param addend like y or [N,1,1,K], or null
   */
  WinogradForward(
      CpuDevice device,
      Tiling tiling,
      Owned owned,
      Conv2d op,
      Tensor x,
      Tensor w,
      boolean transposed,
      Tensor bias,
      Tensor addend,
      Tensor y) {
    super(device, tiling, x.shape(), y.shape().dim(3));
    this.owned = owned;
    this.x = x;
    this.w = w;
    this.bias = bias;
    this.addend = addend;
    this.y = y;
    places = places(op.taps());
    int threads = device.workers().threads();
    stripsPerChunk = stripsPerChunk(CHUNK_BYTES, threads == 1 ? 1 : CHUNKS_A_THREAD * threads);
    tiles = stripsPerChunk * across;
    weights = room((long) area * channels * filters);
    weightsDesc = owned.add(matrices(channels, filters, filters, 1));
    for (int i = 0; i < threads; i++) {
      free.add(new Lane());
    }
    turn = transposed ? new Turn() : null;
    free.forEach(lane -> lane.scratch = room(lane.product.scratchpadBytes() / 4));
    reserve();
  }

  /** Of weights [T,K,C] to [T,C,K]. */
  private final class Turn {
    final long to = room(9L * channels * filters);
    final DnnlDesc from = owned.add(taps(1, channels));
    final DnnlDesc turned = owned.add(taps(filters, 1));
    final DnnlPrimitive reorder = owned.add(DnnlPrimitive.reorder(device.dnnl(), from, turned));
    final long scratch = room(reorder.scratchpadBytes() / 4);

    DnnlDesc taps(long down, long across) {
      return DnnlDesc.strided(
          dnnl_f32(),
          new long[] {9, channels, filters},
          new long[] {(long) channels * filters, down, across});
    }

    void bind(long base) {
      reorder.bind(DNNL_ARG_SRC_0(), from, w.address());
      reorder.bind(DNNL_ARG_DST_0(), turned, base + to);
      if (reorder.scratchpadBytes() > 0) {
        reorder.bindScratchpad(base + scratch);
      }
    }
  }

  /** What a thread needs for itself. */
  private final class Lane {
    final Transforms transforms = new Transforms(x.dtype(), y.dtype());
    final TileLoops.Streams s = new TileLoops.Streams();
    final long v = room((long) area * tiles * channels);
    final long m = room((long) area * tiles * filters);
    final long plus = room((long) stack * stack * width * filters); // of each image of a block
    final long between = room(3L * patch * WEIGHTS); // weights that are transformed one way
    final long rounded = room(4L * WEIGHTS); // three taps' weights, and some in bf16
    final DnnlDesc a = owned.add(matrices(tiles, channels, channels, 1));
    final DnnlDesc c = owned.add(matrices(tiles, filters, filters, 1));
    final DnnlPrimitive product;
    long scratch;

    Lane() {
      Dnnl dnnl = owned.add(new Dnnl());
      product =
          owned.add(
              Dnnl.onOneThread(() -> DnnlPrimitive.matmul(dnnl, a, weightsDesc, null, c, null)));
    }

    /** Tells the product where its memory is. */
    void bind(long base) {
      product.bind(DNNL_ARG_SRC_0(), a, base + v);
      product.bind(DNNL_ARG_WEIGHTS_0(), weightsDesc, base + weights);
      product.bind(DNNL_ARG_DST_0(), c, base + m);
      if (product.scratchpadBytes() > 0) {
        product.bindScratchpad(base + scratch);
      }
    }

    /** Where some weights are, as they are or rounded to x's dtype. */
    private long weights(long base, long from, int n, int slot) {
      long own = (turn == null ? w.address() : base + turn.to) + 4 * from;
      if (x.dtype() == DType.F32) {
        return own;
      }
      long to = base + rounded + 4L * slot * WEIGHTS;
      MemorySegment narrow = TileLoops.MEMORY.asSlice(base + rounded + 12L * WEIGHTS, 2L * WEIGHTS);
      MemorySegment source = TileLoops.MEMORY.asSlice(own, 4L * n);
      device.loops().scale(source, 0, 1, DType.BF16, narrow, 0, n);
      device.loops().widen(narrow, TileLoops.MEMORY.asSlice(to, 4L * n), n);
      return to;
    }

    /** Some blocks of weights to [P][C][K]. */
    void transformWeights(long base, int firstBlock, int lastBlock) {
      int cells = channels * filters;
      for (int from = firstBlock * WEIGHTS;
          from < Math.min(cells, lastBlock * WEIGHTS);
          from += WEIGHTS) {
        int n = Math.min(WEIGHTS, cells - from);
        for (int j = 0; j < 3; j++) {
          for (int i = 0; i < 3; i++) {
            s.in[i] = weights(base, (long) places[i * 3 + j] * cells + from, n, i);
          }
          for (int r = 0; r < patch; r++) {
            s.out[r] = base + between + 4L * (r * 3 + j) * WEIGHTS;
          }
          loops.weights(s.of(n));
        }
        for (int r = 0; r < patch; r++) {
          for (int j = 0; j < 3; j++) {
            s.in[j] = base + between + 4L * (r * 3 + j) * WEIGHTS;
          }
          for (int j = 0; j < patch; j++) {
            s.out[j] = base + weights + 4L * ((long) (r * patch + j) * cells + from);
          }
          loops.weights(s.of(n));
        }
      }
    }

    /** What is added to each row of a block's images. */
    private void plus(long base, int block) {
      int size = stack * stack;
      for (int i = 0; i < size && block * size + i < images; i++) {
        plusOf(base + plus + 4L * i * width * filters, block * size + i);
      }
    }

    private void plusOf(long row, int image) {
      zero(row, filters);
      MemorySegment to = TileLoops.MEMORY.asSlice(row, 4L * width * filters);
      if (bias != null) {
        MemorySegment.copy(device.segment(bias), 0, to, 0, 4L * filters);
      }
      if (addend != null && ofImages()) {
        MemorySegment own = device.segment(addend);
        for (int k = 0; k < filters; k++) {
          float sum =
              ScalarLoops.get(DType.F32, to, k)
                  + ScalarLoops.get(addend.dtype(), own, (long) image * filters + k);
          ScalarLoops.set(DType.F32, to, k, sum);
        }
      }
      for (int j = 1; j < width; j++) {
        MemorySegment.copy(to, 0, to, 4L * j * filters, 4L * filters);
      }
    }

    void run(long base, int chunk) {
      int first = chunk * stripsPerChunk;
      int last = Math.min(strips(), first + stripsPerChunk);
      transforms.begin(base);
      for (int strip = first; strip < last; strip++) {
        transforms.pixels(x, strip, channels, base + v, tiles, (strip - first) * across);
      }
      product.executeOnOneThread();
      for (int strip = first; strip < last; strip++) {
        if (strip == first || strip % down == 0) {
          plus(base, strip / down);
        }
        transforms.outputs(
            base + m,
            tiles,
            (strip - first) * across,
            filters,
            strip,
            y,
            base + plus,
            addend == null || ofImages() ? null : addend);
      }
    }
  }

  private boolean ofImages() {
    return Conv2d.isOfImages(addend.shape(), y.shape());
  }

  @Override
  public void run() {
    long base = device.scratchpad().address();
    if (base != bound) {
      if (turn != null) {
        turn.bind(base);
      }
      free.forEach(lane -> lane.bind(base));
      bound = base;
    }
    if (turn != null) {
      turn.reorder.execute();
    }
    forRange(
        Math.ceilDiv(channels * filters, WEIGHTS),
        WEIGHT_BLOCKS,
        (lane, from, to) -> lane.transformWeights(base, from, to));
    forRange(
        Math.ceilDiv(strips(), stripsPerChunk),
        1,
        (lane, from, to) -> {
          for (int chunk = from; chunk < to; chunk++) {
            lane.run(base, chunk);
          }
        });
  }

  /** Part of a loop, on a lane that no other thread has. */
  private interface Body {
    void run(Lane lane, int from, int to);
  }

  private void forRange(int n, int block, Body body) {
    device
        .workers()
        .forRange(
            n,
            block,
            (from, to) -> {
              Lane lane = free.remove(); // there is one for each thread
              try {
                body.run(lane, from, to);
              } finally {
                free.add(lane);
              }
            });
  }
}
