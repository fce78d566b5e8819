package dev.gatun.engine.cpu;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.ConcatEluBackward;
import dev.gatun.engine.op.Elu;
import dev.gatun.engine.op.EluBackward;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Exponential linear units, a block at a time. The loops have no branches and no calls, so that C2
 * turns them into vector code.
 */
final class CpuElu {
  private CpuElu() {}

  private static final float BOUND = 7.90531110763549805f;

  /**
   * q = exp(-|x|) - 1, as 2 tanh(h) / (1 - tanh(h)) with h = -|x| / 2 and tanh a quotient of
   * polynomials (see {@link Arithmetic}): h is not positive, so nothing cancels, not even near 0.
   * An exponential by powers of two would need a cast of bits, which C2 leaves scalar.
   */
  private static void expm1(float[] x, float[] q, int n) {
    for (int i = 0; i < n; i++) {
      float h = Math.max(-BOUND, -0.5f * Math.abs(x[i]));
      float s = h * h;
      float p = Math.fma(s, -2.76076847742355e-16f, 2.00018790482477e-13f);
      p = Math.fma(p, s, -8.60467152213735e-11f);
      p = Math.fma(p, s, 5.12229709037114e-08f);
      p = Math.fma(p, s, 1.48572235717979e-05f);
      p = Math.fma(p, s, 6.37261928875436e-04f);
      p = Math.fma(p, s, 4.89352455891786e-03f);
      p = p * h;
      float d = Math.fma(s, 1.19825839466702e-06f, 1.18534705686654e-04f);
      d = Math.fma(d, s, 2.26843463243900e-03f);
      d = Math.fma(d, s, 4.89352518554385e-03f);
      q[i] = Math.max(-1, 2 * p / (d - p));
    }
  }

  // x <= exp(x) - 1 everywhere, so elu(x) is the greater of x and exp(-|x|) - 1

  static void elu(float[] x, float[] q, int n) {
    expm1(x, q, n);
    for (int i = 0; i < n; i++) {
      x[i] = Math.max(x[i], q[i]);
    }
  }

  /** x = elu(x), negative = elu(-x). */
  static void both(float[] x, float[] negative, int n) {
    expm1(x, negative, n);
    for (int i = 0; i < n; i++) {
      float q = negative[i];
      negative[i] = Math.max(-x[i], q);
      x[i] = Math.max(x[i], q);
    }
  }

  /** y = dy * elu'(x). */
  private static void eluBackward(float[] y, float[] dy, int n) {
    for (int i = 0; i < n; i++) {
      y[i] = dy[i] * (1 + Math.min(y[i], 0));
    }
  }

  /** x = dy1 * elu'(x) - dy2 * elu'(-x). */
  private static void bothBackward(float[] x, float[] q, float[] dy1, float[] dy2, int n) {
    expm1(x, q, n);
    for (int i = 0; i < n; i++) {
      float positive = 1 + Math.min(Math.max(x[i], q[i]), 0);
      float negative = 1 + Math.min(Math.max(-x[i], q[i]), 0);
      x[i] = dy1[i] * positive - dy2[i] * negative;
    }
  }

  static Launch elu(CpuDevice d, Elu op, List<Tensor> in, List<Tensor> out) {
    return CpuElementwise.map(d, in, out.get(0), (block, n) -> elu(block.a, block.b, n));
  }

  static Launch eluBackward(CpuDevice d, EluBackward op, List<Tensor> in, List<Tensor> out) {
    return CpuElementwise.map(d, in, out.get(0), (block, n) -> eluBackward(block.a, block.b, n));
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
          both(block.a, block.b, n);
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
          bothBackward(block.a, block.b, block.c, block.d, n);
          d.loops().store(type, block.a, 0, dx, from, n);
        });
  }
}
