package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.Fill;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.GateBackward;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.ReluBackward;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Element-wise ops: a block of elements is widened to f32, worked on, and rounded back. */
final class CpuElementwise {
  private CpuElementwise() {}

  /** Runs a loop over n elements, block by block; {@code body} sees at most a block. */
  private static Launch elementwise(CpuDevice d, int n, Workers.Body body) {
    return () -> d.workers().forRange(n, Blocks.SIZE, body);
  }

  /**
   * Splits rows of [rows,2C] into their halves and back, a block of whole rows at a time (or of
   * parts of one, where a row is longer than a block).
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
                    int most =
                        Math.min(channels, Blocks.SIZE) * Math.min(rowsPerBlock(), to - from);
                    for (long at = (long) from * channels; at < end; ) {
                      long rowEnd = channels > Blocks.SIZE ? (at / channels + 1) * channels : end;
                      int n = (int) Math.min(most, rowEnd - at);
                      body.run(at, n);
                      at += n;
                    }
                  });
    }

    /** Loads x, plus the addend where there is one: the first halves into a, the second into b. */
    void load(MemorySegment x, MemorySegment addend, long from, int n, Blocks block) {
      for (int done = 0; done < n; ) {
        int c = (int) ((from + done) % channels);
        int rows = c == 0 ? (n - done) / channels : 0;
        if (rows > 0) {
          // whole rows lie together: widened in one go, then taken apart
          int wide = 2 * rows * channels;
          loadSum(x, addend, 2 * (from + done), wide, block);
          for (int r = 0; r < rows; r++, done += channels) {
            System.arraycopy(block.wide, 2 * r * channels, block.a, done, channels);
            System.arraycopy(block.wide, (2 * r + 1) * channels, block.b, done, channels);
          }
        } else {
          int run = Math.min(channels - c, n - done);
          long at = (from + done) / channels * 2 * channels + c;
          loadSum(x, addend, at, run, block);
          System.arraycopy(block.wide, 0, block.a, done, run);
          loadSum(x, addend, at + channels, run, block);
          System.arraycopy(block.wide, 0, block.b, done, run);
          done += run;
        }
      }
    }

    private void loadSum(MemorySegment x, MemorySegment addend, long from, int n, Blocks block) {
      d.loops().load(type, x, from, block.wide, 0, n);
      if (addend != null) {
        d.loops().load(type, addend, from, block.wide2, 0, n);
        Arithmetic.add(block.wide, block.wide2, n);
      }
    }

    /** Stores a as the first halves and b as the second. */
    void store(Blocks block, MemorySegment x, long from, int n) {
      for (int done = 0; done < n; ) {
        int c = (int) ((from + done) % channels);
        int rows = c == 0 ? (n - done) / channels : 0;
        if (rows > 0) {
          long at = 2 * (from + done);
          for (int r = 0; r < rows; r++, done += channels) {
            System.arraycopy(block.a, done, block.wide, 2 * r * channels, channels);
            System.arraycopy(block.b, done, block.wide, (2 * r + 1) * channels, channels);
          }
          d.loops().store(type, block.wide, 0, x, at, 2 * rows * channels);
        } else {
          int run = Math.min(channels - c, n - done);
          long at = (from + done) / channels * 2 * channels + c;
          d.loops().store(type, block.a, done, x, at, run);
          d.loops().store(type, block.b, done, x, at + channels, run);
          done += run;
        }
      }
    }
  }

  static Launch gate(CpuDevice d, Gate op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment x = d.segment(in.get(0));
    MemorySegment addend = in.size() > 1 ? d.segment(in.get(1)) : null;
    MemorySegment y = d.segment(out.get(0));
    Halves halves = new Halves(d, type, out.get(0).shape().dim(-1));
    return halves.forEach(
        out.get(0).shape().rows(),
        (from, n) -> {
          Blocks block = Blocks.own();
          halves.load(x, addend, from, n, block);
          Arithmetic.gate(block.a, block.b, block.c, n);
          d.loops().store(type, block.c, 0, y, from, n);
        });
  }

  static Launch gateBackward(CpuDevice d, GateBackward op, List<Tensor> in, List<Tensor> out) {
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
          halves.load(x, addend, from, n, block);
          d.loops().load(type, dy, from, block.c, 0, n);
          Arithmetic.gateBackward(block.a, block.b, block.c, n);
          halves.store(block, dx, from, n);
        });
  }

  static Launch relu(CpuDevice d, Relu op, List<Tensor> in, List<Tensor> out) {
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

  static Launch reluBackward(CpuDevice d, ReluBackward op, List<Tensor> in, List<Tensor> out) {
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

  static Launch add(CpuDevice d, Add op, List<Tensor> in, List<Tensor> out) {
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
}
