package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.op.SquaredNorm;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** The optimizer's ops over a flat arena. */
final class CpuOptimizer {
  private CpuOptimizer() {}

  static Launch squaredNorm(CpuDevice d, SquaredNorm op, List<Tensor> in, List<Tensor> out) {
    MemorySegment x = d.segment(in.get(0));
    MemorySegment norm = d.segment(out.get(0));
    int n = in.get(0).elements();
    // fixed blocks, summed in order: the same bits at any number of workers
    int blocks = Math.ceilDiv(n, Blocks.SIZE);
    double[] sums = new double[blocks];
    return () -> {
      d.workers()
          .forRange(
              blocks,
              1,
              (from, to) -> {
                for (int b = from; b < to; b++) {
                  int first = b * Blocks.SIZE;
                  int count = Math.min(n, first + Blocks.SIZE) - first;
                  float[] block = Blocks.own().a;
                  d.loops().load(DType.F32, x, first, block, 0, count);
                  sums[b] = d.loops().squaredNorm(block, 0, count);
                }
              });
      double total = 0;
      for (double sum : sums) {
        total += sum;
      }
      norm.set(JAVA_DOUBLE_UNALIGNED, 0, total);
    };
  }

  static Launch adam(CpuDevice d, Adam op, List<Tensor> in, List<Tensor> out) {
    List<MemorySegment> s = in.stream().map(d::segment).toList();
    int n = in.getFirst().elements();
    return () -> {
      MemorySegment state = s.get(4);
      double t = state.get(JAVA_DOUBLE_UNALIGNED, 0) + 1;
      state.set(JAVA_DOUBLE_UNALIGNED, 0, t);
      Arithmetic.AdamStep step =
          new Arithmetic.AdamStep(
              (float) op.rate(t),
              (float) op.beta1(),
              (float) (1 - op.beta1()),
              (float) op.beta2(),
              (float) (1 - op.beta2()),
              (float) op.epsilon(),
              (float) (1 / (1 - Math.pow(op.beta1(), t))),
              (float) (1 / (1 - Math.pow(op.beta2(), t))),
              (float) op.clipScale(s.get(6).get(JAVA_DOUBLE_UNALIGNED, 0)),
              (float) (1 - op.emaDecayAt(t)));
      d.workers()
          .forRange(
              n,
              Blocks.SIZE,
              (from, to) -> {
                Blocks own = Blocks.own();
                float[][] arrays = {own.a, own.b, own.c, own.d};
                int count = to - from;
                for (int i = 0; i < 4; i++) {
                  d.loops().load(DType.F32, s.get(i), from, arrays[i], 0, count);
                }
                d.loops().load(DType.F32, s.get(5), from, own.e, 0, count);
                Arithmetic.adam(step, own.a, own.b, own.c, own.d, own.e, count);
                for (int i = 0; i < 4; i++) {
                  d.loops().store(DType.F32, arrays[i], 0, s.get(i), from, count);
                }
              });
    };
  }
}
