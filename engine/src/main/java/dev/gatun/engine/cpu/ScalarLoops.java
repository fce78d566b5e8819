package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import dev.gatun.engine.DType;
import java.lang.foreign.MemorySegment;

/** The plain form of the loops: readable, and what runs without the Vector API. */
final class ScalarLoops implements Loops {
  @Override
  public String description() {
    return "plain Java loops (slower: start Java with --add-modules jdk.incubator.vector)";
  }

  static float load(DType type, MemorySegment s, long i) {
    return type == DType.BF16
        ? DType.fromBf16(s.get(JAVA_SHORT_UNALIGNED, 2 * i))
        : s.get(JAVA_FLOAT_UNALIGNED, 4 * i);
  }

  static void store(DType type, MemorySegment s, long i, float value) {
    if (type == DType.BF16) {
      s.set(JAVA_SHORT_UNALIGNED, 2 * i, DType.toBf16(value));
    } else {
      s.set(JAVA_FLOAT_UNALIGNED, 4 * i, value);
    }
  }

  static float sigmoid(float x) {
    return (float) (1 / (1 + Math.exp(-x)));
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
    for (int row = fromRow; row < toRow; row++) {
      gateColumns(type, x, addend, y, channels, row, 0);
    }
  }

  /** One row from column {@code from} on; also the tail of the vector form. */
  static void gateColumns(
      DType type,
      MemorySegment x,
      MemorySegment addend,
      MemorySegment y,
      int channels,
      int row,
      int from) {
    long in = 2L * row * channels;
    long out = (long) row * channels;
    for (int c = from; c < channels; c++) {
      float a = load(type, x, in + c);
      float b = load(type, x, in + channels + c);
      if (addend != null) {
        a += load(type, addend, in + c);
        b += load(type, addend, in + channels + c);
      }
      store(type, y, out + c, (float) Math.tanh(a) * sigmoid(b));
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
    for (int row = fromRow; row < toRow; row++) {
      gateBackwardColumns(type, x, addend, dy, dx, channels, row, 0);
    }
  }

  static void gateBackwardColumns(
      DType type,
      MemorySegment x,
      MemorySegment addend,
      MemorySegment dy,
      MemorySegment dx,
      int channels,
      int row,
      int from) {
    long in = 2L * row * channels;
    long out = (long) row * channels;
    for (int c = from; c < channels; c++) {
      float a = load(type, x, in + c);
      float b = load(type, x, in + channels + c);
      if (addend != null) {
        a += load(type, addend, in + c);
        b += load(type, addend, in + channels + c);
      }
      float t = (float) Math.tanh(a);
      float s = sigmoid(b);
      float g = load(type, dy, out + c);
      store(type, dx, in + c, g * s * (1 - t * t));
      store(type, dx, in + channels + c, g * t * s * (1 - s));
    }
  }

  @Override
  public void relu(DType type, MemorySegment x, MemorySegment y, int from, int to) {
    for (int i = from; i < to; i++) {
      store(type, y, i, Math.max(load(type, x, i), 0));
    }
  }

  @Override
  public void reluBackward(
      DType type, MemorySegment y, MemorySegment dy, MemorySegment dx, int from, int to) {
    for (int i = from; i < to; i++) {
      store(type, dx, i, load(type, y, i) > 0 ? load(type, dy, i) : 0);
    }
  }

  @Override
  public void add(
      DType type, MemorySegment a, MemorySegment b, MemorySegment y, int from, int to) {
    for (int i = from; i < to; i++) {
      store(type, y, i, load(type, a, i) + load(type, b, i));
    }
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
    double total = 0;
    for (int row = fromRow; row < toRow; row++) {
      long base = (long) row * classes;
      float max = Float.NEGATIVE_INFINITY;
      for (int k = 0; k < classes; k++) {
        max = Math.max(max, load(type, logits, base + k));
      }
      double sum = 0;
      for (int k = 0; k < classes; k++) {
        sum += Math.exp(load(type, logits, base + k) - max);
      }
      double lse = max + Math.log(sum);
      double own = lse - load(type, logits, base + target(targets, row, classes));
      store(DType.F32, logSumExp, row, (float) lse);
      store(DType.F32, nats, row, (float) own);
      total += own;
    }
    return total;
  }

  static int target(MemorySegment targets, int row, int classes) {
    int target = targets.get(JAVA_BYTE, row) & 0xFF;
    if (target >= classes) {
      throw new IllegalArgumentException(
          "softmax_cross_entropy: target " + target + " in row " + row + ", but there are "
              + classes + " classes");
    }
    return target;
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
    for (int row = fromRow; row < toRow; row++) {
      long base = (long) row * classes;
      float lse = load(DType.F32, logSumExp, row);
      int target = target(targets, row, classes);
      for (int k = 0; k < classes; k++) {
        float p = (float) Math.exp(load(type, logits, base + k) - lse);
        store(gradientType, dlogits, base + k, (p - (k == target ? 1 : 0)) * scale);
      }
    }
  }

  @Override
  public double squaredNorm(MemorySegment x, int from, int to) {
    double sum = 0;
    for (int i = from; i < to; i++) {
      double v = load(DType.F32, x, i);
      sum += v * v;
    }
    return sum;
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
    for (int i = from; i < to; i++) {
      float g = load(DType.F32, gradients, i) * step.clip();
      float m = step.beta1() * load(DType.F32, first, i) + step.oneMinusBeta1() * g;
      float v = step.beta2() * load(DType.F32, second, i) + step.oneMinusBeta2() * g * g;
      float update =
          step.rate() * (m * step.correction1())
              / ((float) Math.sqrt(v * step.correction2()) + step.epsilon());
      float p = load(DType.F32, parameters, i) - update;
      float e = load(DType.F32, ema, i);
      store(DType.F32, first, i, m);
      store(DType.F32, second, i, v);
      store(DType.F32, parameters, i, p);
      store(DType.F32, ema, i, e + step.oneMinusEmaDecay() * (p - e));
    }
  }
}
