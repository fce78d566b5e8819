package dev.gatun.engine.cpu;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.GroupNormBackward;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;

/**
 * Group normalization, modulation and SiLU. A worker takes an image, or some of its groups where
 * there are fewer images than workers, and goes through it a block of rows at a time; sums are in
 * f64, a channel at a time.
 */
final class CpuGroupNorm {
  private final CpuDevice device;
  private final GroupNorm op;
  private final DType type;
  private final MemorySegment x;
  private final MemorySegment gamma;
  private final MemorySegment beta;
  private final MemorySegment means;
  private final MemorySegment rstds;
  private final MemorySegment modulation; // or null
  private final int images;
  private final int pixels;
  private final int channels;
  private final int width; // of a group
  private final int parts; // of an image

  // of each channel of each image: what its elements go through, v = (x - mean) * factor + offset
  private final float[] mean;
  private final float[] factor;
  private final float[] offset;

  private CpuGroupNorm(
      CpuDevice device,
      GroupNorm op,
      List<Tensor> in,
      Tensor means,
      Tensor rstds,
      Tensor modulation) {
    this.device = device;
    this.op = op;
    this.means = device.segment(means);
    this.rstds = device.segment(rstds);
    this.modulation = modulation == null ? null : device.segment(modulation);
    type = in.getFirst().dtype();
    x = device.segment(in.getFirst());
    gamma = device.segment(in.get(1));
    beta = device.segment(in.get(2));
    Shape shape = in.getFirst().shape();
    images = shape.dim(0);
    pixels = shape.dim(1) * shape.dim(2);
    channels = shape.dim(3);
    width = channels / op.groups();
    int workers = Runtime.getRuntime().availableProcessors();
    parts = images >= workers ? 1 : Math.min(op.groups(), workers);
    mean = new float[images * channels];
    factor = new float[images * channels];
    offset = new float[images * channels];
  }

  static Launch forward(CpuDevice d, GroupNorm op, List<Tensor> in, List<Tensor> out) {
    Tensor modulation = in.size() > 3 ? in.get(3) : null;
    CpuGroupNorm norm = new CpuGroupNorm(d, op, in, out.get(1), out.get(2), modulation);
    MemorySegment y = d.segment(out.getFirst());
    double[] sums = new double[norm.images * norm.channels];
    double[] squares = new double[norm.images * norm.channels];
    return () ->
        norm.forParts((n, from, to) -> {
          norm.statistics(n, from, to, sums, squares);
          norm.coefficients(n, from, to);
          norm.apply(n, from, to, y);
        });
  }

  static Launch backward(CpuDevice d, GroupNormBackward op, List<Tensor> in, List<Tensor> out) {
    Tensor modulation = in.size() > 6 ? in.get(6) : null;
    CpuGroupNorm norm = new CpuGroupNorm(d, op.forward(), in, in.get(3), in.get(4), modulation);
    Gradients gradients = norm.new Gradients(in.get(5), out);
    return () -> {
      norm.forParts((n, from, to) -> {
        norm.coefficients(n, from, to);
        gradients.sums(n, from, to);
        gradients.apply(n, from, to);
      });
      gradients.finish();
    };
  }

  /** Channels {@code from} to {@code to} of an image: whole groups. */
  private interface Part {
    void run(int n, int from, int to);
  }

  private void forParts(Part part) {
    device
        .workers()
        .forRange(
            images * parts,
            1,
            (first, last) -> {
              for (int i = first; i < last; i++) {
                int at = i % parts;
                int from = (int) ((long) op.groups() * at / parts) * width;
                int to = (int) ((long) op.groups() * (at + 1) / parts) * width;
                part.run(i / parts, from, to);
              }
            });
  }

  /** A block of elements: {@code rows} rows of {@code n} channels from {@code channel} on. */
  private interface Body {
    void run(Blocks block, long at, int channel, int rows, int n);
  }

  private void forBlocks(int n, int from, int to, Body body) {
    Pieces.forEach(
        0,
        pixels,
        to - from,
        (row, column, rows, count) -> {
          long at = ((long) n * pixels + row) * channels + from + column;
          body.run(Blocks.own(), at, n * channels + from + column, rows, count);
        });
  }

  private void load(MemorySegment source, long at, float[] target, int rows, int n) {
    device.loops().loadRows(type, source, at, channels, target, rows, n);
  }

  private void store(float[] values, MemorySegment target, long at, int rows, int n) {
    device.loops().storeRows(type, values, target, at, channels, rows, n);
  }

  private void statistics(int n, int from, int to, double[] sums, double[] squares) {
    double count = (double) pixels * width;
    int first = n * channels;
    Arrays.fill(sums, first + from, first + to, 0);
    Arrays.fill(squares, first + from, first + to, 0);
    forBlocks(n, from, to, (block, at, channel, rows, w) -> {
      load(x, at, block.a, rows, w);
      addRows(block.a, sums, channel, rows, w);
    });
    for (int c = from; c < to; c += width) {
      double sum = 0;
      for (int i = c; i < c + width; i++) {
        sum += sums[first + i];
      }
      ScalarLoops.set(DType.F32, means, (long) n * op.groups() + c / width, (float) (sum / count));
      Arrays.fill(mean, first + c, first + c + width, (float) (sum / count));
    }
    forBlocks(n, from, to, (block, at, channel, rows, w) -> {
      load(x, at, block.a, rows, w);
      addSquares(block.a, mean, squares, channel, rows, w);
    });
    for (int c = from; c < to; c += width) {
      double sum = 0;
      for (int i = c; i < c + width; i++) {
        sum += squares[first + i];
      }
      double rstd = 1 / Math.sqrt(sum / count + op.epsilon());
      ScalarLoops.set(DType.F32, rstds, (long) n * op.groups() + c / width, (float) rstd);
    }
  }

  // a loop a method: C2 makes vector code of those that are short and alone

  private static void addRows(float[] a, double[] sums, int channel, int rows, int n) {
    for (int r = 0; r < rows; r++) {
      addRow(a, r * n, sums, channel, n);
    }
  }

  private static void addRow(float[] a, int at, double[] sums, int channel, int n) {
    for (int i = 0; i < n; i++) {
      sums[channel + i] += a[at + i];
    }
  }

  private static void addSquares(
      float[] a, float[] mean, double[] squares, int channel, int rows, int n) {
    for (int r = 0; r < rows; r++) {
      addSquare(a, r * n, mean, squares, channel, n);
    }
  }

  private static void addSquare(
      float[] a, int at, float[] mean, double[] squares, int channel, int n) {
    for (int i = 0; i < n; i++) {
      float d = a[at + i] - mean[channel + i];
      squares[channel + i] += d * d;
    }
  }

  private double scale(int n, int c) {
    return modulation == null
        ? 1
        : 1.0 + ScalarLoops.get(type, modulation, 2L * n * channels + c);
  }

  private double shift(int n, int c) {
    return modulation == null
        ? 0
        : ScalarLoops.get(type, modulation, (2L * n + 1) * channels + c);
  }

  private float rstd(int n, int c) {
    return ScalarLoops.get(DType.F32, rstds, (long) n * op.groups() + c / width);
  }

  private void coefficients(int n, int from, int to) {
    for (int c = from; c < to; c++) {
      int i = n * channels + c;
      double scale = scale(n, c);
      mean[i] = ScalarLoops.get(DType.F32, means, (long) n * op.groups() + c / width);
      factor[i] = (float) (rstd(n, c) * scale * ScalarLoops.get(DType.F32, gamma, c));
      offset[i] = (float) (scale * ScalarLoops.get(DType.F32, beta, c) + shift(n, c));
    }
  }

  private void apply(int n, int from, int to, MemorySegment y) {
    forBlocks(n, from, to, (block, at, channel, rows, w) -> {
      load(x, at, block.a, rows, w);
      values(block.a, block.a, channel, rows, w);
      if (op.silu()) {
        System.arraycopy(block.a, 0, block.b, 0, rows * w);
        device.loops().sigmoid(block.b, rows * w);
        Arithmetic.multiply(block.a, block.b, rows * w);
      }
      store(block.a, y, at, rows, w);
    });
  }

  private void values(float[] a, float[] v, int channel, int rows, int n) {
    for (int r = 0; r < rows; r++) {
      value(a, r * n, v, mean, factor, offset, channel, n);
    }
  }

  private static void value(
      float[] a,
      int at,
      float[] v,
      float[] mean,
      float[] factor,
      float[] offset,
      int channel,
      int n) {
    for (int i = 0; i < n; i++) {
      v[at + i] = (a[at + i] - mean[channel + i]) * factor[channel + i] + offset[channel + i];
    }
  }

  private final class Gradients {
    private final MemorySegment dy;
    private final MemorySegment dx;
    private final MemorySegment dgamma;
    private final MemorySegment dbeta;
    private final MemorySegment dmodulation; // or null

    // of each channel of each image: the sums of v's gradient times z, and of v's gradient
    private final double[] dots = new double[images * channels];
    private final double[] sums = new double[images * channels];
    private final float[] rstd = new float[images * channels];
    // dx = dv * slope - base - z * along
    private final float[] slope = new float[images * channels];
    private final float[] base = new float[images * channels];
    private final float[] along = new float[images * channels];

    Gradients(Tensor dy, List<Tensor> out) {
      this.dy = device.segment(dy);
      dx = device.segment(out.get(0));
      dgamma = device.segment(out.get(1));
      dbeta = device.segment(out.get(2));
      dmodulation = out.size() > 3 ? device.segment(out.get(3)) : null;
    }

    /** x in a, z in c, the gradient of v in b. */
    private void load(Blocks block, long at, int channel, int rows, int w) {
      CpuGroupNorm.this.load(x, at, block.a, rows, w);
      CpuGroupNorm.this.load(dy, at, block.b, rows, w);
      if (op.silu()) {
        values(block.a, block.c, channel, rows, w);
        System.arraycopy(block.c, 0, block.d, 0, rows * w);
        device.loops().sigmoid(block.d, rows * w);
        throughSilu(block.b, block.c, block.d, rows * w);
      }
      for (int r = 0; r < rows; r++) {
        normal(block.a, r * w, block.c, mean, rstd, channel, w);
      }
    }

    void sums(int n, int from, int to) {
      int first = n * channels;
      for (int c = from; c < to; c++) {
        rstd[first + c] = rstd(n, c);
        dots[first + c] = 0;
        sums[first + c] = 0;
      }
      forBlocks(n, from, to, (block, at, channel, rows, w) -> {
        load(block, at, channel, rows, w);
        for (int r = 0; r < rows; r++) {
          addRow(block.b, r * w, sums, channel, w);
          addProducts(block.b, block.c, r * w, dots, channel, w);
        }
      });
      for (int c = from; c < to; c += width) {
        group(n, c);
      }
    }

    private void group(int n, int first) {
      double count = (double) pixels * width;
      double sum = 0;
      double dot = 0;
      for (int c = first; c < first + width; c++) {
        double slope = scale(n, c) * ScalarLoops.get(DType.F32, gamma, c);
        sum += slope * sums[n * channels + c];
        dot += slope * dots[n * channels + c];
      }
      for (int c = first; c < first + width; c++) {
        int i = n * channels + c;
        double g = ScalarLoops.get(DType.F32, gamma, c);
        slope[i] = (float) (rstd[i] * scale(n, c) * g);
        base[i] = (float) (rstd[i] * sum / count);
        along[i] = (float) (rstd[i] * dot / count);
        if (dmodulation != null) {
          double b = ScalarLoops.get(DType.F32, beta, c);
          long at = 2L * n * channels + c;
          ScalarLoops.set(type, dmodulation, at, (float) (g * dots[i] + b * sums[i]));
          ScalarLoops.set(type, dmodulation, at + channels, (float) sums[i]);
        }
      }
    }

    void apply(int n, int from, int to) {
      forBlocks(n, from, to, (block, at, channel, rows, w) -> {
        load(block, at, channel, rows, w);
        for (int r = 0; r < rows; r++) {
          combine(block.b, block.c, r * w, slope, base, along, channel, w);
        }
        store(block.b, dx, at, rows, w);
      });
    }

    /** Over the images, in order. */
    void finish() {
      for (int c = 0; c < channels; c++) {
        double dot = 0;
        double sum = 0;
        for (int n = 0; n < images; n++) {
          dot += scale(n, c) * dots[n * channels + c];
          sum += scale(n, c) * sums[n * channels + c];
        }
        ScalarLoops.set(DType.F32, dgamma, c, (float) dot);
        ScalarLoops.set(DType.F32, dbeta, c, (float) sum);
      }
    }
  }

  /** dy = dy g (1 + v (1 - g)), g = sigmoid(v). */
  private static void throughSilu(float[] dy, float[] v, float[] g, int n) {
    for (int i = 0; i < n; i++) {
      dy[i] *= g[i] * (1 + v[i] * (1 - g[i]));
    }
  }

  private static void normal(
      float[] a, int at, float[] z, float[] mean, float[] rstd, int channel, int n) {
    for (int i = 0; i < n; i++) {
      z[at + i] = (a[at + i] - mean[channel + i]) * rstd[channel + i];
    }
  }

  private static void addProducts(
      float[] a, float[] b, int at, double[] sums, int channel, int n) {
    for (int i = 0; i < n; i++) {
      sums[channel + i] += a[at + i] * b[at + i];
    }
  }

  private static void combine(
      float[] dv,
      float[] z,
      int at,
      float[] slope,
      float[] base,
      float[] along,
      int channel,
      int n) {
    for (int i = 0; i < n; i++) {
      dv[at + i] =
          dv[at + i] * slope[channel + i] - base[channel + i] - z[at + i] * along[channel + i];
    }
  }
}
