package dev.gatun.engine.cpu;

import static dev.gatun.ffi.onednn.OneDnn.*;

import dev.gatun.engine.Owned;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.AddBiasBackward;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.ffi.DnnlAttributes;
import dev.gatun.ffi.DnnlDesc;
import dev.gatun.ffi.DnnlPrimitive;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;

/**
 * The gradients of weights, and of a bias, see {@link Winograd}: sums over chunks, in their order.
 */
final class WinogradBackwardWeights extends Winograd {
  /** As forward, but each chunk adds to all of the weights: fewer, larger ones. */
  private static final long CHUNK_BYTES = 8 << 20;

  private final Tensor x;
  private final Tensor dy;
  private final Tensor dw;
  private final int[] places;
  private final int stripsPerChunk;
  private final int tiles;
  private final Runnable biasSlopes;
  private final long v;
  private final long slopes;
  private final long sums; // [P][C][K]
  private final long scratch;
  private final DnnlDesc a;
  private final DnnlDesc b;
  private final DnnlDesc c;
  private final DnnlPrimitive product;
  private final ConcurrentLinkedQueue<Transforms> free = new ConcurrentLinkedQueue<>();
  private final TileLoops.Streams s = new TileLoops.Streams();
  private long bound; // the scratch memory that the product was told of

  /**
   * Allocates nothing but what {@code owned} closes.
   *
   * @param dbias [K], or null
   */
  WinogradBackwardWeights(
      CpuDevice device,
      Tiling tiling,
      Owned owned,
      Conv2d op,
      Tensor x,
      Tensor dy,
      Tensor dw,
      Tensor dbias) {
    super(device, tiling, x.shape(), dy.shape().dim(3));
    this.x = x;
    this.dy = dy;
    this.dw = dw;
    places = places(op.taps());
    stripsPerChunk = stripsPerChunk(CHUNK_BYTES, 1);
    tiles = stripsPerChunk * across;
    biasSlopes =
        dbias == null
            ? () -> {}
            : CpuBias.addBiasBackward(device, new AddBiasBackward(1), List.of(dy), List.of(dbias))
                ::run;
    v = room((long) area * tiles * channels);
    slopes = room((long) area * tiles * filters);
    sums = room((long) area * channels * filters + 3L * patch * WEIGHTS);
    for (int i = 0; i < device.workers().threads(); i++) {
      free.add(new Transforms(x.dtype(), dy.dtype()));
    }
    a = owned.add(matrices(channels, tiles, 1, channels));
    b = owned.add(matrices(tiles, filters, filters, 1));
    c = owned.add(matrices(channels, filters, filters, 1));
    try (DnnlAttributes attributes = new DnnlAttributes()) {
      attributes.accumulate();
      product = owned.add(DnnlPrimitive.matmul(device.dnnl(), a, b, null, c, attributes));
    }
    scratch = room(product.scratchpadBytes() / 4);
    reserve();
  }

  private void transform(long base, int first, int from, int to) {
    Transforms transforms = free.remove(); // there is one for each thread
    try {
      transforms.begin(base);
      for (int i = from; i < to; i++) {
        int at = i * across;
        if (first + i < strips()) {
          transforms.pixels(x, first + i, channels, base + v, tiles, at);
          transforms.slopes(dy, first + i, filters, base + slopes, tiles, at);
        } else {
          // beyond the last image: what is there counts nothing, and must be a number
          for (int p = 0; p < area; p++) {
            zero(base + v + 4L * ((long) p * tiles + at) * channels, (long) across * channels);
            zero(base + slopes + 4L * ((long) p * tiles + at) * filters, (long) across * filters);
          }
        }
      }
    } finally {
      free.add(transforms);
    }
  }

  private void transformBack(long base) {
    int cells = channels * filters;
    long between = base + sums + 4L * area * cells;
    for (int from = 0; from < cells; from += WEIGHTS) {
      int n = Math.min(WEIGHTS, cells - from);
      for (int r = 0; r < patch; r++) {
        for (int j = 0; j < patch; j++) {
          s.in[j] = base + sums + 4L * ((long) (r * patch + j) * cells + from);
        }
        for (int j = 0; j < 3; j++) {
          s.out[j] = between + 4L * (r * 3 + j) * WEIGHTS;
        }
        loops.weightSlopes(s.of(n));
      }
      for (int j = 0; j < 3; j++) {
        for (int r = 0; r < patch; r++) {
          s.in[r] = between + 4L * (r * 3 + j) * WEIGHTS;
        }
        for (int i = 0; i < 3; i++) {
          s.out[i] = dw.address() + 4L * ((long) places[i * 3 + j] * cells + from);
        }
        loops.weightSlopes(s.of(n));
      }
    }
  }

  @Override
  public void run() {
    long base = device.scratchpad().address();
    if (base != bound) {
      product.bind(DNNL_ARG_SRC_0(), a, base + v);
      product.bind(DNNL_ARG_WEIGHTS_0(), b, base + slopes);
      product.bind(DNNL_ARG_DST_0(), c, base + sums);
      if (product.scratchpadBytes() > 0) {
        product.bindScratchpad(base + scratch);
      }
      bound = base;
    }
    zero(base + sums, (long) area * channels * filters);
    for (int first = 0; first < strips(); first += stripsPerChunk) {
      int begin = first;
      device.workers().forRange(stripsPerChunk, 1, (from, to) -> transform(base, begin, from, to));
      product.execute();
    }
    transformBack(base);
    biasSlopes.run();
  }
}
