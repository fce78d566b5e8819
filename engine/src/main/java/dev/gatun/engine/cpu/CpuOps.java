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

  /** Runs a loop over n elements, block by block; {@code body} sees at most a block. */
  private static Launch elementwise(CpuDevice d, int n, Workers.Body body) {
    return () -> d.workers().forRange(n, Blocks.SIZE, body);
  }

  /**
   * Splits rows of [rows,2C] into their halves and back, a block of whole rows at a time (or of parts
   * of one, where a row is longer than a block).
   */
  private record Halves(CpuDevice d, DType type, int channels) {
    int rowsPerBlock() {
      return Math.max(1, Blocks.SIZE / channels);
    }

    interface Body {
      /** Elements {@code from} to {@code from + n} of the [rows,C] side. */
      void run(long from, int n);
    }

    Launch forEach(int rows, Body body) {
      return () ->
          d.workers()
              .forRange(
                  rows,
                  rowsPerBlock(),
                  (from, to) -> {
                    long end = (long) to * channels;
                    int most = Math.min(channels, Blocks.SIZE) * Math.min(rowsPerBlock(), to - from);
                    for (long at = (long) from * channels; at < end; ) {
                      long rowEnd = channels > Blocks.SIZE ? (at / channels + 1) * channels : end;
                      int n = (int) Math.min(most, rowEnd - at);
                      body.run(at, n);
                      at += n;
                    }
                  });
    }

    /** Loads the first halves into a and the second into b. */
    void load(MemorySegment x, long from, int n, float[] a, float[] b) {
      for (int done = 0; done < n; ) {
        int c = (int) ((from + done) % channels);
        int run = Math.min(channels - c, n - done);
        long at = (from + done) / channels * 2 * channels + c;
        d.loops().load(type, x, at, a, done, run);
        d.loops().load(type, x, at + channels, b, done, run);
        done += run;
      }
    }

    void store(float[] a, float[] b, MemorySegment x, long from, int n) {
      for (int done = 0; done < n; ) {
        int c = (int) ((from + done) % channels);
        int run = Math.min(channels - c, n - done);
        long at = (from + done) / channels * 2 * channels + c;
        d.loops().store(type, a, done, x, at, run);
        d.loops().store(type, b, done, x, at + channels, run);
        done += run;
      }
    }
  }

  private static Launch gate(CpuDevice d, Gate op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment x = d.segment(in.get(0));
    MemorySegment addend = in.size() > 1 ? d.segment(in.get(1)) : null;
    MemorySegment y = d.segment(out.get(0));
    Halves halves = new Halves(d, type, out.get(0).shape().dim(-1));
    return halves.forEach(
        out.get(0).shape().rows(),
        (from, n) -> {
          Blocks block = Blocks.own();
          halves.load(x, from, n, block.a, block.b);
          if (addend != null) {
            halves.load(addend, from, n, block.c, block.d);
            Arithmetic.add(block.a, block.c, n);
            Arithmetic.add(block.b, block.d, n);
          }
          Arithmetic.gate(block.a, block.b, block.c, n);
          d.loops().store(type, block.c, 0, y, from, n);
        });
  }

  private static Launch gateBackward(
      CpuDevice d, GateBackward op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment x = d.segment(in.get(0));
    MemorySegment addend = in.size() > 2 ? d.segment(in.get(1)) : null;
    MemorySegment dy = d.segment(in.getLast());
    MemorySegment dx = d.segment(out.get(0));
    Halves halves = new Halves(d, type, in.getLast().shape().dim(-1));
    return halves.forEach(
        in.getLast().shape().rows(),
        (from, n) -> {
          Blocks block = Blocks.own();
          halves.load(x, from, n, block.a, block.b);
          if (addend != null) {
            halves.load(addend, from, n, block.c, block.d);
            Arithmetic.add(block.a, block.c, n);
            Arithmetic.add(block.b, block.d, n);
          }
          d.loops().load(type, dy, from, block.c, 0, n);
          Arithmetic.gateBackward(block.a, block.b, block.c, n);
          halves.store(block.a, block.b, dx, from, n);
        });
  }

  private static Launch relu(CpuDevice d, Relu op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment x = d.segment(in.get(0));
    MemorySegment y = d.segment(out.get(0));
    return elementwise(
        d,
        in.get(0).elements(),
        (from, to) -> {
          float[] a = Blocks.own().a;
          d.loops().load(type, x, from, a, 0, to - from);
          Arithmetic.relu(a, to - from);
          d.loops().store(type, a, 0, y, from, to - from);
        });
  }

  private static Launch reluBackward(
      CpuDevice d, ReluBackward op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment y = d.segment(in.get(0));
    MemorySegment dy = d.segment(in.get(1));
    MemorySegment dx = d.segment(out.get(0));
    return elementwise(
        d,
        in.get(0).elements(),
        (from, to) -> {
          Blocks block = Blocks.own();
          d.loops().load(type, y, from, block.a, 0, to - from);
          d.loops().load(type, dy, from, block.b, 0, to - from);
          Arithmetic.reluBackward(block.a, block.b, to - from);
          d.loops().store(type, block.b, 0, dx, from, to - from);
        });
  }

  private static Launch add(CpuDevice d, Add op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment a = d.segment(in.get(0));
    MemorySegment b = d.segment(in.get(1));
    MemorySegment y = d.segment(out.get(0));
    return elementwise(
        d,
        in.get(0).elements(),
        (from, to) -> {
          Blocks block = Blocks.own();
          d.loops().load(type, a, from, block.a, 0, to - from);
          d.loops().load(type, b, from, block.b, 0, to - from);
          Arithmetic.add(block.a, block.b, to - from);
          d.loops().store(type, block.a, 0, y, from, to - from);
        });
  }

  private static Launch fill(CpuDevice d, Fill op, List<Tensor> in, List<Tensor> out) {
    Tensor y = out.getFirst();
    MemorySegment target = d.segment(y);
    return () -> {
      for (int i = 0; i < y.elements(); i++) {
        ScalarLoops.set(y.dtype(), target, i, op.value());
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
                Blocks.SIZE,
                (from, to) -> {
                  for (int i = from; i < to; i++) {
                    long target = (long) i * (channels + 1);
                    for (int c = 0; c < channels; c++) {
                      int pixel = x.get(JAVA_BYTE, (long) i * channels + c) & 0xFF;
                      ScalarLoops.set(op.type(), y, target + c, pixel * scale - 1);
                    }
                    ScalarLoops.set(op.type(), y, target + channels, 1);
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

  private static Launch crossEntropyBackward(
      CpuDevice d, SoftmaxCrossEntropyBackward op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment logits = d.segment(in.get(0));
    MemorySegment targets = d.segment(in.get(1));
    MemorySegment logSumExp = d.segment(in.get(2));
    MemorySegment dmean = d.segment(in.get(3));
    MemorySegment dlogits = d.segment(out.get(0));
    int classes = in.get(0).shape().dim(-1);
    int rows = in.get(0).shape().rows();
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
          "softmax_cross_entropy: target " + target + " in row " + row + ", but there are "
              + classes + " classes");
    }
    return target;
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

  private static Launch adam(CpuDevice d, Adam op, List<Tensor> in, List<Tensor> out) {
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
