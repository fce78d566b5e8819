package dev.gatun.engine.cpu;

import static dev.gatun.engine.cpu.VectorLoops.bf16;
import static dev.gatun.engine.cpu.VectorLoops.f32;

import dev.gatun.engine.DType;
import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * The loops on the Vector API: down the rows, a vector of columns at a time. A method for each
 * dtype, as in {@link VectorLoops}. Methods of ours are called early in a body: C2 inlines none
 * once it has seen some number of nodes.
 */
final class VectorNorm implements NormLoops {
  private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
  private static final int L = F.length();

  private static final float BOUND = Loops.BOUND;
  private static final FloatVector P6 = FloatVector.broadcast(F, Loops.P6);
  private static final FloatVector P5 = FloatVector.broadcast(F, Loops.P5);
  private static final FloatVector P4 = FloatVector.broadcast(F, Loops.P4);
  private static final FloatVector P3 = FloatVector.broadcast(F, Loops.P3);
  private static final FloatVector P2 = FloatVector.broadcast(F, Loops.P2);
  private static final FloatVector P1 = FloatVector.broadcast(F, Loops.P1);
  private static final FloatVector P0 = FloatVector.broadcast(F, Loops.P0);
  private static final FloatVector Q3 = FloatVector.broadcast(F, Loops.Q3);
  private static final FloatVector Q2 = FloatVector.broadcast(F, Loops.Q2);
  private static final FloatVector Q1 = FloatVector.broadcast(F, Loops.Q1);
  private static final FloatVector Q0 = FloatVector.broadcast(F, Loops.Q0);
  private static final FloatVector ONE = FloatVector.broadcast(F, 1);

  @Override
  public int lanes() {
    return L;
  }

  @Override
  public void differences(DType type, MemorySegment x, Strip s, Columns c) {
    for (int i = 0; i < s.columns(); i += L) {
      if (type == DType.F32) {
        differencesF32(x, s.at() + i, s.stride(), s.rows(), c, s.column() + i);
      } else {
        differencesBf16(x, s.at() + i, s.stride(), s.rows(), c, s.column() + i);
      }
    }
  }

  private static void differencesF32(
      MemorySegment x, long at, long stride, int rows, Columns c, int own) {
    FloatVector base = FloatVector.fromArray(F, c.base, own);
    FloatVector sum = FloatVector.zero(F);
    FloatVector squares = FloatVector.zero(F);
    long i = at;
    for (int r = 0; r < rows; r++) {
      FloatVector d = f32(x, i).sub(base);
      sum = sum.add(d);
      squares = d.fma(d, squares);
      i += stride;
    }
    sum.intoArray(c.first, own);
    squares.intoArray(c.second, own);
  }

  private static void differencesBf16(
      MemorySegment x, long at, long stride, int rows, Columns c, int own) {
    FloatVector base = FloatVector.fromArray(F, c.base, own);
    FloatVector sum = FloatVector.zero(F);
    FloatVector squares = FloatVector.zero(F);
    long i = at;
    for (int r = 0; r < rows; r++) {
      FloatVector d = bf16(x, i).sub(base);
      sum = sum.add(d);
      squares = d.fma(d, squares);
      i += stride;
    }
    sum.intoArray(c.first, own);
    squares.intoArray(c.second, own);
  }

  @Override
  public void apply(
      DType type, MemorySegment x, Strip s, Columns c, boolean silu, MemorySegment y) {
    for (int i = 0; i < s.columns(); i += L) {
      long at = s.at() + i;
      int own = s.column() + i;
      if (type == DType.F32) {
        if (silu) {
          siluF32(x, at, s.stride(), s.rows(), c, own, y);
        } else {
          valuesF32(x, at, s.stride(), s.rows(), c, own, y);
        }
      } else if (silu) {
        siluBf16(x, at, s.stride(), s.rows(), c, own, y);
      } else {
        valuesBf16(x, at, s.stride(), s.rows(), c, own, y);
      }
    }
  }

  private static void valuesF32(
      MemorySegment x, long at, long stride, int rows, Columns c, int own, MemorySegment y) {
    FloatVector mean = FloatVector.fromArray(F, c.mean, own);
    FloatVector factor = FloatVector.fromArray(F, c.factor, own);
    FloatVector offset = FloatVector.fromArray(F, c.offset, own);
    long i = at;
    for (int r = 0; r < rows; r++) {
      f32(f32(x, i).sub(mean).fma(factor, offset), y, i);
      i += stride;
    }
  }

  private static void valuesBf16(
      MemorySegment x, long at, long stride, int rows, Columns c, int own, MemorySegment y) {
    FloatVector mean = FloatVector.fromArray(F, c.mean, own);
    FloatVector factor = FloatVector.fromArray(F, c.factor, own);
    FloatVector offset = FloatVector.fromArray(F, c.offset, own);
    long i = at;
    for (int r = 0; r < rows; r++) {
      bf16(bf16(x, i).sub(mean).fma(factor, offset), y, i);
      i += stride;
    }
  }

  /** As {@link Loops#sigmoid}. */
  private static FloatVector sigmoid(FloatVector z) {
    FloatVector y = z.mul(0.5f);
    y = y.blend(BOUND, y.compare(VectorOperators.GT, BOUND));
    y = y.blend(-BOUND, y.compare(VectorOperators.LT, -BOUND));
    FloatVector t = y.mul(y);
    FloatVector u = t.fma(P6, P5).fma(t, P4).fma(t, P3).fma(t, P2).fma(t, P1).fma(t, P0).mul(y);
    FloatVector v = t.fma(Q3, Q2).fma(t, Q1).fma(t, Q0);
    return u.add(v).mul(0.5f).div(v);
  }

  private static void siluF32(
      MemorySegment x, long at, long stride, int rows, Columns c, int own, MemorySegment y) {
    FloatVector mean = FloatVector.fromArray(F, c.mean, own);
    FloatVector factor = FloatVector.fromArray(F, c.factor, own);
    FloatVector offset = FloatVector.fromArray(F, c.offset, own);
    long i = at;
    for (int r = 0; r < rows; r++) {
      FloatVector z = f32(x, i).sub(mean).fma(factor, offset);
      f32(sigmoid(z).mul(z), y, i);
      i += stride;
    }
  }

  private static void siluBf16(
      MemorySegment x, long at, long stride, int rows, Columns c, int own, MemorySegment y) {
    FloatVector mean = FloatVector.fromArray(F, c.mean, own);
    FloatVector factor = FloatVector.fromArray(F, c.factor, own);
    FloatVector offset = FloatVector.fromArray(F, c.offset, own);
    long i = at;
    for (int r = 0; r < rows; r++) {
      FloatVector z = bf16(x, i).sub(mean).fma(factor, offset);
      bf16(sigmoid(z).mul(z), y, i);
      i += stride;
    }
  }

  @Override
  public void slopes(
      DType type, MemorySegment x, MemorySegment dy, Strip s, Columns c, boolean silu) {
    for (int i = 0; i < s.columns(); i += L) {
      long at = s.at() + i;
      if (type == DType.F32) {
        if (silu) {
          siluSlopesF32(x, dy, at, s, c, i);
        } else {
          slopesF32(x, dy, at, s, c, i);
        }
      } else if (silu) {
        siluSlopesBf16(x, dy, at, s, c, i);
      } else {
        slopesBf16(x, dy, at, s, c, i);
      }
    }
  }

  private static void slopesF32(
      MemorySegment x, MemorySegment dy, long at, Strip s, Columns c, int column) {
    int own = s.column() + column;
    FloatVector mean = FloatVector.fromArray(F, c.mean, own);
    FloatVector dots = FloatVector.zero(F);
    FloatVector sum = FloatVector.zero(F);
    float[] slopes = c.slopes;
    int to = s.slopesAt() + column;
    long i = at;
    for (int r = 0; r < s.rows(); r++) {
      FloatVector dv = f32(dy, i);
      dv.intoArray(slopes, to);
      dots = f32(x, i).sub(mean).fma(dv, dots);
      sum = sum.add(dv);
      i += s.stride();
      to += s.columns();
    }
    dots.intoArray(c.first, own);
    sum.intoArray(c.second, own);
  }

  private static void slopesBf16(
      MemorySegment x, MemorySegment dy, long at, Strip s, Columns c, int column) {
    int own = s.column() + column;
    FloatVector mean = FloatVector.fromArray(F, c.mean, own);
    FloatVector dots = FloatVector.zero(F);
    FloatVector sum = FloatVector.zero(F);
    float[] slopes = c.slopes;
    int to = s.slopesAt() + column;
    long i = at;
    for (int r = 0; r < s.rows(); r++) {
      FloatVector dv = bf16(dy, i);
      dv.intoArray(slopes, to);
      dots = bf16(x, i).sub(mean).fma(dv, dots);
      sum = sum.add(dv);
      i += s.stride();
      to += s.columns();
    }
    dots.intoArray(c.first, own);
    sum.intoArray(c.second, own);
  }

  private static void siluSlopesF32(
      MemorySegment x, MemorySegment dy, long at, Strip s, Columns c, int column) {
    int own = s.column() + column;
    FloatVector mean = FloatVector.fromArray(F, c.mean, own);
    FloatVector factor = FloatVector.fromArray(F, c.factor, own);
    FloatVector offset = FloatVector.fromArray(F, c.offset, own);
    FloatVector dots = FloatVector.zero(F);
    FloatVector sum = FloatVector.zero(F);
    float[] slopes = c.slopes;
    int to = s.slopesAt() + column;
    long i = at;
    for (int r = 0; r < s.rows(); r++) {
      FloatVector slope = f32(dy, i);
      FloatVector d = f32(x, i).sub(mean);
      FloatVector z = d.fma(factor, offset);
      FloatVector g = sigmoid(z);
      FloatVector dv = g.mul(ONE.sub(g).fma(z, ONE)).mul(slope);
      dv.intoArray(slopes, to);
      dots = d.fma(dv, dots);
      sum = sum.add(dv);
      i += s.stride();
      to += s.columns();
    }
    dots.intoArray(c.first, own);
    sum.intoArray(c.second, own);
  }

  private static void siluSlopesBf16(
      MemorySegment x, MemorySegment dy, long at, Strip s, Columns c, int column) {
    int own = s.column() + column;
    FloatVector mean = FloatVector.fromArray(F, c.mean, own);
    FloatVector factor = FloatVector.fromArray(F, c.factor, own);
    FloatVector offset = FloatVector.fromArray(F, c.offset, own);
    FloatVector dots = FloatVector.zero(F);
    FloatVector sum = FloatVector.zero(F);
    float[] slopes = c.slopes;
    int to = s.slopesAt() + column;
    long i = at;
    for (int r = 0; r < s.rows(); r++) {
      FloatVector slope = bf16(dy, i);
      FloatVector d = bf16(x, i).sub(mean);
      FloatVector z = d.fma(factor, offset);
      FloatVector g = sigmoid(z);
      FloatVector dv = g.mul(ONE.sub(g).fma(z, ONE)).mul(slope);
      dv.intoArray(slopes, to);
      dots = d.fma(dv, dots);
      sum = sum.add(dv);
      i += s.stride();
      to += s.columns();
    }
    dots.intoArray(c.first, own);
    sum.intoArray(c.second, own);
  }

  @Override
  public void combine(DType type, MemorySegment x, Strip s, Columns c, MemorySegment dx) {
    for (int i = 0; i < s.columns(); i += L) {
      if (type == DType.F32) {
        combineF32(x, s.at() + i, s, c, i, dx);
      } else {
        combineBf16(x, s.at() + i, s, c, i, dx);
      }
    }
  }

  private static void combineF32(
      MemorySegment x, long at, Strip s, Columns c, int column, MemorySegment dx) {
    int own = s.column() + column;
    FloatVector mean = FloatVector.fromArray(F, c.mean, own);
    FloatVector factor = FloatVector.fromArray(F, c.factor, own);
    FloatVector base = FloatVector.fromArray(F, c.base, own);
    FloatVector along = FloatVector.fromArray(F, c.along, own);
    float[] slopes = c.slopes;
    int from = s.slopesAt() + column;
    long i = at;
    for (int r = 0; r < s.rows(); r++) {
      FloatVector less = f32(x, i).sub(mean).fma(along, base);
      f32(FloatVector.fromArray(F, slopes, from).mul(factor).sub(less), dx, i);
      i += s.stride();
      from += s.columns();
    }
  }

  private static void combineBf16(
      MemorySegment x, long at, Strip s, Columns c, int column, MemorySegment dx) {
    int own = s.column() + column;
    FloatVector mean = FloatVector.fromArray(F, c.mean, own);
    FloatVector factor = FloatVector.fromArray(F, c.factor, own);
    FloatVector base = FloatVector.fromArray(F, c.base, own);
    FloatVector along = FloatVector.fromArray(F, c.along, own);
    float[] slopes = c.slopes;
    int from = s.slopesAt() + column;
    long i = at;
    for (int r = 0; r < s.rows(); r++) {
      FloatVector less = bf16(x, i).sub(mean).fma(along, base);
      bf16(FloatVector.fromArray(F, slopes, from).mul(factor).sub(less), dx, i);
      i += s.stride();
      from += s.columns();
    }
  }
}
