package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.nio.ByteOrder.LITTLE_ENDIAN;

import dev.gatun.engine.DType;
import java.lang.foreign.MemorySegment;
import java.util.List;
import jdk.incubator.vector.ByteVector;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;

/**
 * The loops on the Vector API; tails shorter than a vector go through {@link ScalarLoops}. Each is
 * short on purpose: a body too large to be inlined whole allocates a box for every vector.
 */
final class VectorLoops implements Loops {
  private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Short> S =
      VectorSpecies.of(short.class, VectorShape.forBitSize(F.vectorBitSize() / 2));
  private static final VectorSpecies<Double> D = DoubleVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Float> HALF =
      VectorSpecies.of(float.class, VectorShape.forBitSize(D.vectorBitSize() / 2));
  private static final int L = F.length();

  private static final ScalarLoops SCALAR = new ScalarLoops();
  private static final List<TileLoops> TILES =
      List.of(new VectorTiles4(), new VectorTiles5(), new VectorTiles7());
  private static final VectorNorm NORM = new VectorNorm();

  @Override
  public String description() {
    return "Vector API loops, " + F.vectorBitSize() + " bits";
  }

  static FloatVector bf16(MemorySegment source, long i) {
    return ((IntVector)
            ShortVector.fromMemorySegment(S, source, 2 * i, LITTLE_ENDIAN)
                .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0))
        .lanewise(VectorOperators.LSHL, 16)
        .reinterpretAsFloats();
  }

  static void bf16(FloatVector v, MemorySegment target, long i) {
    IntVector bits = v.reinterpretAsInts();
    IntVector high = bits.lanewise(VectorOperators.LSHR, 16);
    IntVector rounded = bits.add(high.and(1)).add(0x7FFF).lanewise(VectorOperators.LSHR, 16);
    // a NaN must not round up into an infinity
    VectorMask<Integer> nan = v.compare(VectorOperators.NE, v).cast(I);
    ((ShortVector) rounded.blend(high.or(0x40), nan).convertShape(VectorOperators.I2S, S, 0))
        .intoMemorySegment(target, 2 * i, LITTLE_ENDIAN);
  }

  static FloatVector f32(MemorySegment source, long i) {
    return FloatVector.fromMemorySegment(F, source, 4 * i, LITTLE_ENDIAN);
  }

  static void f32(FloatVector v, MemorySegment target, long i) {
    v.intoMemorySegment(target, 4 * i, LITTLE_ENDIAN);
  }

  @Override
  public void load(DType type, MemorySegment source, long from, float[] target, int at, int n) {
    if (type == DType.F32) {
      MemorySegment.copy(source, JAVA_FLOAT_UNALIGNED, 4 * from, target, at, n);
      return;
    }
    int i = 0;
    for (; i <= n - L; i += L) {
      bf16(source, from + i).intoArray(target, at + i);
    }
    SCALAR.load(type, source, from + i, target, at + i, n - i);
  }

  @Override
  public void store(DType type, float[] source, int at, MemorySegment target, long to, int n) {
    if (type == DType.F32) {
      MemorySegment.copy(source, at, target, JAVA_FLOAT_UNALIGNED, 4 * to, n);
      return;
    }
    int i = 0;
    for (; i <= n - L; i += L) {
      bf16(FloatVector.fromArray(F, source, at + i), target, to + i);
    }
    SCALAR.store(type, source, at + i, target, to + i, n - i);
  }

  @Override
  public void loadRows(
      DType type, MemorySegment source, long from, long stride, float[] target, int rows, int n) {
    if (n % L != 0) {
      for (int r = 0; r < rows; r++) {
        load(type, source, from + r * stride, target, r * n, n);
      }
    } else if (type == DType.F32) {
      loadRowsF32(source, from, stride, target, rows, n);
    } else {
      loadRowsBf16(source, from, stride, target, rows, n);
    }
  }

  // one loop and not one in another: of a few vectors a row C2 makes mostly its loops before and
  // after the unrolled one. And a method for each dtype: in one with both loops the branch that has
  // not been taken yet is compiled to a trap, and a program in the other dtype starts in the
  // interpreter

  private static void loadRowsF32(
      MemorySegment source, long from, long stride, float[] target, int rows, int n) {
    long at = from;
    int left = n;
    for (int i = 0; i < rows * n; i += L) {
      f32(source, at).intoArray(target, i);
      at += L;
      left -= L;
      if (left == 0) {
        left = n;
        at += stride - n;
      }
    }
  }

  private static void loadRowsBf16(
      MemorySegment source, long from, long stride, float[] target, int rows, int n) {
    long at = from;
    int left = n;
    for (int i = 0; i < rows * n; i += L) {
      bf16(source, at).intoArray(target, i);
      at += L;
      left -= L;
      if (left == 0) {
        left = n;
        at += stride - n;
      }
    }
  }

  @Override
  public void storeRows(
      DType type, float[] source, MemorySegment target, long to, long stride, int rows, int n) {
    if (type == DType.BF16 && n % L == 0) {
      storeRowsBf16(source, target, to, stride, rows, n);
      return;
    }
    for (int r = 0; r < rows; r++) {
      store(type, source, r * n, target, to + r * stride, n);
    }
  }

  private static void storeRowsBf16(
      float[] source, MemorySegment target, long to, long stride, int rows, int n) {
    long at = to;
    int left = n;
    for (int i = 0; i < rows * n; i += L) {
      bf16(FloatVector.fromArray(F, source, i), target, at);
      at += L;
      left -= L;
      if (left == 0) {
        left = n;
        at += stride - n;
      }
    }
  }

  @Override
  public void add(DType type, MemorySegment a, MemorySegment b, MemorySegment y, long from, int n) {
    int whole = n - n % L;
    if (type == DType.F32) {
      addF32(a, b, y, from, whole);
    } else {
      addBf16(a, b, y, from, whole);
    }
    SCALAR.add(type, a, b, y, from + whole, n - whole);
  }

  private static void addF32(
      MemorySegment a, MemorySegment b, MemorySegment y, long from, int whole) {
    for (int i = 0; i < whole; i += L) {
      f32(f32(a, from + i).add(f32(b, from + i)), y, from + i);
    }
  }

  private static void addBf16(
      MemorySegment a, MemorySegment b, MemorySegment y, long from, int whole) {
    for (int i = 0; i < whole; i += L) {
      bf16(bf16(a, from + i).add(bf16(b, from + i)), y, from + i);
    }
  }

  @Override
  public void relu(DType type, MemorySegment x, MemorySegment y, long from, int n) {
    int whole = n - n % L;
    if (type == DType.F32) {
      reluF32(x, y, from, whole);
    } else {
      reluBf16(x, y, from, whole);
    }
    SCALAR.relu(type, x, y, from + whole, n - whole);
  }

  private static void reluF32(MemorySegment x, MemorySegment y, long from, int whole) {
    for (int i = 0; i < whole; i += L) {
      f32(f32(x, from + i).max(0), y, from + i);
    }
  }

  private static void reluBf16(MemorySegment x, MemorySegment y, long from, int whole) {
    for (int i = 0; i < whole; i += L) {
      bf16(bf16(x, from + i).max(0), y, from + i);
    }
  }

  @Override
  public void reluBackward(
      DType type, MemorySegment y, MemorySegment dy, MemorySegment dx, long from, int n) {
    int whole = n - n % L;
    if (type == DType.F32) {
      reluBackwardF32(y, dy, dx, from, whole);
    } else {
      reluBackwardBf16(y, dy, dx, from, whole);
    }
    SCALAR.reluBackward(type, y, dy, dx, from + whole, n - whole);
  }

  private static void reluBackwardF32(
      MemorySegment y, MemorySegment dy, MemorySegment dx, long from, int whole) {
    FloatVector zero = FloatVector.zero(F);
    for (int i = 0; i < whole; i += L) {
      VectorMask<Float> open = f32(y, from + i).compare(VectorOperators.GT, 0);
      f32(zero.blend(f32(dy, from + i), open), dx, from + i);
    }
  }

  private static void reluBackwardBf16(
      MemorySegment y, MemorySegment dy, MemorySegment dx, long from, int whole) {
    FloatVector zero = FloatVector.zero(F);
    for (int i = 0; i < whole; i += L) {
      VectorMask<Float> open = bf16(y, from + i).compare(VectorOperators.GT, 0);
      bf16(zero.blend(bf16(dy, from + i), open), dx, from + i);
    }
  }

  @Override
  public float max(float[] x, int at, int n) {
    FloatVector max = FloatVector.broadcast(F, Float.NEGATIVE_INFINITY);
    int i = 0;
    for (; i <= n - L; i += L) {
      max = max.max(FloatVector.fromArray(F, x, at + i));
    }
    return Math.max(max.reduceLanes(VectorOperators.MAX), SCALAR.max(x, at + i, n - i));
  }

  /**
   * exp within a few ulp: 2^n times a polynomial of degree 6 on [-ln2/2, ln2/2]; Cephes' constants.
   * Below -87 it is 0: what is computed with denormal numbers takes 100 times as long.
   */
  private static FloatVector exp(FloatVector x) {
    FloatVector c = x.blend(88.3762626647949f, x.compare(VectorOperators.GT, 88.3762626647949f));
    // beyond 2^23 a float's last bit is 1: n lies in the low bits, and needs no conversion
    FloatVector whole = c.mul(1.44269504088896341f).add(12582912f);
    FloatVector n = whole.sub(12582912f);
    FloatVector r = c.sub(n.mul(0.693359375f)).sub(n.mul(-2.12194440e-4f));
    FloatVector p = FloatVector.broadcast(F, 1.9875691500e-4f);
    p = p.fma(r, FloatVector.broadcast(F, 1.3981999507e-3f));
    p = p.fma(r, FloatVector.broadcast(F, 8.3334519073e-3f));
    p = p.fma(r, FloatVector.broadcast(F, 4.1665795894e-2f));
    p = p.fma(r, FloatVector.broadcast(F, 1.6666665459e-1f));
    p = p.fma(r, FloatVector.broadcast(F, 5.0000001201e-1f));
    p = p.fma(r.mul(r), r).add(1f);
    IntVector scale = whole.reinterpretAsInts().add(127).lanewise(VectorOperators.LSHL, 23);
    return p.mul(scale.reinterpretAsFloats()).blend(0, x.compare(VectorOperators.LT, -87));
  }

  @Override
  public double expSum(float[] x, int at, int n, float shift) {
    FloatVector sum = FloatVector.zero(F);
    int i = 0;
    for (; i <= n - L; i += L) {
      sum = sum.add(exp(FloatVector.fromArray(F, x, at + i).sub(shift)));
    }
    double rest = SCALAR.expSum(x, at + i, n - i, shift);
    return total(sum) + rest;
  }

  @Override
  public void exp(float[] x, int at, int n, float shift, float scale) {
    int i = 0;
    for (; i <= n - L; i += L) {
      exp(FloatVector.fromArray(F, x, at + i).sub(shift)).mul(scale).intoArray(x, at + i);
    }
    SCALAR.exp(x, at + i, n - i, shift, scale);
  }

  @Override
  public void largest(MemorySegment scores, int rows, int columns, float scale, float[] largest) {
    for (int r = 0; r < rows; r++) {
      largest[r] = max(scores, (long) r * columns, columns) * scale;
    }
  }

  private static float max(MemorySegment scores, long from, int n) {
    FloatVector max = FloatVector.broadcast(F, Float.NEGATIVE_INFINITY);
    for (int i = 0; i < n; i += L) {
      FloatVector v = f32(scores, from + i);
      max = max.blend(v, v.compare(VectorOperators.GT, max));
    }
    return max.reduceLanes(VectorOperators.MAX);
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
    exps(scores, rows, columns, scale, shifts);
    for (int r = 0; r < rows; r++) {
      sums[r] = sum(scores, (long) r * columns, columns);
    }
    if (type == DType.BF16) {
      round(scores, w, rows * columns);
    }
  }

  // a loop for each purpose, over all rows at once: C2 makes the exponentials slower where they are
  // added up beside, and where a row's few vectors are a loop of their own

  private static void exps(
      MemorySegment scores, int rows, int columns, float scale, float[] shifts) {
    int row = 0;
    int left = columns;
    for (int i = 0; i < rows * columns; i += L) {
      f32(exp(f32(scores, i).mul(scale).sub(shifts[row])), scores, i);
      left -= L;
      if (left == 0) {
        left = columns;
        row++;
      }
    }
  }

  private static double sum(MemorySegment x, long from, int n) {
    FloatVector sum = FloatVector.zero(F);
    for (int i = 0; i < n; i += L) {
      sum = sum.add(f32(x, from + i));
    }
    return total(sum);
  }

  private static void round(MemorySegment x, MemorySegment y, int n) {
    for (int i = 0; i < n; i += L) {
      bf16(f32(x, i), y, i);
    }
  }

  /**
   * Not reduceLanes: its order may change when the loop is compiled, and with it the last bits. To
   * be called where the loop is: a vector that a method with a loop returns is boxed.
   */
  private static double total(FloatVector sum) {
    float[] lanes = Blocks.own().lanes;
    sum.intoArray(lanes, 0);
    double even = 0;
    double odd = 0;
    for (int lane = 0; lane < L; lane += 2) {
      even += lanes[lane];
      odd += lanes[lane + 1];
    }
    return even + odd;
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
    exps(scores, rows, columns, scale, shifts);
    if (type == DType.F32) {
      slopesF32(scores, dw, rows, columns, scale, deltas, ds);
    } else {
      slopesBf16(scores, dw, rows, columns, scale, deltas, w, ds);
    }
  }

  private static void slopesF32(
      MemorySegment w,
      MemorySegment dw,
      int rows,
      int columns,
      float scale,
      float[] deltas,
      MemorySegment ds) {
    int row = 0;
    int left = columns;
    for (int i = 0; i < rows * columns; i += L) {
      f32(f32(w, i).mul(f32(dw, i).sub(deltas[row])).mul(scale), ds, i);
      left -= L;
      if (left == 0) {
        left = columns;
        row++;
      }
    }
  }

  private static void slopesBf16(
      MemorySegment exps,
      MemorySegment dw,
      int rows,
      int columns,
      float scale,
      float[] deltas,
      MemorySegment w,
      MemorySegment ds) {
    int row = 0;
    int left = columns;
    for (int i = 0; i < rows * columns; i += L) {
      FloatVector v = f32(exps, i);
      bf16(v, w, i);
      bf16(v.mul(f32(dw, i).sub(deltas[row])).mul(scale), ds, i);
      left -= L;
      if (left == 0) {
        left = columns;
        row++;
      }
    }
  }

  @Override
  public void fill(MemorySegment x, long from, int n, float value) {
    int i = 0;
    for (; i <= n - L; i += L) {
      f32(FloatVector.broadcast(F, value), x, from + i);
    }
    SCALAR.fill(x, from + i, n - i, value);
  }

  @Override
  public float dot(DType type, MemorySegment a, MemorySegment b, long from, int n) {
    int whole = n - n % L;
    double sum = type == DType.F32 ? dotF32(a, b, from, whole) : dotBf16(a, b, from, whole);
    return (float) (sum + SCALAR.dot(type, a, b, from + whole, n - whole));
  }

  private static double dotF32(MemorySegment a, MemorySegment b, long from, int whole) {
    FloatVector sum = FloatVector.zero(F);
    for (int i = 0; i < whole; i += L) {
      sum = f32(a, from + i).fma(f32(b, from + i), sum);
    }
    return total(sum);
  }

  private static double dotBf16(MemorySegment a, MemorySegment b, long from, int whole) {
    FloatVector sum = FloatVector.zero(F);
    for (int i = 0; i < whole; i += L) {
      sum = bf16(a, from + i).fma(bf16(b, from + i), sum);
    }
    return total(sum);
  }

  @Override
  public void scale(
      MemorySegment x, long from, float by, DType type, MemorySegment y, long to, int n) {
    int whole = n - n % L;
    if (type == DType.F32) {
      scaleF32(x, from, by, y, to, whole);
    } else {
      scaleBf16(x, from, by, y, to, whole);
    }
    SCALAR.scale(x, from + whole, by, type, y, to + whole, n - whole);
  }

  @Override
  public void widen(MemorySegment x, MemorySegment y, int n) {
    int whole = n - n % L;
    for (int i = 0; i < whole; i += L) {
      f32(bf16(x, i), y, i);
    }
    for (int i = whole; i < n; i++) {
      ScalarLoops.set(DType.F32, y, i, ScalarLoops.get(DType.BF16, x, i));
    }
  }

  private static void scaleF32(
      MemorySegment x, long from, float by, MemorySegment y, long to, int whole) {
    for (int i = 0; i < whole; i += L) {
      f32(f32(x, from + i).mul(by), y, to + i);
    }
  }

  private static void scaleBf16(
      MemorySegment x, long from, float by, MemorySegment y, long to, int whole) {
    for (int i = 0; i < whole; i += L) {
      bf16(f32(x, from + i).mul(by), y, to + i);
    }
  }

  @Override
  public double squaredNorm(float[] x, int at, int n) {
    DoubleVector sum = DoubleVector.zero(D);
    int i = 0;
    for (; i <= n - D.length(); i += D.length()) {
      DoubleVector v =
          (DoubleVector)
              FloatVector.fromArray(HALF, x, at + i).convertShape(VectorOperators.F2D, D, 0);
      sum = v.fma(v, sum);
    }
    double[] lanes = Blocks.own().wideLanes;
    sum.intoArray(lanes, 0);
    double total = SCALAR.squaredNorm(x, at + i, n - i);
    for (int lane = 0; lane < D.length(); lane++) {
      total += lanes[lane];
    }
    return total;
  }

  @Override
  public double squaredDistance(double[] a, double[] b, double[] scale) {
    DoubleVector sum = DoubleVector.zero(D);
    int i = 0;
    for (; i <= a.length - D.length(); i += D.length()) {
      DoubleVector difference =
          DoubleVector.fromArray(D, a, i).sub(DoubleVector.fromArray(D, b, i));
      sum = difference.mul(difference).fma(DoubleVector.fromArray(D, scale, i), sum);
    }
    double[] lanes = Blocks.own().wideLanes;
    sum.intoArray(lanes, 0);
    double total = ScalarLoops.squaredDistance(a, b, scale, i);
    for (int lane = 0; lane < D.length(); lane++) {
      total += lanes[lane];
    }
    return total;
  }

  // below, calls of the Vector API alone: those C2 inlines whatever the size of what it compiles,
  // methods of ours only up to a limit, and beyond it would allocate a box for every vector

  private static final FloatVector VP5 = FloatVector.broadcast(F, P5);
  private static final FloatVector VP4 = FloatVector.broadcast(F, P4);
  private static final FloatVector VP3 = FloatVector.broadcast(F, P3);
  private static final FloatVector VP2 = FloatVector.broadcast(F, P2);
  private static final FloatVector VP1 = FloatVector.broadcast(F, P1);
  private static final FloatVector VP0 = FloatVector.broadcast(F, P0);
  private static final FloatVector VQ2 = FloatVector.broadcast(F, Q2);
  private static final FloatVector VQ1 = FloatVector.broadcast(F, Q1);
  private static final FloatVector VQ0 = FloatVector.broadcast(F, Q0);
  private static final FloatVector ONE = FloatVector.broadcast(F, 1);

  @Override
  public void tanhAndSigmoid(float[] a, float[] b, int n) {
    for (int i = 0; i < n; i += L) {
      FloatVector x = FloatVector.fromArray(F, a, i);
      x = x.blend(BOUND, x.compare(VectorOperators.GT, BOUND));
      x = x.blend(-BOUND, x.compare(VectorOperators.LT, -BOUND));
      FloatVector s = x.mul(x);
      FloatVector p = s.mul(P6).add(VP5);
      p = p.fma(s, VP4).fma(s, VP3).fma(s, VP2).fma(s, VP1).fma(s, VP0).mul(x);
      FloatVector q = s.mul(Q3).add(VQ2).fma(s, VQ1).fma(s, VQ0);
      FloatVector y = FloatVector.fromArray(F, b, i).mul(0.5f);
      y = y.blend(BOUND, y.compare(VectorOperators.GT, BOUND));
      y = y.blend(-BOUND, y.compare(VectorOperators.LT, -BOUND));
      FloatVector t = y.mul(y);
      FloatVector u = t.mul(P6).add(VP5);
      u = u.fma(t, VP4).fma(t, VP3).fma(t, VP2).fma(t, VP1).fma(t, VP0).mul(y);
      FloatVector v = t.mul(Q3).add(VQ2).fma(t, VQ1).fma(t, VQ0);
      FloatVector r = ONE.div(q.mul(v));
      p.mul(v).mul(r).intoArray(a, i);
      u.add(v).mul(0.5f).mul(q).mul(r).intoArray(b, i);
    }
  }

  @Override
  public void sigmoid(float[] x, int n) {
    for (int i = 0; i < n; i += L) {
      FloatVector y = FloatVector.fromArray(F, x, i).mul(0.5f);
      y = y.blend(BOUND, y.compare(VectorOperators.GT, BOUND));
      y = y.blend(-BOUND, y.compare(VectorOperators.LT, -BOUND));
      FloatVector t = y.mul(y);
      FloatVector u = t.mul(P6).add(VP5);
      u = u.fma(t, VP4).fma(t, VP3).fma(t, VP2).fma(t, VP1).fma(t, VP0).mul(y);
      FloatVector v = t.mul(Q3).add(VQ2).fma(t, VQ1).fma(t, VQ0);
      u.add(v).mul(0.5f).div(v).intoArray(x, i);
    }
  }

  @Override
  public void elus(float[] a, float[] b, int n) {
    for (int i = 0; i < n; i += L) {
      FloatVector x = FloatVector.fromArray(F, a, i);
      FloatVector h = x.abs().mul(-0.5f);
      h = h.blend(-BOUND, h.compare(VectorOperators.LT, -BOUND));
      FloatVector s = h.mul(h);
      FloatVector p = s.mul(P6).add(VP5);
      p = p.fma(s, VP4).fma(s, VP3).fma(s, VP2).fma(s, VP1).fma(s, VP0).mul(h);
      FloatVector q = s.mul(Q3).add(VQ2).fma(s, VQ1).fma(s, VQ0);
      FloatVector y = p.add(p).div(q.sub(p));
      y = y.blend(-1, y.compare(VectorOperators.LT, -1));
      y.blend(x, x.compare(VectorOperators.GT, y)).intoArray(a, i);
      x = x.neg();
      y.blend(x, x.compare(VectorOperators.GT, y)).intoArray(b, i);
    }
  }

  @Override
  public int levels(byte[] x, float factor, float offset, float divisor, float[] y, int n) {
    IntVector most = IntVector.zero(I);
    int whole = n - n % L;
    for (int i = 0; i < whole; i += L) {
      IntVector level =
          (IntVector)
              ByteVector.fromArray(QUARTER, x, i)
                  .convertShape(VectorOperators.ZERO_EXTEND_B2I, I, 0);
      most = most.max(level);
      ((FloatVector) level.convertShape(VectorOperators.I2F, F, 0))
          .mul(factor)
          .sub(offset)
          .div(divisor)
          .intoArray(y, i);
    }
    int largest = most.reduceLanes(VectorOperators.MAX);
    for (int i = whole; i < n; i++) {
      int level = x[i] & 0xFF;
      y[i] = (factor * level - offset) / divisor;
      largest = Math.max(largest, level);
    }
    return largest;
  }

  /** A byte a lane; twice as many where lanes are 4, since there is nothing smaller. */
  private static final VectorSpecies<Byte> QUARTER =
      VectorSpecies.of(byte.class, VectorShape.forBitSize(Math.max(64, F.vectorBitSize() / 4)));

  // of two vectors that follow each other
  private static final VectorShuffle<Float> EVEN = VectorShuffle.fromOp(F, i -> 2 * i % L);
  private static final VectorShuffle<Float> ODD = VectorShuffle.fromOp(F, i -> (2 * i + 1) % L);
  private static final VectorShuffle<Float> LOW = VectorShuffle.fromOp(F, i -> i / 2);
  private static final VectorShuffle<Float> HIGH = VectorShuffle.fromOp(F, i -> (i + L) / 2);
  private static final VectorMask<Float> SECOND = VectorMask.fromLong(F, -1L << (L / 2));
  private static final VectorMask<Float> ODDS = VectorMask.fromLong(F, 0xAAAA_AAAA_AAAA_AAAAL);

  @Override
  public void split(float[] pairs, float[] a, float[] b, int n) {
    for (int i = 0; i < n; i += L) {
      FloatVector low = FloatVector.fromArray(F, pairs, 2 * i);
      FloatVector high = FloatVector.fromArray(F, pairs, 2 * i + L);
      low.rearrange(EVEN).blend(high.rearrange(EVEN), SECOND).intoArray(a, i);
      low.rearrange(ODD).blend(high.rearrange(ODD), SECOND).intoArray(b, i);
    }
  }

  @Override
  public void join(float[] a, float[] b, float[] pairs, int n) {
    for (int i = 0; i < n; i += L) {
      FloatVector first = FloatVector.fromArray(F, a, i);
      FloatVector second = FloatVector.fromArray(F, b, i);
      first.rearrange(LOW).blend(second.rearrange(LOW), ODDS).intoArray(pairs, 2 * i);
      first.rearrange(HIGH).blend(second.rearrange(HIGH), ODDS).intoArray(pairs, 2 * i + L);
    }
  }

  @Override
  public double sum(float[] x, int n) {
    DoubleVector sum = DoubleVector.zero(D);
    int i = 0;
    for (; i <= n - D.length(); i += D.length()) {
      sum = sum.add(FloatVector.fromArray(HALF, x, i).convertShape(VectorOperators.F2D, D, 0));
    }
    double[] lanes = Blocks.own().wideLanes;
    sum.intoArray(lanes, 0);
    double total = 0;
    for (; i < n; i++) {
      total += x[i];
    }
    for (int lane = 0; lane < D.length(); lane++) {
      total += lanes[lane];
    }
    return total;
  }

  private static final float LOG_2 = 0.69314718056f;
  private static final FloatVector VL7 = FloatVector.broadcast(F, -1.1514610310e-1f);
  private static final FloatVector VL6 = FloatVector.broadcast(F, 1.1676998740e-1f);
  private static final FloatVector VL5 = FloatVector.broadcast(F, -1.2420140846e-1f);
  private static final FloatVector VL4 = FloatVector.broadcast(F, 1.4249322787e-1f);
  private static final FloatVector VL3 = FloatVector.broadcast(F, -1.6668057665e-1f);
  private static final FloatVector VL2 = FloatVector.broadcast(F, 2.0000714765e-1f);
  private static final FloatVector VL1 = FloatVector.broadcast(F, -2.4999993993e-1f);
  private static final FloatVector VL0 = FloatVector.broadcast(F, 3.3333331174e-1f);

  /**
   * a = b + log(1 + x) for x from 0 up, to a few ulp of the logarithm however small x is; Cephes'
   * constants. A NaN must be in b, too.
   */
  private static void addLog1p(float[] b, float[] x, float[] a, int n) {
    for (int i = 0; i < n; i += L) {
      FloatVector v = FloatVector.fromArray(F, x, i);
      // 1 + x is 2^e times a number from sqrt(1/2) to sqrt(2); where e is 0, x itself is not
      // rounded
      IntVector bits = v.add(1).reinterpretAsInts();
      IntVector e = bits.sub(0x3F3504F3).lanewise(VectorOperators.ASHR, 23);
      FloatVector r = bits.sub(e.lanewise(VectorOperators.LSHL, 23)).reinterpretAsFloats().sub(1);
      r = r.blend(v, v.compare(VectorOperators.LT, 0.41421356f));
      FloatVector p = r.mul(7.0376836292e-2f).add(VL7);
      p = p.fma(r, VL6).fma(r, VL5).fma(r, VL4).fma(r, VL3).fma(r, VL2).fma(r, VL1).fma(r, VL0);
      p = p.mul(r).sub(0.5f).mul(r).fma(r, r);
      e.add(0x4B400000)
          .reinterpretAsFloats()
          .sub(12582912f)
          .mul(LOG_2)
          .add(p)
          .add(FloatVector.fromArray(F, b, i))
          .intoArray(a, i);
    }
  }

  @Override
  public void bernoulliNats(Blocks block, int n) {
    for (int i = 0; i < n; i += L) {
      FloatVector l = FloatVector.fromArray(F, block.a, i);
      exp(l.abs().neg()).intoArray(block.f, i);
      FloatVector high = l.blend(0, l.compare(VectorOperators.LT, 0));
      high.sub(l.mul(FloatVector.fromArray(F, block.c, i))).intoArray(block.d, i);
    }
    addLog1p(block.d, block.f, block.a, n);
  }

  @Override
  public void bernoulliSlopes(Blocks block, int n) {
    for (int i = 0; i < n; i += L) {
      FloatVector l = FloatVector.fromArray(F, block.a, i);
      FloatVector e = exp(l.abs().neg());
      FloatVector above = ONE.blend(e, l.compare(VectorOperators.LT, 0));
      above.div(e.add(1)).sub(FloatVector.fromArray(F, block.c, i)).intoArray(block.a, i);
    }
  }

  @Override
  public void gaussianNats(Blocks block, int n) {
    for (int i = 0; i < n; i += L) {
      FloatVector v = FloatVector.fromArray(F, block.b, i);
      FloatVector d = FloatVector.fromArray(F, block.c, i);
      d = d.sub(FloatVector.fromArray(F, block.a, i));
      d.mul(d).mul(exp(v.neg())).add(v.add(LOG_2_PI)).mul(0.5f).intoArray(block.a, i);
    }
  }

  @Override
  public void gaussianSlopes(Blocks block, int n) {
    for (int i = 0; i < n; i += L) {
      FloatVector inverse = exp(FloatVector.fromArray(F, block.b, i).neg());
      FloatVector d = FloatVector.fromArray(F, block.a, i);
      d = d.sub(FloatVector.fromArray(F, block.c, i));
      FloatVector slope = d.mul(inverse);
      slope.intoArray(block.a, i);
      d.mul(slope).sub(1).mul(-0.5f).intoArray(block.b, i);
    }
  }

  // A bin's mass is (1 - exp(-w)) / ((1 + exp(-a)) (1 + exp(b))), a and b its upper and its lower
  // end in units of the scale, w = a - b. The greater of exp(-a) and exp(a) is taken out, as is
  // that of b. An end that lies beyond all has the place FAR. Three loops, each with one
  // exponential.

  private static final float FAR = 1e30f;

  /** Below it 1 - exp(-w) would cancel: it is w times a polynomial. */
  private static final float NARROW = 0.5f;

  @Override
  public void logisticNats(Blocks block, float half, int n) {
    ends(block, half, n);
    nearEnd(block, n);
    shares(block.c, block.e, n);
    masses(block, n);
    addLog1p(block.d, block.f, block.a, n);
  }

  @Override
  public void logisticSlopes(Blocks block, float half, int n) {
    ends(block, half, n);
    nearEnd(block, n);
    shares(block.c, block.d, n);
    slopes(block, n);
  }

  /**
   * a, b = the ends, c = the width, d = the nats that exponentials cannot hold, e = 1 / scale or
   * its negative where the log-scale is below its bound.
   */
  private static void ends(Blocks block, float half, int n) {
    float logStep = (float) Math.log(2.0 * half);
    for (int i = 0; i < n; i += L) {
      FloatVector s = FloatVector.fromArray(F, block.b, i);
      VectorMask<Float> below = s.compare(VectorOperators.LT, LEAST_LOG_SCALE);
      s = s.blend(LEAST_LOG_SCALE, below);
      FloatVector inverse = exp(s.neg());
      FloatVector x = FloatVector.fromArray(F, block.c, i);
      FloatVector d = x.sub(FloatVector.fromArray(F, block.a, i));
      VectorMask<Float> last = x.compare(VectorOperators.GE, 1);
      VectorMask<Float> first = x.compare(VectorOperators.LE, -1);
      FloatVector upper = d.add(half).mul(inverse).blend(FAR, last);
      FloatVector lower = d.sub(half).mul(inverse).blend(-FAR, first);
      FloatVector width = inverse.mul(2 * half).blend(FAR, last.or(first));
      FloatVector nats = upper.neg().blend(0, upper.compare(VectorOperators.GT, 0));
      nats = nats.add(lower.blend(0, lower.compare(VectorOperators.LT, 0)));
      nats = nats.blend(nats.add(s.sub(logStep)), width.compare(VectorOperators.LT, NARROW));
      upper.intoArray(block.a, i);
      lower.intoArray(block.b, i);
      width.intoArray(block.c, i);
      nats.intoArray(block.d, i);
      inverse.blend(inverse.neg(), below).intoArray(block.e, i);
    }
  }

  /** f = exp of minus the distance of the end that is nearer to the mean. */
  private static void nearEnd(Blocks block, int n) {
    for (int i = 0; i < n; i += L) {
      FloatVector a = FloatVector.fromArray(F, block.a, i).abs();
      FloatVector b = FloatVector.fromArray(F, block.b, i).abs();
      exp(a.blend(b, b.compare(VectorOperators.LT, a)).neg()).intoArray(block.f, i);
    }
  }

  /** f = 1 / mass - 1, without what d has of it. */
  private static void masses(Blocks block, int n) {
    for (int i = 0; i < n; i += L) {
      FloatVector a = FloatVector.fromArray(F, block.a, i);
      FloatVector b = FloatVector.fromArray(F, block.b, i);
      FloatVector w = FloatVector.fromArray(F, block.c, i);
      FloatVector near = FloatVector.fromArray(F, block.f, i);
      // of two ends on one side of the mean the farther one is w farther, else w is both distances
      VectorMask<Float> oneSide = a.mul(b).compare(VectorOperators.GT, 0);
      a = a.abs();
      b = b.abs();
      FloatVector other = exp(b.blend(a, b.compare(VectorOperators.LT, a)).blend(w, oneSide).neg());
      FloatVector both = near.mul(other);
      FloatVector far = other.blend(both, oneSide);
      FloatVector e = both.blend(other, oneSide);
      FloatVector share = FloatVector.fromArray(F, block.e, i);
      share = ONE.sub(e).blend(share, w.compare(VectorOperators.LT, NARROW));
      near.add(1).mul(far.add(1)).div(share).sub(1).intoArray(block.f, i);
    }
  }

  private static final FloatVector VS6 = FloatVector.broadcast(F, 1 / 5040f);
  private static final FloatVector VS5 = FloatVector.broadcast(F, -1 / 720f);
  private static final FloatVector VS4 = FloatVector.broadcast(F, 1 / 120f);
  private static final FloatVector VS3 = FloatVector.broadcast(F, -1 / 24f);
  private static final FloatVector VS2 = FloatVector.broadcast(F, 1 / 6f);
  private static final FloatVector VS1 = FloatVector.broadcast(F, -1 / 2f);

  /** (1 - exp(-w)) / w by its series, for w up to {@link #NARROW}. */
  private static void shares(float[] w, float[] share, int n) {
    for (int i = 0; i < n; i += L) {
      FloatVector v = FloatVector.fromArray(F, w, i);
      FloatVector p = v.mul(-1 / 40320f).add(VS6);
      p.fma(v, VS5).fma(v, VS4).fma(v, VS3).fma(v, VS2).fma(v, VS1).fma(v, ONE).intoArray(share, i);
    }
  }

  private static void slopes(Blocks block, int n) {
    for (int i = 0; i < n; i += L) {
      FloatVector a = FloatVector.fromArray(F, block.a, i);
      FloatVector b = FloatVector.fromArray(F, block.b, i);
      FloatVector w = FloatVector.fromArray(F, block.c, i);
      FloatVector near = FloatVector.fromArray(F, block.f, i);
      VectorMask<Float> oneSide = a.mul(b).compare(VectorOperators.GT, 0);
      VectorMask<Float> lowerIsNear = b.abs().compare(VectorOperators.LT, a.abs());
      FloatVector other = exp(b.abs().blend(a.abs(), lowerIsNear).blend(w, oneSide).neg());
      FloatVector both = near.mul(other);
      FloatVector far = other.blend(both, oneSide);
      FloatVector e = both.blend(other, oneSide);
      FloatVector ofA = near.blend(far, lowerIsNear); // exp(-|a|)
      FloatVector ofB = far.blend(near, lowerIsNear);
      FloatVector all = ofA.add(1).mul(ofB.add(1));
      VectorMask<Float> narrow = w.compare(VectorOperators.LT, NARROW);
      FloatVector share = ONE.sub(e).blend(FloatVector.fromArray(F, block.d, i), narrow);
      FloatVector r = ONE.div(all.mul(share));
      FloatVector inside = w.blend(1, narrow).mul(e).mul(all).mul(r);
      r = r.mul(share);
      // sigmoid(-a) and sigmoid(b)
      FloatVector upper = r.mul(ofB.add(1)).mul(ONE.blend(ofA, a.compare(VectorOperators.GT, 0)));
      FloatVector lower = r.mul(ofA.add(1)).mul(ofB.blend(1, b.compare(VectorOperators.GT, 0)));
      FloatVector inverse = FloatVector.fromArray(F, block.e, i);
      VectorMask<Float> below = inverse.compare(VectorOperators.LT, 0);
      upper.sub(lower).mul(inverse.abs()).intoArray(block.a, i);
      FloatVector scale = a.mul(upper).sub(b.mul(lower)).add(inside);
      scale.blend(scale.mul(0), below).intoArray(block.b, i);
    }
  }

  @Override
  public NormLoops norm() {
    return NORM;
  }

  @Override
  public List<TileLoops> tiles() {
    return TILES;
  }
}
