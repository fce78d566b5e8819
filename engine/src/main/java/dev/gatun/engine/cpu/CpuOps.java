package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Conv2dBackwardWeights;
import dev.gatun.engine.op.Fill;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.GateBackward;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.GroupNormBackward;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.ReluBackward;
import dev.gatun.engine.op.SelectRow;
import dev.gatun.engine.op.SelectRowBackward;
import dev.gatun.engine.op.ShiftRows;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.SoftmaxCrossEntropyBackward;
import dev.gatun.engine.op.SquaredNorm;
import java.lang.foreign.MemorySegment;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Which code runs which op on the CPU. A new op is one line here. */
final class CpuOps {
  /** Fixes one kind of op to memory. */
  private interface Form<T extends Op> {
    Launch prepare(CpuDevice device, T op, List<Tensor> in, List<Tensor> out);
  }

  private static final Map<Class<? extends Op>, Form<Op>> FORMS = new HashMap<>();

  static {
    register(Conv2d.class, CpuConvolution::forward);
    register(Conv2dBackwardData.class, CpuConvolution::backwardData);
    register(Conv2dBackwardWeights.class, CpuConvolution::backwardWeights);
    register(Gate.class, CpuOps::gate);
    register(GateBackward.class, CpuOps::gateBackward);
    register(Relu.class, CpuOps::relu);
    register(ReluBackward.class, CpuOps::reluBackward);
    register(Add.class, CpuOps::add);
    register(Fill.class, CpuOps::fill);
    register(NormalizePixels.class, CpuOps::normalizePixels);
    register(SoftmaxCrossEntropy.class, CpuOps::crossEntropy);
    register(SoftmaxCrossEntropyBackward.class, CpuOps::crossEntropyBackward);
    register(GroupNorm.class, CpuGroupNorm::forward);
    register(GroupNormBackward.class, CpuGroupNorm::backward);
    register(SelectRow.class, CpuOps::selectRow);
    register(SelectRowBackward.class, CpuOps::selectRowBackward);
    register(ShiftRows.class, CpuOps::shiftRows);
    register(SquaredNorm.class, CpuOps::squaredNorm);
    register(Adam.class, CpuOps::adam);
  }

  /** Elements a block of a loop has, about. */
  private static final int GRAIN = 1 << 13;

  private CpuOps() {}

  private static <T extends Op> void register(Class<T> type, Form<T> form) {
    FORMS.put(type, (device, op, in, out) -> form.prepare(device, type.cast(op), in, out));
  }

  static boolean supports(Op op) {
    return FORMS.containsKey(op.getClass());
  }

  static Launch prepare(CpuDevice device, Op op, List<Tensor> in, List<Tensor> out) {
    return FORMS.get(op.getClass()).prepare(device, op, in, out);
  }

  private static Launch gate(CpuDevice d, Gate op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment x = d.segment(in.get(0));
    MemorySegment addend = in.size() > 1 ? d.segment(in.get(1)) : null;
    MemorySegment y = d.segment(out.get(0));
    int channels = out.get(0).shape().dim(-1);
    int rows = out.get(0).shape().rows();
    return () ->
        d.workers()
            .forRange(
                rows,
                1 + GRAIN / channels,
                (from, to) -> d.loops().gate(type, x, addend, y, channels, from, to));
  }

  private static Launch gateBackward(
      CpuDevice d, GateBackward op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment x = d.segment(in.get(0));
    MemorySegment addend = in.size() > 2 ? d.segment(in.get(1)) : null;
    MemorySegment dy = d.segment(in.getLast());
    MemorySegment dx = d.segment(out.get(0));
    int channels = in.getLast().shape().dim(-1);
    int rows = in.getLast().shape().rows();
    return () ->
        d.workers()
            .forRange(
                rows,
                1 + GRAIN / channels,
                (from, to) -> d.loops().gateBackward(type, x, addend, dy, dx, channels, from, to));
  }

  private static Launch relu(CpuDevice d, Relu op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment x = d.segment(in.get(0));
    MemorySegment y = d.segment(out.get(0));
    return () ->
        d.workers()
            .forRange(
                in.get(0).elements(), GRAIN, (from, to) -> d.loops().relu(type, x, y, from, to));
  }

  private static Launch reluBackward(
      CpuDevice d, ReluBackward op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment y = d.segment(in.get(0));
    MemorySegment dy = d.segment(in.get(1));
    MemorySegment dx = d.segment(out.get(0));
    return () ->
        d.workers()
            .forRange(
                in.get(0).elements(),
                GRAIN,
                (from, to) -> d.loops().reluBackward(type, y, dy, dx, from, to));
  }

  private static Launch add(CpuDevice d, Add op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment a = d.segment(in.get(0));
    MemorySegment b = d.segment(in.get(1));
    MemorySegment y = d.segment(out.get(0));
    return () ->
        d.workers()
            .forRange(
                in.get(0).elements(), GRAIN, (from, to) -> d.loops().add(type, a, b, y, from, to));
  }

  private static Launch fill(CpuDevice d, Fill op, List<Tensor> in, List<Tensor> out) {
    Tensor y = out.getFirst();
    MemorySegment target = d.segment(y);
    return () -> {
      for (int i = 0; i < y.elements(); i++) {
        ScalarLoops.store(y.dtype(), target, i, op.value());
      }
    };
  }

  private static Launch normalizePixels(
      CpuDevice d, NormalizePixels op, List<Tensor> in, List<Tensor> out) {
    MemorySegment x = d.segment(in.get(0));
    MemorySegment y = d.segment(out.get(0));
    int channels = in.get(0).shape().dim(3);
    int pixels = in.get(0).shape().rows();
    float scale = 2f / (op.levels() - 1);
    return () ->
        d.workers()
            .forRange(
                pixels,
                GRAIN,
                (from, to) -> {
                  for (int i = from; i < to; i++) {
                    long target = (long) i * (channels + 1);
                    for (int c = 0; c < channels; c++) {
                      int pixel = x.get(JAVA_BYTE, (long) i * channels + c) & 0xFF;
                      ScalarLoops.store(op.type(), y, target + c, pixel * scale - 1);
                    }
                    ScalarLoops.store(op.type(), y, target + channels, 1);
                  }
                });
  }

  private static Launch crossEntropy(
      CpuDevice d, SoftmaxCrossEntropy op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment logits = d.segment(in.get(0));
    MemorySegment targets = d.segment(in.get(1));
    MemorySegment mean = d.segment(out.get(0));
    MemorySegment nats = d.segment(out.get(1));
    MemorySegment lse = d.segment(out.get(2));
    int classes = in.get(0).shape().dim(-1);
    int rows = in.get(0).shape().rows();
    return () -> {
      d.workers()
          .forRange(
              rows,
              1 + GRAIN / classes,
              (from, to) ->
                  d.loops().crossEntropy(type, logits, targets, nats, lse, classes, from, to));
      // summed here and not by the pieces, so that the sum does not depend on how many there were
      double total = 0;
      for (int row = 0; row < rows; row++) {
        total += ScalarLoops.load(DType.F32, nats, row);
      }
      ScalarLoops.store(DType.F32, mean, 0, (float) (total / rows));
    };
  }

  private static Launch crossEntropyBackward(
      CpuDevice d, SoftmaxCrossEntropyBackward op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment logits = d.segment(in.get(0));
    MemorySegment targets = d.segment(in.get(1));
    MemorySegment lse = d.segment(in.get(2));
    MemorySegment dmean = d.segment(in.get(3));
    MemorySegment dlogits = d.segment(out.get(0));
    int classes = in.get(0).shape().dim(-1);
    int rows = in.get(0).shape().rows();
    return () -> {
      float scale = ScalarLoops.load(DType.F32, dmean, 0) / rows;
      d.workers()
          .forRange(
              rows,
              1 + GRAIN / classes,
              (from, to) ->
                  d.loops()
                      .crossEntropyBackward(
                          type, op.type(), logits, targets, lse, dlogits, scale, classes, from,
                          to));
    };
  }

  private static Launch selectRow(CpuDevice d, SelectRow op, List<Tensor> in, List<Tensor> out) {
    return rows(d, in.get(0), d.segment(in.get(1)), out.get(0), true);
  }

  private static Launch selectRowBackward(
      CpuDevice d, SelectRowBackward op, List<Tensor> in, List<Tensor> out) {
    Launch copy = rows(d, out.get(0), d.segment(in.get(1)), in.get(0), false);
    MemorySegment dx = d.segment(out.get(0));
    return () -> {
      dx.fill((byte) 0);
      copy.run();
    };
  }

  /** Copies between one row of each image and a tensor of single rows, one way or the other. */
  private static Launch rows(
      CpuDevice d, Tensor images, MemorySegment row, Tensor single, boolean out) {
    MemorySegment whole = d.segment(images);
    MemorySegment part = d.segment(single);
    Shape shape = images.shape();
    long rowBytes = (long) shape.dim(2) * shape.dim(3) * images.dtype().bytes();
    return () -> {
      int index = row.get(JAVA_INT_UNALIGNED, 0);
      if (index < 0 || index >= shape.dim(1)) {
        throw new IndexOutOfBoundsException("select_row: row " + index + " of images " + shape);
      }
      for (int n = 0; n < shape.dim(0); n++) {
        long at = ((long) n * shape.dim(1) + index) * rowBytes;
        if (out) {
          MemorySegment.copy(whole, at, part, n * rowBytes, rowBytes);
        } else {
          MemorySegment.copy(part, n * rowBytes, whole, at, rowBytes);
        }
      }
    };
  }

  private static Launch shiftRows(CpuDevice d, ShiftRows op, List<Tensor> in, List<Tensor> out) {
    MemorySegment x = d.segment(in.get(0));
    MemorySegment y = d.segment(out.get(0));
    Shape shape = in.get(0).shape();
    long rowBytes = (long) shape.dim(2) * shape.dim(3) * in.get(0).dtype().bytes();
    long imageBytes = rowBytes * shape.dim(1);
    long moved = Math.min(imageBytes, Math.abs(op.rows()) * rowBytes);
    long kept = imageBytes - moved;
    return () ->
        d.workers()
            .forRange(
                shape.dim(0),
                1,
                (from, to) -> {
                  long at = from * imageBytes;
                  MemorySegment.copy(
                      x, at + (op.rows() < 0 ? moved : 0), y, at + (op.rows() < 0 ? 0 : moved), kept);
                  y.asSlice(at + (op.rows() < 0 ? kept : 0), moved).fill((byte) 0);
                });
  }

  private static Launch squaredNorm(
      CpuDevice d, SquaredNorm op, List<Tensor> in, List<Tensor> out) {
    MemorySegment x = d.segment(in.get(0));
    MemorySegment norm = d.segment(out.get(0));
    int n = in.get(0).elements();
    // fixed blocks, summed in order: the same bits at any number of workers
    int blocks = Math.ceilDiv(n, GRAIN);
    double[] sums = new double[blocks];
    return () -> {
      d.workers()
          .forRange(
              blocks,
              1,
              (from, to) -> {
                for (int b = from; b < to; b++) {
                  sums[b] = d.loops().squaredNorm(x, b * GRAIN, Math.min(n, (b + 1) * GRAIN));
                }
              });
      double total = 0;
      for (double sum : sums) {
        total += sum;
      }
      norm.set(JAVA_DOUBLE_UNALIGNED, 0, total);
    };
  }

  private static Launch adam(CpuDevice d, Adam op, List<Tensor> in, List<Tensor> out) {
    List<MemorySegment> s = in.stream().map(d::segment).toList();
    int n = in.getFirst().elements();
    return () -> {
      MemorySegment state = s.get(4);
      double t = state.get(JAVA_DOUBLE_UNALIGNED, 0) + 1;
      state.set(JAVA_DOUBLE_UNALIGNED, 0, t);
      Loops.AdamStep step =
          new Loops.AdamStep(
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
              GRAIN,
              (from, to) ->
                  d.loops()
                      .adam(step, s.get(0), s.get(1), s.get(2), s.get(3), s.get(5), from, to));
    };
  }
}
