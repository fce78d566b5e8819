package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.nio.ByteOrder.LITTLE_ENDIAN;

import dev.gatun.engine.DType;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
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

  @Override
  public String description() {
    return "Vector API loops, " + F.vectorBitSize() + " bits";
  }

  @Override
  public void load(DType type, MemorySegment source, long from, float[] target, int at, int n) {
    if (type == DType.F32) {
      MemorySegment.copy(source, JAVA_FLOAT_UNALIGNED, 4 * from, target, at, n);
      return;
    }
    int i = 0;
    for (; i <= n - L; i += L) {
      IntVector wide =
          (IntVector)
              ShortVector.fromMemorySegment(S, source, 2 * (from + i), LITTLE_ENDIAN)
                  .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0);
      wide.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats().intoArray(target, at + i);
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
      FloatVector v = FloatVector.fromArray(F, source, at + i);
      IntVector bits = v.reinterpretAsInts();
      IntVector high = bits.lanewise(VectorOperators.LSHR, 16);
      IntVector rounded = bits.add(high.and(1)).add(0x7FFF).lanewise(VectorOperators.LSHR, 16);
      // a NaN must not round up into an infinity
      VectorMask<Integer> nan = v.compare(VectorOperators.NE, v).cast(I);
      ((ShortVector) rounded.blend(high.or(0x40), nan).convertShape(VectorOperators.I2S, S, 0))
          .intoMemorySegment(target, 2 * (to + i), LITTLE_ENDIAN);
    }
    SCALAR.store(type, source, at + i, target, to + i, n - i);
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
   */
  private static FloatVector exp(FloatVector x) {
    FloatVector c = x.min(88.3762626647949f).max(-87.3365447504019f);
    FloatVector n = c.mul(1.44269504088896341f).add(12582912f).sub(12582912f);
    FloatVector r = c.sub(n.mul(0.693359375f)).sub(n.mul(-2.12194440e-4f));
    FloatVector p = FloatVector.broadcast(F, 1.9875691500e-4f);
    p = p.fma(r, FloatVector.broadcast(F, 1.3981999507e-3f));
    p = p.fma(r, FloatVector.broadcast(F, 8.3334519073e-3f));
    p = p.fma(r, FloatVector.broadcast(F, 4.1665795894e-2f));
    p = p.fma(r, FloatVector.broadcast(F, 1.6666665459e-1f));
    p = p.fma(r, FloatVector.broadcast(F, 5.0000001201e-1f));
    p = p.fma(r.mul(r), r).add(1f);
    IntVector scale =
        ((IntVector) n.convertShape(VectorOperators.F2I, I, 0))
            .add(127)
            .lanewise(VectorOperators.LSHL, 23);
    return p.mul(scale.reinterpretAsFloats());
  }

  @Override
  public double expSum(float[] x, int at, int n, float shift) {
    FloatVector sum = FloatVector.zero(F);
    int i = 0;
    for (; i <= n - L; i += L) {
      sum = sum.add(exp(FloatVector.fromArray(F, x, at + i).sub(shift)));
    }
    float[] lanes = Blocks.own().lanes;
    sum.intoArray(lanes, 0);
    double total = SCALAR.expSum(x, at + i, n - i, shift);
    // not reduceLanes: its order may change when the loop is compiled, and with it the last bits
    for (int lane = 0; lane < L; lane++) {
      total += lanes[lane];
    }
    return total;
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
}
