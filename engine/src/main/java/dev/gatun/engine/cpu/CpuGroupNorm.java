package dev.gatun.engine.cpu;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.cpu.NormLoops.Columns;
import dev.gatun.engine.cpu.NormLoops.Strip;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.GroupNormBackward;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;

/**
 * Group normalization, modulation and SiLU. A worker takes an image, or some of its groups where
 * there are fewer images than workers, and goes through it a strip at a time: see {@link
 * NormLoops}. Sums are in f32 down a strip, and in f64 from there on.
 */
final class CpuGroupNorm {
  private static final NormLoops SCALAR = new ScalarLoops().norm();

  /**
   * Elements of a strip: few enough that a cache line is still there for its second vector of
   * columns.
   */
  private static final int STRIP = 8 * Blocks.SIZE;

  /** No more rows of it than an f32 sum may have terms. */
  private static final int ROWS = 128;

  private final CpuDevice device;
  private final NormLoops loops;
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
  private final int unit; // groups that make whole vectors
  private final int parts; // of an image, each some units

  private CpuGroupNorm(
      CpuDevice device,
      GroupNorm op,
      List<Tensor> in,
      Tensor means,
      Tensor rstds,
      Tensor modulation) {
    this.device = device;
    loops = device.loops().norm();
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
    unit = loops.lanes() / Math.min(loops.lanes(), Integer.lowestOneBit(width));
    int threads = device.workers().threads();
    parts = images >= threads ? 1 : Math.min(Math.ceilDiv(op.groups(), unit), threads);
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
                part.run(i / parts, firstChannel(at), firstChannel(at + 1));
              }
            });
  }

  private int firstChannel(int part) {
    long units = Math.ceilDiv(op.groups(), unit);
    return (int) Math.min(op.groups(), units * part / parts * unit) * width;
  }

  /** Channels {@code c} to {@code c + w} of an image, no more than there are columns. */
  private interface Channels {
    void run(Columns columns, int c, int w);
  }

  private static void forChannels(int from, int to, Channels body) {
    for (int c = from; c < to; c += Blocks.SIZE) {
      body.run(Columns.own(), c, Math.min(Blocks.SIZE, to - c));
    }
  }

  private interface Strips {
    void run(NormLoops loops, Strip strip);
  }

  /**
   * All elements of channels c to c + w of an image. Where these are all channels, what follows
   * each other in memory is taken as longer rows, which vectors divide.
   *
   * @param slopes where the first element's is
   */
  private void forStrips(int n, int c, int w, int slopes, Strips body) {
    long at = (long) n * pixels * channels + c;
    int all = columns(w);
    int rows = pixels * w / all;
    int whole = all - all % loops.lanes();
    int done = slopes;
    if (whole > 0) {
      done = forRows(loops, at, rows, 0, whole, stride(w), done, body);
    }
    if (whole < all) {
      done = forRows(SCALAR, at + whole, rows, whole, all - whole, stride(w), done, body);
    }
    int rest = pixels * w - rows * all;
    if (rest > 0) {
      forRows(SCALAR, at + (long) rows * all, 1, 0, rest, rest, done, body);
    }
  }

  private static int forRows(
      NormLoops loops,
      long at,
      int rows,
      int column,
      int columns,
      int stride,
      int slopes,
      Strips body) {
    int most = Math.clamp(STRIP / columns, 1, ROWS);
    for (int r = 0; r < rows; r += most) {
      int count = Math.min(most, rows - r);
      int done = slopes + r * columns;
      body.run(loops, new Strip(at + (long) r * stride, stride, count, column, columns, done));
    }
    return slopes + rows * columns;
  }

  /** How many columns w channels are. */
  private int columns(int w) {
    if (w < channels) {
      return w;
    }
    // their least common multiple: the lanes are a power of two
    int together = loops.lanes() / Math.min(loops.lanes(), Integer.lowestOneBit(w));
    return together * w <= Blocks.SIZE && together <= pixels ? together * w : w;
  }

  private int stride(int w) {
    return w < channels ? channels : columns(w);
  }

  /** Lays out what w channels have for all columns. */
  private void repeat(float[] values, int w) {
    for (int i = w; i < columns(w); i += w) {
      System.arraycopy(values, 0, values, i, w);
    }
  }

  /** Clears the totals of all columns of w channels. */
  private void clear(Columns columns, int w) {
    Arrays.fill(columns.firstTotal, 0, columns(w), 0);
    Arrays.fill(columns.secondTotal, 0, columns(w), 0);
  }

  private static void addUp(Columns columns, Strip strip) {
    int to = strip.column() + strip.columns();
    add(columns.first, columns.firstTotal, strip.column(), to);
    add(columns.second, columns.secondTotal, strip.column(), to);
  }

  private static void add(float[] sums, double[] totals, int from, int to) {
    for (int i = from; i < to; i++) {
      totals[i] += sums[i];
    }
  }

  /** Channel c's sum goes to {@code sums[at + c]}. */
  private void addUp(double[] totals, int w, double[] sums, int at) {
    System.arraycopy(totals, 0, sums, at, w);
    for (int i = w; i < columns(w); i++) {
      sums[at + i % w] += totals[i];
    }
  }

  // ---- forward

  /**
   * In one pass: of each channel the differences from its first pixel, which nothing cancels in.
   */
  private void statistics(int n, int from, int to, double[] sums, double[] squares) {
    int first = n * channels;
    forChannels(
        from,
        to,
        (columns, c, w) -> {
          device.loops().load(type, x, (long) n * pixels * channels + c, columns.base, 0, w);
          repeat(columns.base, w);
          clear(columns, w);
          forStrips(
              n,
              c,
              w,
              0,
              (by, strip) -> {
                by.differences(type, x, strip, columns);
                addUp(columns, strip);
              });
          addUp(columns.firstTotal, w, sums, first + c);
          addUp(columns.secondTotal, w, squares, first + c);
          for (int i = first + c; i < first + c + w; i++) {
            // from here on the channel's mean, and the squares of the differences from it
            double mean = sums[i] / pixels;
            squares[i] -= mean * sums[i];
            sums[i] = columns.base[i - first - c] + mean;
          }
        });
    for (int c = from; c < to; c += width) {
      group((long) n * op.groups() + c / width, first + c, sums, squares);
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
  private void coefficients(Columns columns, int n, int c, int w) {
    Loops loops = device.loops();
    loops.load(DType.F32, gamma, c, columns.factor, 0, w);
    loops.load(DType.F32, beta, c, columns.offset, 0, w);
    if (modulation != null) {
      loops.load(type, modulation, 2L * n * channels + c, columns.first, 0, w);
      loops.load(type, modulation, (2L * n + 1) * channels + c, columns.second, 0, w);
    }
    for (int i = 0; i < w; i++) {
      if (i == 0 || (c + i) % width == 0) {
        columns.mean[i] =
            ScalarLoops.get(DType.F32, means, (long) n * op.groups() + (c + i) / width);
        columns.rstd[i] = rstd(n, c + i);
      } else {
        columns.mean[i] = columns.mean[i - 1];
        columns.rstd[i] = columns.rstd[i - 1];
      }
      double scale = modulation == null ? 1 : 1.0 + columns.first[i];
      double shift = modulation == null ? 0 : columns.second[i];
      columns.factor[i] = (float) (columns.rstd[i] * scale * columns.factor[i]);
      columns.offset[i] = (float) (scale * columns.offset[i] + shift);
    }
    for (float[] each : new float[][] {columns.mean, columns.factor, columns.offset}) {
      repeat(each, w);
    }
  }

  private void apply(int n, int from, int to, MemorySegment y) {
    forChannels(
        from,
        to,
        (columns, c, w) -> {
          coefficients(columns, n, c, w);
          forStrips(n, c, w, 0, (by, strip) -> by.apply(type, x, strip, columns, op.silu(), y));
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

    void sums(int n, int from, int to) {
      int first = n * channels;
      Columns.own().reserve(Math.multiplyExact(pixels, to - from));
      forChannels(
          from,
          to,
          (columns, c, w) -> {
            coefficients(columns, n, c, w);
            clear(columns, w);
            forStrips(
                n,
                c,
                w,
                (c - from) * pixels,
                (by, strip) -> {
                  by.slopes(type, x, dy, strip, columns, op.silu());
                  addUp(columns, strip);
                });
            addUp(columns.firstTotal, w, dots, first + c);
            addUp(columns.secondTotal, w, sums, first + c);
            for (int i = 0; i < w; i++) {
              dots[first + c + i] *= columns.rstd[i];
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
      forChannels(
          from,
          to,
          (columns, c, w) -> {
            coefficients(columns, n, c, w);
            for (int i = 0; i < w; i++) {
              int group = n * op.groups() + (c + i) / width;
              double rstd = columns.rstd[i];
              columns.base[i] = (float) (rstd * base[group]);
              columns.along[i] = (float) (rstd * rstd * along[group]);
            }
            repeat(columns.base, w);
            repeat(columns.along, w);
            forStrips(
                n,
                c,
                w,
                (c - from) * pixels,
                (by, strip) -> by.combine(type, x, strip, columns, dx));
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
}
