package dev.gatun.engine.cpu;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.ConcatEluBackward;
import dev.gatun.engine.op.Elu;
import dev.gatun.engine.op.EluBackward;
import dev.gatun.engine.op.Silu;
import dev.gatun.engine.op.SiluBackward;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Exponential linear units, a block at a time: see {@link Activations}. */
final class CpuElu {
  private CpuElu() {}

  /** y = dy * elu'(x). */
  private static void eluBackward(float[] y, float[] dy, int n) {
    for (int i = 0; i < n; i++) {
      y[i] = dy[i] * (1 + Math.min(y[i], 0));
    }
  }

  static Launch elu(CpuDevice d, Elu op, List<Tensor> in, List<Tensor> out) {
    return CpuElementwise.map(d, in, out.get(0), d.activations()::elu);
  }

  static Launch eluBackward(CpuDevice d, EluBackward op, List<Tensor> in, List<Tensor> out) {
    return CpuElementwise.map(d, in, out.get(0), (block, n) -> eluBackward(block.a, block.b, n));
  }

  static Launch silu(CpuDevice d, Silu op, List<Tensor> in, List<Tensor> out) {
    return CpuElementwise.map(
        d,
        in,
        out.get(0),
        (block, n) -> {
          System.arraycopy(block.a, 0, block.b, 0, n);
          d.loops().sigmoid(block.b, n);
          Arithmetic.multiply(block.a, block.b, n);
        });
  }

  static Launch siluBackward(CpuDevice d, SiluBackward op, List<Tensor> in, List<Tensor> out) {
    return CpuElementwise.map(
        d,
        in,
        out.get(0),
        (block, n) -> {
          System.arraycopy(block.a, 0, block.c, 0, n);
          d.loops().sigmoid(block.c, n);
          siluBackward(block.a, block.c, block.b, n);
        });
  }

  /** x = dy * g * (1 + x * (1 - g)). */
  private static void siluBackward(float[] x, float[] g, float[] dy, int n) {
    for (int i = 0; i < n; i++) {
      x[i] = dy[i] * g[i] * (1 + x[i] * (1 - g[i]));
    }
  }

  static Launch concatElu(CpuDevice d, ConcatElu op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment x = d.segment(in.get(0));
    MemorySegment y = d.segment(out.get(0));
    int channels = in.get(0).shape().dim(-1);
    return Pieces.launch(
        d,
        in.get(0).shape().rows(),
        channels,
        (row, column, rows, width) -> {
          Blocks block = Blocks.own();
          long from = (long) row * channels + column;
          int n = rows * width;
          d.loops().load(type, x, from, block.a, 0, n);
          d.activations().elus(block, n);
          long at = 2L * row * channels + column;
          d.loops().storeRows(type, block.a, y, at, 2L * channels, rows, width);
          d.loops().storeRows(type, block.b, y, at + channels, 2L * channels, rows, width);
        });
  }

  static Launch concatEluBackward(
      CpuDevice d, ConcatEluBackward op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment x = d.segment(in.get(0));
    MemorySegment dy = d.segment(in.get(1));
    MemorySegment dx = d.segment(out.get(0));
    int channels = in.get(0).shape().dim(-1);
    return Pieces.launch(
        d,
        in.get(0).shape().rows(),
        channels,
        (row, column, rows, width) -> {
          Blocks block = Blocks.own();
          long from = (long) row * channels + column;
          int n = rows * width;
          d.loops().load(type, x, from, block.a, 0, n);
          long at = 2L * row * channels + column;
          d.loops().loadRows(type, dy, at, 2L * channels, block.c, rows, width);
          d.loops().loadRows(type, dy, at + channels, 2L * channels, block.d, rows, width);
          d.activations().elusBackward(block, n);
          d.loops().store(type, block.a, 0, dx, from, n);
        });
  }
}
