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
 * there are fewer images than workers, and goes through it a block of rows at a time. What belongs
 * to a channel is laid out once for a whole block, so that each loop runs over the block flat; sums
 * are in f32 over the blocks, of each place in one, and in f64 from there on.
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
    int threads = device.workers().threads();
    parts = images >= threads ? 1 : Math.min(op.groups(), threads);
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
          norm.apply(n, from, to, y);
        });
  }

  static Launch backward(CpuDevice d, GroupNormBackward op, List<Tensor> in, List<Tensor> out) {
    Tensor modulation = in.size() > 6 ? in.get(6) : null;
    CpuGroupNorm norm = new CpuGroupNorm(d, op.forward(), in, in.get(3), in.get(4), modulation);
    Gradients gradients = norm.new Gradients(in.get(5), out);
    return () -> {
      norm.forParts((n, from, to) -> {
        gradients.sums(n, from, to);
        gradients.apply(n, from, to);
      });
      gradients.finish();
    };
  }

  /** What belongs to the channels of a block, for each of its places; a thread's own. */
  private static final class Tile {
    private static final ThreadLocal<Tile> OWN = ThreadLocal.withInitial(Tile::new);

    final float[] mean = new float[Blocks.SIZE];
    final float[] rstd = new float[Blocks.SIZE];
    final float[] factor = new float[Blocks.SIZE];
    final float[] offset = new float[Blocks.SIZE];
    final float[] first = new float[Blocks.SIZE];
    final float[] second = new float[Blocks.SIZE];
    final float[] third = new float[Blocks.SIZE];

    /** Of each element of the part that the thread is at, v's gradient. */
    float[] slopes = {};
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

  /** Channels {@code c} to {@code c + w} of an image, no more than a block holds. */
  private interface Columns {
    void run(Tile tile, int c, int w);
  }

  private static void forColumns(int from, int to, Columns body) {
    for (int c = from; c < to; c += Blocks.SIZE) {
      body.run(Tile.OWN.get(), c, Math.min(Blocks.SIZE, to - c));
    }
  }

  /** Some rows of w channels from row p on, side by side; the first element is at {@code at}. */
  private interface Rows {
    void run(Blocks block, long at, int p, int rows);
  }

  private void forRows(int n, int c, int w, Rows body) {
    int most = Blocks.SIZE / w;
    for (int p = 0; p < pixels; p += most) {
      long at = ((long) n * pixels + p) * channels + c;
      body.run(Blocks.own(), at, p, Math.min(most, pixels - p));
    }
  }

  /** Lays out the first row again and again. */
  private void repeat(float[] tile, int w) {
    int rows = Math.min(pixels, Blocks.SIZE / w);
    for (int r = 1; r < rows; r++) {
      System.arraycopy(tile, 0, tile, r * w, w);
    }
  }

  /** Adds up the rows of a tile; channel c's sum goes to {@code sums[at + c]}. */
  private void addUp(float[] tile, int w, double[] sums, int at) {
    int end = Math.min(pixels, Blocks.SIZE / w) * w;
    Arrays.fill(sums, at, at + w, 0);
    for (int row = 0; row < end; row += w) {
      for (int c = 0; c < w; c++) {
        sums[at + c] += tile[row + c];
      }
    }
  }

  private void load(MemorySegment source, long at, float[] target, int rows, int w) {
    device.loops().loadRows(type, source, at, channels, target, rows, w);
  }

  private void store(float[] values, MemorySegment target, long at, int rows, int w) {
    device.loops().storeRows(type, values, target, at, channels, rows, w);
  }

  // ---- forward

  /**
   * In one pass: of each channel the differences from its first pixel, which nothing cancels in.
   */
  private void statistics(int n, int from, int to, double[] sums, double[] squares) {
    int own = n * channels;
    forColumns(
        from,
        to,
        (tile, c, w) -> {
          long base = (long) n * pixels * channels + c;
          load(x, base, tile.mean, 1, w);
          repeat(tile.mean, w);
          Arrays.fill(tile.first, 0);
          Arrays.fill(tile.second, 0);
          forRows(
              n,
              c,
              w,
              (block, at, p, rows) -> {
                load(x, at, block.a, rows, w);
                differences(block.a, tile.mean, tile.first, tile.second, rows * w);
              });
          addUp(tile.first, w, sums, own + c);
          addUp(tile.second, w, squares, own + c);
          for (int i = 0; i < w; i++) {
            // from here on the channel's mean, and the squares of the differences from it
            double mean = sums[own + c + i] / pixels;
            squares[own + c + i] -= mean * sums[own + c + i];
            sums[own + c + i] = tile.mean[i] + mean;
          }
        });
    for (int c = from; c < to; c += width) {
      group((long) n * op.groups() + c / width, own + c, sums, squares);
    }
  }

  private void group(long group, int first, double[] channelMeans, double[] squares) {
    double mean = 0;
    for (int i = first; i < first + width; i++) {
      mean += channelMeans[i] / width;
    }
    double sum = 0;
    for (int i = first; i < first + width; i++) {
      double d = channelMeans[i] - mean;
      sum += squares[i] + pixels * d * d;
    }
    double rstd = 1 / Math.sqrt(Math.max(0, sum) / ((double) pixels * width) + op.epsilon());
    ScalarLoops.set(DType.F32, means, group, (float) mean);
    ScalarLoops.set(DType.F32, rstds, group, (float) rstd);
  }

  private double scale(int n, int c) {
    return modulation == null ? 1 : 1.0 + ScalarLoops.get(type, modulation, 2L * n * channels + c);
  }

  private float rstd(int n, int c) {
    return ScalarLoops.get(DType.F32, rstds, (long) n * op.groups() + c / width);
  }

  /** v = (x - mean) * factor + offset. */
  private void coefficients(Tile tile, int n, int c, int w) {
    Loops loops = device.loops();
    loops.load(DType.F32, gamma, c, tile.factor, 0, w);
    loops.load(DType.F32, beta, c, tile.offset, 0, w);
    if (modulation != null) {
      loops.load(type, modulation, 2L * n * channels + c, tile.first, 0, w);
      loops.load(type, modulation, (2L * n + 1) * channels + c, tile.second, 0, w);
    }
    for (int i = 0; i < w; i++) {
      if (i == 0 || (c + i) % width == 0) {
        tile.mean[i] = ScalarLoops.get(DType.F32, means, (long) n * op.groups() + (c + i) / width);
        tile.rstd[i] = rstd(n, c + i);
      } else {
        tile.mean[i] = tile.mean[i - 1];
        tile.rstd[i] = tile.rstd[i - 1];
      }
      double scale = modulation == null ? 1 : 1.0 + tile.first[i];
      double shift = modulation == null ? 0 : tile.second[i];
      tile.factor[i] = (float) (tile.rstd[i] * scale * tile.factor[i]);
      tile.offset[i] = (float) (scale * tile.offset[i] + shift);
    }
    for (float[] each : new float[][] {tile.mean, tile.rstd, tile.factor, tile.offset}) {
      repeat(each, w);
    }
  }

  private void apply(int n, int from, int to, MemorySegment y) {
    forColumns(
        from,
        to,
        (tile, c, w) -> {
          coefficients(tile, n, c, w);
          forRows(
              n,
              c,
              w,
              (block, at, p, rows) -> {
                load(x, at, block.a, rows, w);
                if (op.silu()) {
                  device
                      .loops()
                      .normalizedSilu(block.a, tile.mean, tile.factor, tile.offset, rows * w);
                } else {
                  values(block.a, tile.mean, tile.factor, tile.offset, rows * w);
                }
                store(block.a, y, at, rows, w);
              });
        });
  }

  // ---- backward

  private final class Gradients {
    private final MemorySegment dy;
    private final MemorySegment dx;
    private final MemorySegment dgamma;
    private final MemorySegment dbeta;
    private final MemorySegment dmodulation; // or null

    // of each channel of each image: the sums of v's gradient times z, and of v's gradient
    private final double[] dots = new double[images * channels];
    private final double[] sums = new double[images * channels];
    // of each group of each image: the means of the same, times gamma and the scale
    private final double[] along = new double[images * op.groups()];
    private final double[] base = new double[images * op.groups()];

    Gradients(Tensor dy, List<Tensor> out) {
      this.dy = device.segment(dy);
      dx = device.segment(out.get(0));
      dgamma = device.segment(out.get(1));
      dbeta = device.segment(out.get(2));
      dmodulation = out.size() > 3 ? device.segment(out.get(3)) : null;
    }

    /** Leaves x - mean in a, the gradient of v in b. */
    private void load(Tile tile, Blocks block, long at, int rows, int w) {
      CpuGroupNorm.this.load(x, at, block.a, rows, w);
      CpuGroupNorm.this.load(dy, at, block.b, rows, w);
      int n = rows * w;
      if (op.silu()) {
        device.loops().throughSilu(block.a, block.b, tile.mean, tile.factor, tile.offset, n);
      } else {
        subtract(block.a, tile.mean, n);
      }
    }

    /** What is known of a part between the two passes over it. */
    private float[] slopes(int from, int to) {
      int size = Math.multiplyExact(pixels, to - from);
      Tile tile = Tile.OWN.get();
      if (tile.slopes.length < size) {
        tile.slopes = new float[size];
      }
      return tile.slopes;
    }

    void sums(int n, int from, int to) {
      int own = n * channels;
      float[] slopes = slopes(from, to);
      forColumns(
          from,
          to,
          (tile, c, w) -> {
            coefficients(tile, n, c, w);
            Arrays.fill(tile.first, 0);
            Arrays.fill(tile.second, 0);
            forRows(
                n,
                c,
                w,
                (block, at, p, rows) -> {
                  load(tile, block, at, rows, w);
                  products(block.a, block.b, tile.first, tile.second, rows * w);
                  System.arraycopy(block.b, 0, slopes, (c - from) * pixels + p * w, rows * w);
                });
            addUp(tile.first, w, dots, own + c);
            addUp(tile.second, w, sums, own + c);
            for (int i = 0; i < w; i++) {
              dots[own + c + i] *= tile.rstd[i];
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
        int i = n * channels + c;
        double g = ScalarLoops.get(DType.F32, gamma, c);
        sum += scale(n, c) * g * sums[i];
        dot += scale(n, c) * g * dots[i];
        if (dmodulation != null) {
          double b = ScalarLoops.get(DType.F32, beta, c);
          long at = 2L * n * channels + c;
          ScalarLoops.set(type, dmodulation, at, (float) (g * dots[i] + b * sums[i]));
          ScalarLoops.set(type, dmodulation, at + channels, (float) sums[i]);
        }
      }
      base[n * op.groups() + first / width] = sum / count;
      along[n * op.groups() + first / width] = dot / count;
    }

    /** dx = dv * slope - base - (x - mean) * along, these times rstd. */
    void apply(int n, int from, int to) {
      float[] slopes = slopes(from, to);
      forColumns(
          from,
          to,
          (tile, c, w) -> {
            coefficients(tile, n, c, w);
            for (int i = 0; i < w; i++) {
              int group = n * op.groups() + (c + i) / width;
              double rstd = tile.rstd[i];
              tile.first[i] = tile.factor[i];
              tile.second[i] = (float) (rstd * base[group]);
              tile.third[i] = (float) (rstd * rstd * along[group]);
            }
            for (float[] each : new float[][] {tile.first, tile.second, tile.third}) {
              repeat(each, w);
            }
            forRows(
                n,
                c,
                w,
                (block, at, p, rows) -> {
                  int count = rows * w;
                  CpuGroupNorm.this.load(x, at, block.a, rows, w);
                  System.arraycopy(slopes, (c - from) * pixels + p * w, block.b, 0, count);
                  combine(block.b, block.a, tile.mean, tile.first, tile.second, tile.third, count);
                  store(block.b, dx, at, rows, w);
                });
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

  // ---- loops: each alone in its method, which is what C2 makes vector code of

  private static void differences(float[] a, float[] from, float[] sums, float[] squares, int n) {
    for (int i = 0; i < n; i++) {
      float d = a[i] - from[i];
      sums[i] += d;
      squares[i] += d * d;
    }
  }

  private static void values(float[] a, float[] mean, float[] factor, float[] offset, int n) {
    for (int i = 0; i < n; i++) {
      a[i] = (a[i] - mean[i]) * factor[i] + offset[i];
    }
  }

  private static void subtract(float[] a, float[] mean, int n) {
    for (int i = 0; i < n; i++) {
      a[i] -= mean[i];
    }
  }

  private static void products(float[] a, float[] dv, float[] dots, float[] sums, int n) {
    for (int i = 0; i < n; i++) {
      dots[i] += a[i] * dv[i];
      sums[i] += dv[i];
    }
  }

  private static void combine(
      float[] dv, float[] a, float[] mean, float[] slope, float[] base, float[] along, int n) {
    for (int i = 0; i < n; i++) {
      dv[i] = dv[i] * slope[i] - base[i] - (a[i] - mean[i]) * along[i];
    }
  }
}
