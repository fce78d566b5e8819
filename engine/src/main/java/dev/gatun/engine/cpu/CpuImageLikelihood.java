package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.ImageLikelihood;
import dev.gatun.engine.op.ImageLikelihoodBackward;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Likelihoods of whole images: each value in f32, the sum over an image in f64. Images are shared
 * between threads, values of one are taken a block at a time, so that sums do not depend on them.
 */
final class CpuImageLikelihood {
  /** Channels from which on a copy a pixel is worth it. */
  private static final int WIDE = 16;

  private final CpuDevice d;
  private final String op;
  private final ImageLikelihood.Kind kind;
  private final int levels;
  private final MemorySegment parameters;
  private final MemorySegment targets;
  private final DType targetType;
  private final int rows;
  private final int images;
  private final int pixels; // of an image
  private final int channels;
  private final float half; // a step between levels

  private CpuImageLikelihood(
      CpuDevice d, String op, ImageLikelihood.Kind kind, int levels, List<Tensor> in) {
    this.d = d;
    this.op = op;
    this.kind = kind;
    this.levels = levels;
    parameters = d.segment(in.get(0));
    targets = d.segment(in.get(1));
    targetType = in.get(1).dtype();
    Shape shape = in.get(1).shape();
    rows = in.get(0).shape().dim(0);
    images = shape.dim(0);
    pixels = shape.dim(1) * shape.dim(2);
    channels = shape.dim(3);
    half = 1f / (levels - 1);
  }

  static Launch forward(CpuDevice d, ImageLikelihood op, List<Tensor> in, List<Tensor> out) {
    CpuImageLikelihood likelihood =
        new CpuImageLikelihood(d, op.name(), op.kind(), op.levels(), in);
    MemorySegment nats = d.segment(out.getFirst());
    return () -> likelihood.forEachRow(row -> likelihood.nats(row, nats));
  }

  static Launch backward(
      CpuDevice d, ImageLikelihoodBackward op, List<Tensor> in, List<Tensor> out) {
    CpuImageLikelihood likelihood =
        new CpuImageLikelihood(d, op.name(), op.kind(), op.levels(), in);
    MemorySegment dnats = d.segment(in.get(2));
    MemorySegment dparameters = d.segment(out.getFirst());
    return () ->
        likelihood.forEachRow(row ->
            likelihood.gradient(
                row, ScalarLoops.get(DType.F32, dnats, row), op.type(), dparameters));
  }

  private interface Row {
    void run(int row);
  }

  private void forEachRow(Row body) {
    d.workers()
        .forRange(
            rows,
            1,
            (from, to) -> {
              for (int row = from; row < to; row++) {
                body.run(row);
              }
            });
  }

  private void nats(int row, MemorySegment nats) {
    Blocks block = Blocks.own();
    double[] sum = new double[1];
    Pieces.forEach(
        0,
        pixels,
        channels,
        (pixel, channel, count, width) -> {
          load(block, row, pixel, channel, count, width);
          int n = count * width;
          switch (kind) {
            case BERNOULLI -> d.loops().bernoulliNats(block, n);
            case GAUSSIAN -> d.loops().gaussianNats(block, n);
            case SQUARED -> squares(block.a, block.c, n);
            case LOGISTIC -> d.loops().logisticNats(block, half, n);
          }
          sum[0] += d.loops().sum(block.a, n);
        });
    ScalarLoops.set(DType.F32, nats, row, (float) sum[0]);
  }

  private void gradient(int row, float scale, DType type, MemorySegment dparameters) {
    Blocks block = Blocks.own();
    Pieces.forEach(
        0,
        pixels,
        channels,
        (pixel, channel, count, width) -> {
          load(block, row, pixel, channel, count, width);
          int n = count * width;
          switch (kind) {
            case BERNOULLI -> d.loops().bernoulliSlopes(block, n);
            case GAUSSIAN -> d.loops().gaussianSlopes(block, n);
            case SQUARED -> differences(block.a, block.c, n);
            case LOGISTIC -> d.loops().logisticSlopes(block, half, n);
          }
          scale(block.a, scale, n);
          if (kind.blocks() > 1) {
            scale(block.b, scale, n);
          }
          store(block, row, pixel, channel, count, width, type, dparameters);
        });
  }

  private static void squares(float[] a, float[] c, int n) {
    for (int i = 0; i < n; i++) {
      float difference = c[i] - a[i];
      a[i] = 0.5f * difference * difference;
    }
  }

  private static void differences(float[] a, float[] c, int n) {
    for (int i = 0; i < n; i++) {
      a[i] -= c[i];
    }
  }

  private static void scale(float[] a, float factor, int n) {
    for (int i = 0; i < n; i++) {
      a[i] *= factor;
    }
  }

  /** Where the first parameter of a pixel is. */
  private long parameter(int row, int pixel) {
    return ((long) row * pixels + pixel) * kind.blocks() * channels;
  }

  /** The first parameters into a, the second into b, what they are compared with into c. */
  private void load(Blocks block, int row, int pixel, int channel, int count, int width) {
    int n = count * width;
    long at = parameter(row, pixel) + channel;
    Loops loops = d.loops();
    if (kind.blocks() == 1) {
      loops.load(DType.F32, parameters, at, block.a, 0, n);
    } else if (channels < WIDE) {
      loops.load(DType.F32, parameters, at, block.pairs, 0, 2 * n);
      split(block, count, width);
    } else {
      loops.loadRows(DType.F32, parameters, at, 2L * channels, block.a, count, width);
      loops.loadRows(DType.F32, parameters, at + channels, 2L * channels, block.b, count, width);
    }
    long target = ((long) (row % images) * pixels + pixel) * channels + channel;
    if (targetType == DType.F32) {
      loops.load(DType.F32, targets, target, block.c, 0, n);
      return;
    }
    MemorySegment.copy(targets, JAVA_BYTE, target, block.bytes, 0, n);
    boolean shares = kind == ImageLikelihood.Kind.BERNOULLI;
    int most =
        loops.levels(block.bytes, shares ? 1 : 2, shares ? 0 : levels - 1, levels - 1, block.c, n);
    if (most >= levels) {
      throw new IllegalArgumentException(
          "%s: value %d in image %d, but there are %d levels"
              .formatted(op, most, row % images, levels));
    }
  }

  private void split(Blocks block, int count, int width) {
    if (width == 1) {
      d.loops().split(block.pairs, block.a, block.b, count);
      return;
    }
    for (int i = 0; i < count; i++) {
      for (int c = 0; c < width; c++) {
        block.a[i * width + c] = block.pairs[2 * i * width + c];
        block.b[i * width + c] = block.pairs[(2 * i + 1) * width + c];
      }
    }
  }

  private void join(Blocks block, int count, int width) {
    if (width == 1) {
      d.loops().join(block.a, block.b, block.pairs, count);
      return;
    }
    for (int i = 0; i < count; i++) {
      for (int c = 0; c < width; c++) {
        block.pairs[2 * i * width + c] = block.a[i * width + c];
        block.pairs[(2 * i + 1) * width + c] = block.b[i * width + c];
      }
    }
  }

  private void store(
      Blocks block,
      int row,
      int pixel,
      int channel,
      int count,
      int width,
      DType type,
      MemorySegment target) {
    int n = count * width;
    long at = parameter(row, pixel) + channel;
    Loops loops = d.loops();
    if (kind.blocks() == 1) {
      loops.store(type, block.a, 0, target, at, n);
    } else if (channels < WIDE) {
      join(block, count, width);
      loops.store(type, block.pairs, 0, target, at, 2 * n);
    } else {
      loops.storeRows(type, block.a, target, at, 2L * channels, count, width);
      loops.storeRows(type, block.b, target, at + channels, 2L * channels, count, width);
    }
  }
}
