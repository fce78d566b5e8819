package dev.gatun.engine.cpu;

import dev.gatun.engine.DType;
import java.lang.foreign.MemorySegment;

/**
 * Element-wise loops over a range of a tensor, in two forms side by side: {@link ScalarLoops}, and
 * {@link VectorLoops} where the module jdk.incubator.vector is present. Both accumulate in f32 and
 * round once when they store. Ranges are in rows or elements; segments hold f32 or bf16 as told.
 */
interface Loops {
  /** One line for people. */
  String description();

  /** y = tanh(a) sigmoid(b) over rows of x [rows,2C] (+ addend, which may be null); y [rows,C]. */
  void gate(
      DType type,
      MemorySegment x,
      MemorySegment addend,
      MemorySegment y,
      int channels,
      int fromRow,
      int toRow);

  /** The gradient of {@link #gate}: dx [rows,2C] from x, addend or null, dy [rows,C]. */
  void gateBackward(
      DType type,
      MemorySegment x,
      MemorySegment addend,
      MemorySegment dy,
      MemorySegment dx,
      int channels,
      int fromRow,
      int toRow);

  void relu(DType type, MemorySegment x, MemorySegment y, int from, int to);

  void reluBackward(
      DType type, MemorySegment y, MemorySegment dy, MemorySegment dx, int from, int to);

  void add(DType type, MemorySegment a, MemorySegment b, MemorySegment y, int from, int to);

  /** Rows of logits [rows,K] to nats [rows] and log-sum-exp [rows]; returns the range's sum of nats. */
  double crossEntropy(
      DType type,
      MemorySegment logits,
      MemorySegment targets,
      MemorySegment nats,
      MemorySegment logSumExp,
      int classes,
      int fromRow,
      int toRow);

  /** dlogits = (exp(logits - logSumExp) - onehot) * scale. */
  void crossEntropyBackward(
      DType type,
      DType gradientType,
      MemorySegment logits,
      MemorySegment targets,
      MemorySegment logSumExp,
      MemorySegment dlogits,
      float scale,
      int classes,
      int fromRow,
      int toRow);

  /** The sum of squares of f32 elements. */
  double squaredNorm(MemorySegment x, int from, int to);

  /** What one Adam step needs, worked out in f64: 1 - 0.999 loses four digits in f32. */
  record AdamStep(
      float rate,
      float beta1,
      float oneMinusBeta1,
      float beta2,
      float oneMinusBeta2,
      float epsilon,
      float correction1,
      float correction2,
      float clip,
      float oneMinusEmaDecay) {}

  /** Adam over f32 elements. */
  void adam(
      AdamStep step,
      MemorySegment parameters,
      MemorySegment first,
      MemorySegment second,
      MemorySegment ema,
      MemorySegment gradients,
      int from,
      int to);

  /** Vector loops if the module is there, else scalar ones. */
  static Loops best() {
    return Best.LOOPS;
  }

  /** Chosen once, and never by a static initializer that could throw. */
  final class Best {
    private static final Loops LOOPS = choose();

    private Best() {}

    private static Loops choose() {
      if (ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent()
          && !Boolean.getBoolean("gatun.scalar")) {
        return new VectorLoops();
      }
      return new ScalarLoops();
    }
  }
}
