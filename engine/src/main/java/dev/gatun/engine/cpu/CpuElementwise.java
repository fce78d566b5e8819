package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.Cast;
import dev.gatun.engine.op.Fill;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.GateBackward;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.ReluBackward;
import dev.gatun.engine.op.Reshape;
import dev.gatun.engine.op.ScalePixels;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Element-wise ops: f32 arithmetic, on a block of elements at a time. */
final class CpuElementwise {
  private CpuElementwise() {}

  /** A function of elements at the same place: the first input's in a, a second's in b. */
  interface Elements {
    /** Leaves the results in a. */
    void apply(Blocks block, int n);
  }

  /** y = f(in), computed in f32 whatever the dtypes. */
  static Launch map(CpuDevice d, List<Tensor> in, Tensor y, Elements f) {
    MemorySegment a = d.segment(in.get(0));
    MemorySegment b = in.size() > 1 ? d.segment(in.get(1)) : null;
    DType ofA = in.get(0).dtype();
    DType ofB = in.getLast().dtype();
    MemorySegment target = d.segment(y);
    return () ->
        d.workers()
            .forRange(
                y.elements(),
                Blocks.SIZE,
                (from, to) -> {
                  Blocks block = Blocks.own();
                  d.loops().load(ofA, a, from, block.a, 0, to - from);
                  if (b != null) {
                    d.loops().load(ofB, b, from, block.b, 0, to - from);
                  }
                  f.apply(block, to - from);
                  d.loops().store(y.dtype(), block.a, 0, target, from, to - from);
                });
  }

  /** Runs a loop over n elements; what a thread takes at a time stays in its caches. */
  private static Launch elementwise(CpuDevice d, int n, Workers.Body body) {
    return () -> d.workers().forRange(n, 4 * Blocks.SIZE, body);
  }

  /** A gate's rows: [rows,2C] on one side and [rows,C] on the other, a block at a time. */
  private record Gates(CpuDevice d, DType type, Gate.Kind kind, int rows, int channels) {
    /** Groups are contiguous, so a row of G groups is G rows. */
    static Gates of(CpuDevice d, Gate.Kind kind, int groups, Tensor y) {
      int channels = y.shape().dim(-1) / groups;
      return new Gates(d, y.dtype(), kind, y.shape().rows() * groups, channels);
    }

    Launch launch(Pieces.Body body) {
      return Pieces.launch(d, rows, channels, body);
    }

    /** The first halves into a, the second into b. */
    void load(MemorySegment x, long row, int rows, int channel, int n, Blocks block) {
      d.loops().loadRows(type, x, 2 * row * channels + channel, 2L * channels, block.a, rows, n);
      d.loops()
          .loadRows(type, x, (2 * row + 1) * channels + channel, 2L * channels, block.b, rows, n);
    }
  }

  static Launch gate(CpuDevice d, Gate op, List<Tensor> in, List<Tensor> out) {
    MemorySegment x = d.segment(in.get(0));
    MemorySegment residual = in.size() > 1 ? d.segment(in.get(1)) : null;
    MemorySegment y = d.segment(out.get(0));
    Gates gates = Gates.of(d, op.kind(), op.groups(), out.get(0));
    return gates.launch((row, channel, rows, n) -> {
      Blocks block = Blocks.own();
      int all = rows * n;
      long at = (long) row * gates.channels + channel;
      gates.load(x, row, rows, channel, n, block);
      d.activations().gate(op.kind(), block, all);
      if (residual != null) {
        d.loops().load(gates.type, residual, at, block.b, 0, all);
        Arithmetic.add(block.a, block.b, all);
      }
      d.loops().store(gates.type, block.a, 0, y, at, all);
    });
  }

  static Launch gateBackward(CpuDevice d, GateBackward op, List<Tensor> in, List<Tensor> out) {
    MemorySegment x = d.segment(in.get(0));
    MemorySegment dy = d.segment(in.get(1));
    MemorySegment dx = d.segment(out.get(0));
    Gates gates = Gates.of(d, op.kind(), op.groups(), in.get(1));
    return gates.launch((row, channel, rows, n) -> {
      Blocks block = Blocks.own();
      int all = rows * n;
      gates.load(x, row, rows, channel, n, block);
      d.loops().load(gates.type, dy, (long) row * gates.channels + channel, block.e, 0, all);
      d.activations().gateBackward(op.kind(), block, all);
      long stride = 2L * gates.channels;
      long first = stride * row + channel;
      d.loops().storeRows(gates.type, block.a, dx, first, stride, rows, n);
      d.loops().storeRows(gates.type, block.b, dx, first + gates.channels, stride, rows, n);
    });
  }

  static Launch cast(CpuDevice d, Cast op, List<Tensor> in, List<Tensor> out) {
    return map(d, in, out.getFirst(), (block, n) -> {});
  }

  static Launch reshape(CpuDevice d, Reshape op, List<Tensor> in, List<Tensor> out) {
    MemorySegment x = d.segment(in.getFirst());
    MemorySegment y = d.segment(out.getFirst());
    return () -> y.copyFrom(x);
  }

  static Launch relu(CpuDevice d, Relu op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment x = d.segment(in.get(0));
    MemorySegment y = d.segment(out.get(0));
    return elementwise(
        d, in.get(0).elements(), (from, to) -> d.loops().relu(type, x, y, from, to - from));
  }

  static Launch reluBackward(CpuDevice d, ReluBackward op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment y = d.segment(in.get(0));
    MemorySegment dy = d.segment(in.get(1));
    MemorySegment dx = d.segment(out.get(0));
    return elementwise(
        d,
        in.get(0).elements(),
        (from, to) -> d.loops().reluBackward(type, y, dy, dx, from, to - from));
  }

  static Launch add(CpuDevice d, Add op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment a = d.segment(in.get(0));
    MemorySegment b = d.segment(in.get(1));
    MemorySegment y = d.segment(out.get(0));
    return elementwise(
        d, in.get(0).elements(), (from, to) -> d.loops().add(type, a, b, y, from, to - from));
  }

  static Launch fill(CpuDevice d, Fill op, List<Tensor> in, List<Tensor> out) {
    Tensor y = out.getFirst();
    MemorySegment target = d.segment(y);
    return () -> {
      for (int i = 0; i < y.elements(); i++) {
        ScalarLoops.set(y.dtype(), target, i, op.value());
      }
    };
  }

  static Launch normalizePixels(
      CpuDevice d, NormalizePixels op, List<Tensor> in, List<Tensor> out) {
    MemorySegment x = d.segment(in.get(0));
    MemorySegment y = d.segment(out.get(0));
    int channels = in.get(0).shape().dim(3);
    int pixels = in.get(0).shape().rows();
    float[] scaled = scaled(op.levels());
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
                      ScalarLoops.set(op.type(), y, target + c, scaled[pixel]);
                    }
                    ScalarLoops.set(op.type(), y, target + channels, 1);
                  }
                });
  }

  /** Each value of a byte as a number, 0 to {@code levels - 1} as -1 to 1. */
  static float[] scaled(int levels) {
    float scale = 2f / (levels - 1);
    float[] scaled = new float[256];
    for (int i = 0; i < scaled.length; i++) {
      scaled[i] = i * scale - 1;
    }
    return scaled;
  }

  static Launch scalePixels(CpuDevice d, ScalePixels op, List<Tensor> in, List<Tensor> out) {
    MemorySegment x = d.segment(in.getFirst());
    MemorySegment y = d.segment(out.getFirst());
    float[] scaled = scaled(op.levels());
    return () ->
        d.workers()
            .forRange(
                in.getFirst().elements(),
                Blocks.SIZE,
                (from, to) -> {
                  float[] block = Blocks.own().a;
                  for (int i = from; i < to; i++) {
                    block[i - from] = scaled[x.get(JAVA_BYTE, i) & 0xFF];
                  }
                  d.loops().store(op.type(), block, 0, y, from, to - from);
                });
  }
}
