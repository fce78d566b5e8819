package dev.gatun.engine.cpu;

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

/** The loops on the Vector API; tails shorter than a vector go through {@link ScalarLoops}. */
final class VectorLoops implements Loops {
  private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Short> S =
      VectorSpecies.of(short.class, VectorShape.forBitSize(F.vectorBitSize() / 2));
  private static final int L = F.length();

  private static final ScalarLoops SCALAR = new ScalarLoops();

  @Override
  public String description() {
    return "Vector API loops, " + F.vectorBitSize() + " bits";
  }

  private static FloatVector load(boolean bf16, MemorySegment s, long i) {
    if (bf16) {
      IntVector wide =
          (IntVector)
              ShortVector.fromMemorySegment(S, s, 2 * i, LITTLE_ENDIAN)
                  .convertShape(VectorOperators.ZERO_EXTEND_S2I, I, 0);
      return wide.lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
    }
    return FloatVector.fromMemorySegment(F, s, 4 * i, LITTLE_ENDIAN);
  }

  private static void store(boolean bf16, MemorySegment s, long i, FloatVector v) {
    if (bf16) {
      IntVector bits = v.reinterpretAsInts();
      IntVector even = bits.lanewise(VectorOperators.LSHR, 16).and(1);
      IntVector rounded = bits.add(0x7FFF).add(even).lanewise(VectorOperators.LSHR, 16);
      // a NaN must not round up into an infinity
      VectorMask<Integer> nan = v.test(VectorOperators.IS_NAN).cast(I);
      rounded = rounded.blend(bits.lanewise(VectorOperators.LSHR, 16).or(0x40), nan);
      ((ShortVector) rounded.convertShape(VectorOperators.I2S, S, 0))
          .intoMemorySegment(s, 2 * i, LITTLE_ENDIAN);
    } else {
      v.intoMemorySegment(s, 4 * i, LITTLE_ENDIAN);
    }
  }

  /**
   * tanh by a rational function, within 5 ulp: odd polynomial of degree 13 over even one of degree 6,
   * the coefficients of Eigen's and XLA's fast tanh.
   */
  private static FloatVector tanh(FloatVector x) {
    FloatVector c = x.min(7.90531110763549805f).max(-7.90531110763549805f);
    FloatVector x2 = c.mul(c);
    FloatVector p = FloatVector.broadcast(F, -2.76076847742355e-16f);
    p = p.fma(x2, FloatVector.broadcast(F, 2.00018790482477e-13f));
    p = p.fma(x2, FloatVector.broadcast(F, -8.60467152213735e-11f));
    p = p.fma(x2, FloatVector.broadcast(F, 5.12229709037114e-08f));
    p = p.fma(x2, FloatVector.broadcast(F, 1.48572235717979e-05f));
    p = p.fma(x2, FloatVector.broadcast(F, 6.37261928875436e-04f));
    p = p.fma(x2, FloatVector.broadcast(F, 4.89352455891786e-03f));
    FloatVector q = FloatVector.broadcast(F, 1.19825839466702e-06f);
    q = q.fma(x2, FloatVector.broadcast(F, 1.18534705686654e-04f));
    q = q.fma(x2, FloatVector.broadcast(F, 2.26843463243900e-03f));
    q = q.fma(x2, FloatVector.broadcast(F, 4.89352518554385e-03f));
    return c.mul(p).div(q);
  }

  private static FloatVector sigmoid(FloatVector x) {
    return tanh(x.mul(0.5f)).fma(
        FloatVector.broadcast(F, 0.5f), FloatVector.broadcast(F, 0.5f));
  }

  /** exp within 2 ulp: 2^n times a polynomial of degree 6 on [-ln2/2, ln2/2]; Cephes' constants. */
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
  public void gate(
      DType type,
      MemorySegment x,
      MemorySegment addend,
      MemorySegment y,
      int channels,
      int fromRow,
      int toRow) {
    boolean bf16 = type == DType.BF16;
    int bound = F.loopBound(channels);
    for (int row = fromRow; row < toRow; row++) {
      long in = 2L * row * channels;
      long out = (long) row * channels;
      for (int c = 0; c < bound; c += L) {
        FloatVector a = load(bf16, x, in + c);
        FloatVector b = load(bf16, x, in + channels + c);
        if (addend != null) {
          a = a.add(load(bf16, addend, in + c));
          b = b.add(load(bf16, addend, in + channels + c));
        }
        store(bf16, y, out + c, tanh(a).mul(sigmoid(b)));
      }
      if (bound < channels) {
        ScalarLoops.gateColumns(type, x, addend, y, channels, row, bound);
      }
    }
  }

  @Override
  public void gateBackward(
      DType type,
      MemorySegment x,
      MemorySegment addend,
      MemorySegment dy,
      MemorySegment dx,
      int channels,
      int fromRow,
      int toRow) {
    boolean bf16 = type == DType.BF16;
    int bound = F.loopBound(channels);
    FloatVector one = FloatVector.broadcast(F, 1f);
    for (int row = fromRow; row < toRow; row++) {
      long in = 2L * row * channels;
      long out = (long) row * channels;
      for (int c = 0; c < bound; c += L) {
        FloatVector a = load(bf16, x, in + c);
        FloatVector b = load(bf16, x, in + channels + c);
        if (addend != null) {
          a = a.add(load(bf16, addend, in + c));
          b = b.add(load(bf16, addend, in + channels + c));
        }
        FloatVector t = tanh(a);
        FloatVector s = sigmoid(b);
        FloatVector gs = load(bf16, dy, out + c).mul(s);
        store(bf16, dx, in + c, gs.mul(one.sub(t.mul(t))));
        store(bf16, dx, in + channels + c, gs.mul(t).mul(one.sub(s)));
      }
      if (bound < channels) {
        ScalarLoops.gateBackwardColumns(type, x, addend, dy, dx, channels, row, bound);
      }
    }
  }

  @Override
  public void relu(DType type, MemorySegment x, MemorySegment y, int from, int to) {
    boolean bf16 = type == DType.BF16;
    int i = from;
    for (; i <= to - L; i += L) {
      store(bf16, y, i, load(bf16, x, i).max(0f));
    }
    SCALAR.relu(type, x, y, i, to);
  }

  @Override
  public void reluBackward(
      DType type, MemorySegment y, MemorySegment dy, MemorySegment dx, int from, int to) {
    boolean bf16 = type == DType.BF16;
    FloatVector zero = FloatVector.zero(F);
    int i = from;
    for (; i <= to - L; i += L) {
      VectorMask<Float> positive = load(bf16, y, i).compare(VectorOperators.GT, 0f);
      store(bf16, dx, i, zero.blend(load(bf16, dy, i), positive));
    }
    SCALAR.reluBackward(type, y, dy, dx, i, to);
  }

  @Override
  public void add(
      DType type, MemorySegment a, MemorySegment b, MemorySegment y, int from, int to) {
    boolean bf16 = type == DType.BF16;
    int i = from;
    for (; i <= to - L; i += L) {
      store(bf16, y, i, load(bf16, a, i).add(load(bf16, b, i)));
    }
    SCALAR.add(type, a, b, y, i, to);
  }

  @Override
  public double crossEntropy(
      DType type,
      MemorySegment logits,
      MemorySegment targets,
      MemorySegment nats,
      MemorySegment logSumExp,
      int classes,
      int fromRow,
      int toRow) {
    boolean bf16 = type == DType.BF16;
    int bound = F.loopBound(classes);
    double total = 0;
    for (int row = fromRow; row < toRow; row++) {
      long base = (long) row * classes;
      FloatVector maxima = FloatVector.broadcast(F, Float.NEGATIVE_INFINITY);
      for (int k = 0; k < bound; k += L) {
        maxima = maxima.max(load(bf16, logits, base + k));
      }
      float max = maxima.reduceLanes(VectorOperators.MAX);
      for (int k = bound; k < classes; k++) {
        max = Math.max(max, ScalarLoops.load(type, logits, base + k));
      }
      FloatVector sums = FloatVector.zero(F);
      for (int k = 0; k < bound; k += L) {
        sums = sums.add(exp(load(bf16, logits, base + k).sub(max)));
      }
      double sum = sums.reduceLanes(VectorOperators.ADD);
      for (int k = bound; k < classes; k++) {
        sum += Math.exp(ScalarLoops.load(type, logits, base + k) - max);
      }
      double lse = max + Math.log(sum);
      int target = ScalarLoops.target(targets, row, classes);
      double own = lse - ScalarLoops.load(type, logits, base + target);
      ScalarLoops.store(DType.F32, logSumExp, row, (float) lse);
      ScalarLoops.store(DType.F32, nats, row, (float) own);
      total += own;
    }
    return total;
  }

  @Override
  public void crossEntropyBackward(
      DType type,
      DType gradientType,
      MemorySegment logits,
      MemorySegment targets,
      MemorySegment logSumExp,
      MemorySegment dlogits,
      float scale,
      int classes,
      int fromRow,
      int toRow) {
    boolean bf16 = type == DType.BF16;
    boolean bf16Gradient = gradientType == DType.BF16;
    int bound = F.loopBound(classes);
    for (int row = fromRow; row < toRow; row++) {
      long base = (long) row * classes;
      float lse = ScalarLoops.load(DType.F32, logSumExp, row);
      for (int k = 0; k < bound; k += L) {
        FloatVector p = exp(load(bf16, logits, base + k).sub(lse));
        store(bf16Gradient, dlogits, base + k, p.mul(scale));
      }
      int target = ScalarLoops.target(targets, row, classes);
      for (int k = bound; k < classes; k++) {
        float p = (float) Math.exp(ScalarLoops.load(type, logits, base + k) - lse);
        ScalarLoops.store(gradientType, dlogits, base + k, p * scale);
      }
      // from the logit again, not from the stored value, which is rounded
      float p = (float) Math.exp(ScalarLoops.load(type, logits, base + target) - lse);
      ScalarLoops.store(gradientType, dlogits, base + target, (p - 1) * scale);
    }
  }

  @Override
  public double squaredNorm(MemorySegment x, int from, int to) {
    VectorSpecies<Double> wide = DoubleVector.SPECIES_PREFERRED;
    VectorSpecies<Float> half =
        VectorSpecies.of(float.class, VectorShape.forBitSize(wide.vectorBitSize() / 2));
    DoubleVector sum = DoubleVector.zero(wide);
    int lanes = wide.length();
    int i = from;
    for (; i <= to - lanes; i += lanes) {
      DoubleVector v =
          (DoubleVector)
              FloatVector.fromMemorySegment(half, x, 4L * i, LITTLE_ENDIAN)
                  .convertShape(VectorOperators.F2D, wide, 0);
      sum = v.fma(v, sum);
    }
    return sum.reduceLanes(VectorOperators.ADD) + SCALAR.squaredNorm(x, i, to);
  }

  @Override
  public void adam(
      AdamStep step,
      MemorySegment parameters,
      MemorySegment first,
      MemorySegment second,
      MemorySegment ema,
      MemorySegment gradients,
      int from,
      int to) {
    int i = from;
    for (; i <= to - L; i += L) {
      FloatVector g = load(false, gradients, i).mul(step.clip());
      FloatVector m = load(false, first, i).mul(step.beta1()).add(g.mul(step.oneMinusBeta1()));
      FloatVector v = load(false, second, i).mul(step.beta2()).add(g.mul(step.oneMinusBeta2()).mul(g));
      FloatVector update =
          m.mul(step.correction1())
              .mul(step.rate())
              .div(v.mul(step.correction2()).sqrt().add(step.epsilon()));
      FloatVector p = load(false, parameters, i).sub(update);
      FloatVector e = load(false, ema, i);
      store(false, first, i, m);
      store(false, second, i, v);
      store(false, parameters, i, p);
      store(false, ema, i, p.sub(e).mul(step.oneMinusEmaDecay()).add(e));
    }
    SCALAR.adam(step, parameters, first, second, ema, gradients, i, to);
  }
}
