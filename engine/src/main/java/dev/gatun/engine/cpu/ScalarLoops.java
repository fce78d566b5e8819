package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import dev.gatun.engine.DType;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** The plain form: readable, and what runs without the Vector API. */
final class ScalarLoops implements Loops {
  private final ScalarNorm norm = new ScalarNorm(this);

  @Override
  public String description() {
    return "plain Java loops (slower: start Java with --add-modules jdk.incubator.vector)";
  }

  static float get(DType type, MemorySegment s, long i) {
    return type == DType.BF16
        ? DType.fromBf16(s.get(JAVA_SHORT_UNALIGNED, 2 * i))
        : s.get(JAVA_FLOAT_UNALIGNED, 4 * i);
  }

  static void set(DType type, MemorySegment s, long i, float value) {
    if (type == DType.BF16) {
      s.set(JAVA_SHORT_UNALIGNED, 2 * i, DType.toBf16(value));
    } else {
      s.set(JAVA_FLOAT_UNALIGNED, 4 * i, value);
    }
  }

  @Override
  public void load(DType type, MemorySegment source, long from, float[] target, int at, int n) {
    if (type == DType.F32) {
      MemorySegment.copy(source, JAVA_FLOAT_UNALIGNED, 4 * from, target, at, n);
      return;
    }
    for (int i = 0; i < n; i++) {
      target[at + i] = DType.fromBf16(source.get(JAVA_SHORT_UNALIGNED, 2 * (from + i)));
    }
  }

  @Override
  public void store(DType type, float[] source, int at, MemorySegment target, long to, int n) {
    if (type == DType.F32) {
      MemorySegment.copy(source, at, target, JAVA_FLOAT_UNALIGNED, 4 * to, n);
      return;
    }
    for (int i = 0; i < n; i++) {
      target.set(JAVA_SHORT_UNALIGNED, 2 * (to + i), DType.toBf16(source[at + i]));
    }
  }

  @Override
  public void loadRows(
      DType type, MemorySegment source, long from, long stride, float[] target, int rows, int n) {
    for (int r = 0; r < rows; r++) {
      load(type, source, from + r * stride, target, r * n, n);
    }
  }

  @Override
  public void storeRows(
      DType type, float[] source, MemorySegment target, long to, long stride, int rows, int n) {
    for (int r = 0; r < rows; r++) {
      store(type, source, r * n, target, to + r * stride, n);
    }
  }

  @Override
  public void add(DType type, MemorySegment a, MemorySegment b, MemorySegment y, long from, int n) {
    for (long i = from; i < from + n; i++) {
      set(type, y, i, get(type, a, i) + get(type, b, i));
    }
  }

  @Override
  public void relu(DType type, MemorySegment x, MemorySegment y, long from, int n) {
    for (long i = from; i < from + n; i++) {
      set(type, y, i, Math.max(get(type, x, i), 0));
    }
  }

  @Override
  public void reluBackward(
      DType type, MemorySegment y, MemorySegment dy, MemorySegment dx, long from, int n) {
    for (long i = from; i < from + n; i++) {
      set(type, dx, i, get(type, y, i) > 0 ? get(type, dy, i) : 0);
    }
  }

  @Override
  public float max(float[] x, int at, int n) {
    float max = Float.NEGATIVE_INFINITY;
    for (int i = at; i < at + n; i++) {
      max = Math.max(max, x[i]);
    }
    return max;
  }

  @Override
  public double expSum(float[] x, int at, int n, float shift) {
    double sum = 0;
    for (int i = at; i < at + n; i++) {
      sum += Math.exp(x[i] - shift);
    }
    return sum;
  }

  @Override
  public void largest(MemorySegment scores, int rows, int columns, float scale, float[] largest) {
    for (int r = 0; r < rows; r++) {
      float max = Float.NEGATIVE_INFINITY;
      for (long i = (long) r * columns; i < (r + 1L) * columns; i++) {
        float v = get(DType.F32, scores, i);
        max = v > max ? v : max;
      }
      largest[r] = max * scale;
    }
  }

  @Override
  public void exps(
      MemorySegment scores,
      int rows,
      int columns,
      float scale,
      float[] shifts,
      DType type,
      MemorySegment w,
      double[] sums) {
    for (int r = 0; r < rows; r++) {
      sums[r] = 0;
      for (long i = (long) r * columns; i < (r + 1L) * columns; i++) {
        float v = (float) Math.exp(get(DType.F32, scores, i) * scale - shifts[r]);
        sums[r] += v;
        set(type, w, i, v);
      }
    }
  }

  @Override
  public void expSlopes(
      MemorySegment scores,
      MemorySegment dw,
      int rows,
      int columns,
      float scale,
      float[] shifts,
      float[] deltas,
      DType type,
      MemorySegment w,
      MemorySegment ds) {
    for (int r = 0; r < rows; r++) {
      for (long i = (long) r * columns; i < (r + 1L) * columns; i++) {
        float v = (float) Math.exp(get(DType.F32, scores, i) * scale - shifts[r]);
        float slope = v * (get(DType.F32, dw, i) - deltas[r]) * scale;
        set(type, w, i, v);
        set(type, ds, i, slope);
      }
    }
  }

  @Override
  public void fill(MemorySegment x, long from, int n, float value) {
    for (long i = from; i < from + n; i++) {
      set(DType.F32, x, i, value);
    }
  }

  @Override
  public float dot(DType type, MemorySegment a, MemorySegment b, long from, int n) {
    float sum = 0;
    for (long i = from; i < from + n; i++) {
      sum += get(type, a, i) * get(type, b, i);
    }
    return sum;
  }

  @Override
  public void scale(
      MemorySegment x, long from, float by, DType type, MemorySegment y, long to, int n) {
    for (int i = 0; i < n; i++) {
      set(type, y, to + i, get(DType.F32, x, from + i) * by);
    }
  }

  @Override
  public void widen(MemorySegment x, MemorySegment y, int n) {
    for (int i = 0; i < n; i++) {
      set(DType.F32, y, i, get(DType.BF16, x, i));
    }
  }

  @Override
  public void exp(float[] x, int at, int n, float shift, float scale) {
    for (int i = at; i < at + n; i++) {
      x[i] = (float) Math.exp(x[i] - shift) * scale;
    }
  }

  @Override
  public double squaredNorm(float[] x, int at, int n) {
    double sum = 0;
    for (int i = at; i < at + n; i++) {
      sum += (double) x[i] * x[i];
    }
    return sum;
  }

  /** x = tanh(scale * x). */
  private static void tanh(float[] x, float scale, int n) {
    for (int i = 0; i < n; i++) {
      float c = Math.max(-BOUND, Math.min(BOUND, x[i] * scale));
      float s = c * c;
      float p = Math.fma(s, P6, P5);
      p = Math.fma(p, s, P4);
      p = Math.fma(p, s, P3);
      p = Math.fma(p, s, P2);
      p = Math.fma(p, s, P1);
      p = Math.fma(p, s, P0);
      float q = Math.fma(s, Q3, Q2);
      q = Math.fma(q, s, Q1);
      x[i] = p * c / Math.fma(q, s, Q0);
    }
  }

  @Override
  public double squaredDistance(double[] a, double[] b, double[] scale) {
    return squaredDistance(a, b, scale, 0);
  }

  /** Of the elements from {@code from} on. */
  static double squaredDistance(double[] a, double[] b, double[] scale, int from) {
    double sum = 0;
    for (int i = from; i < a.length; i++) {
      double difference = a[i] - b[i];
      sum += difference * difference * scale[i];
    }
    return sum;
  }

  @Override
  public void tanhAndSigmoid(float[] a, float[] b, int n) {
    tanh(a, 1, n);
    sigmoid(b, n);
  }

  @Override
  public void sigmoid(float[] x, int n) {
    tanh(x, 0.5f, n);
    for (int i = 0; i < n; i++) {
      x[i] = 0.5f + 0.5f * x[i];
    }
  }

  @Override
  public void elus(float[] a, float[] b, int n) {
    for (int i = 0; i < n; i++) {
      b[i] = -Math.abs(a[i]);
    }
    tanh(b, 0.5f, n);
    for (int i = 0; i < n; i++) {
      float q = Math.max(-1, 2 * b[i] / (1 - b[i]));
      b[i] = Math.max(-a[i], q);
      a[i] = Math.max(a[i], q);
    }
  }

  @Override
  public int levels(byte[] x, float factor, float offset, float divisor, float[] y, int n) {
    int most = 0;
    for (int i = 0; i < n; i++) {
      int level = x[i] & 0xFF;
      y[i] = (factor * level - offset) / divisor;
      most = Math.max(most, level);
    }
    return most;
  }

  @Override
  public void split(float[] pairs, float[] a, float[] b, int n) {
    for (int i = 0; i < n; i++) {
      a[i] = pairs[2 * i];
      b[i] = pairs[2 * i + 1];
    }
  }

  @Override
  public void join(float[] a, float[] b, float[] pairs, int n) {
    for (int i = 0; i < n; i++) {
      pairs[2 * i] = a[i];
      pairs[2 * i + 1] = b[i];
    }
  }

  @Override
  public double sum(float[] x, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) {
      sum += x[i];
    }
    return sum;
  }

  @Override
  public void bernoulliNats(Blocks block, int n) {
    for (int i = 0; i < n; i++) {
      double l = block.a[i];
      block.a[i] = (float) (softplus(l) - block.c[i] * l);
    }
  }

  @Override
  public void bernoulliSlopes(Blocks block, int n) {
    for (int i = 0; i < n; i++) {
      block.a[i] = (float) (sigmoid(block.a[i]) - block.c[i]);
    }
  }

  private static double softplus(double x) {
    return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  }

  private static double sigmoid(double x) {
    double e = Math.exp(-Math.abs(x));
    return (x > 0 ? 1 : e) / (1 + e);
  }

  @Override
  public void gaussianNats(Blocks block, int n) {
    for (int i = 0; i < n; i++) {
      double distance = (double) block.c[i] - block.a[i];
      double v = block.b[i];
      block.a[i] = (float) (0.5 * (LOG_2_PI + v + distance * distance * Math.exp(-v)));
    }
  }

  @Override
  public void gaussianSlopes(Blocks block, int n) {
    for (int i = 0; i < n; i++) {
      double distance = (double) block.a[i] - block.c[i];
      double inverse = Math.exp(-block.b[i]);
      block.a[i] = (float) (distance * inverse);
      block.b[i] = (float) (0.5 - 0.5 * distance * distance * inverse);
    }
  }

  @Override
  public void logisticNats(Blocks block, float half, int n) {
    double logStep = Math.log(2.0 * half);
    for (int i = 0; i < n; i++) {
      double s = Math.max(block.b[i], LEAST_LOG_SCALE);
      double inverse = Math.exp(-s);
      double distance = (double) block.c[i] - block.a[i];
      double nats = 0;
      if (block.c[i] < 1) {
        nats += softplus(-inverse * (distance + half));
      }
      if (block.c[i] > -1) {
        nats += softplus(inverse * (distance - half));
      }
      if (Math.abs(block.c[i]) < 1) {
        double width = 2 * half * inverse;
        // a width that is no number yet has a logarithm
        nats -= width < 1e-6 ? logStep - s : Math.log(-Math.expm1(-width));
      }
      block.a[i] = (float) nats;
    }
  }

  @Override
  public void logisticSlopes(Blocks block, float half, int n) {
    for (int i = 0; i < n; i++) {
      double inverse = Math.exp(-Math.max(block.b[i], LEAST_LOG_SCALE));
      double distance = (double) block.c[i] - block.a[i];
      double mean = 0;
      double scale = 0;
      if (block.c[i] < 1) {
        double a = inverse * (distance + half);
        mean += sigmoid(-a);
        scale += a * sigmoid(-a);
      }
      if (block.c[i] > -1) {
        double b = inverse * (distance - half);
        mean -= sigmoid(b);
        scale -= b * sigmoid(b);
      }
      if (Math.abs(block.c[i]) < 1) {
        double width = 2 * half * inverse;
        scale += width > 0 ? width / Math.expm1(width) : 1;
      }
      block.a[i] = (float) (inverse * mean);
      block.b[i] = (float) (block.b[i] < LEAST_LOG_SCALE ? 0 : scale);
    }
  }

  @Override
  public NormLoops norm() {
    return norm;
  }

  @Override
  public List<TileLoops> tiles() {
    return List.of();
  }
}
