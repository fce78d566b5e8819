package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.SoftmaxCrossEntropyBackward;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Softmax cross-entropy and its gradient, a block of rows at a time. */
final class CpuCrossEntropy {
  private CpuCrossEntropy() {}

  static Launch crossEntropy(
      CpuDevice d, SoftmaxCrossEntropy op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment logits = d.segment(in.get(0));
    MemorySegment targets = d.segment(in.get(1));
    MemorySegment mean = d.segment(out.get(0));
    MemorySegment nats = d.segment(out.get(1));
    MemorySegment lse = d.segment(out.get(2));
    int classes = op.classesOf(in.get(0).shape());
    int rows = in.get(0).elements() / classes;
    return () -> {
      d.workers()
          .forRange(
              rows,
              rowsPerBlock(classes),
              (from, to) -> {
                float[] block = Blocks.own().a;
                d.loops()
                    .load(type, logits, (long) from * classes, block, 0, (to - from) * classes);
                for (int row = from; row < to; row++) {
                  int at = (row - from) * classes;
                  float max = d.loops().max(block, at, classes);
                  double sum = d.loops().expSum(block, at, classes, max);
                  double value = max + Math.log(sum);
                  ScalarLoops.set(DType.F32, lse, row, (float) value);
                  float own = block[at + target(targets, row, classes)];
                  ScalarLoops.set(DType.F32, nats, row, (float) (value - own));
                }
              });
      // summed here and not by the pieces, so that the sum does not depend on how many there were
      double total = 0;
      for (int row = 0; row < rows; row++) {
        total += ScalarLoops.get(DType.F32, nats, row);
      }
      ScalarLoops.set(DType.F32, mean, 0, (float) (total / rows));
    };
  }

  static Launch crossEntropyBackward(
      CpuDevice d, SoftmaxCrossEntropyBackward op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment logits = d.segment(in.get(0));
    MemorySegment targets = d.segment(in.get(1));
    MemorySegment logSumExp = d.segment(in.get(2));
    MemorySegment dmean = d.segment(in.get(3));
    MemorySegment dlogits = d.segment(out.get(0));
    int classes = op.classesOf(in.get(0).shape());
    int rows = in.get(0).elements() / classes;
    return () -> {
      float scale = ScalarLoops.get(DType.F32, dmean, 0) / rows;
      d.workers()
          .forRange(
              rows,
              rowsPerBlock(classes),
              (from, to) -> {
                float[] block = Blocks.own().a;
                long first = (long) from * classes;
                d.loops().load(type, logits, first, block, 0, (to - from) * classes);
                for (int row = from; row < to; row++) {
                  int at = (row - from) * classes;
                  float lse = ScalarLoops.get(DType.F32, logSumExp, row);
                  d.loops().exp(block, at, classes, lse, scale);
                  block[at + target(targets, row, classes)] -= scale;
                }
                d.loops().store(op.type(), block, 0, dlogits, first, (to - from) * classes);
              });
    };
  }

  private static int rowsPerBlock(int classes) {
    return Math.max(1, Blocks.SIZE / classes);
  }

  private static int target(MemorySegment targets, int row, int classes) {
    int target = targets.get(JAVA_BYTE, row) & 0xFF;
    if (target >= classes) {
      throw new IllegalArgumentException(
          "softmax_cross_entropy: target "
              + target
              + " in row "
              + row
              + ", but there are "
              + classes
              + " classes");
    }
    return target;
  }
}
