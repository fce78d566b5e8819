package dev.gatun.engine.cpu;

import dev.gatun.engine.DType;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/** The loops in plain Java, a row at a time. */
final class ScalarNorm implements NormLoops {
  private final ScalarLoops loops;

  ScalarNorm(ScalarLoops loops) {
    this.loops = loops;
  }

  @Override
  public int lanes() {
    return 1;
  }

  /** A row, at an element of the tensor. */
  private interface Row {
    void run(Blocks block, long at, int slopes);
  }

  private static void forRows(Strip s, Row row) {
    Blocks block = Blocks.own();
    for (int r = 0; r < s.rows(); r++) {
      row.run(block, s.at() + r * s.stride(), s.slopesAt() + r * s.columns());
    }
  }

  @Override
  public void differences(DType type, MemorySegment x, Strip s, Columns c) {
    clear(s, c);
    forRows(
        s,
        (block, at, slopes) -> {
          loops.load(type, x, at, block.a, 0, s.columns());
          for (int i = 0; i < s.columns(); i++) {
            float d = block.a[i] - c.base[s.column() + i];
            c.first[s.column() + i] += d;
            c.second[s.column() + i] += d * d;
          }
        });
  }

  private static void clear(Strip s, Columns c) {
    Arrays.fill(c.first, s.column(), s.column() + s.columns(), 0);
    Arrays.fill(c.second, s.column(), s.column() + s.columns(), 0);
  }

  /** a = x - mean, b = v. */
  private void values(Blocks block, DType type, MemorySegment x, long at, Strip s, Columns c) {
    loops.load(type, x, at, block.a, 0, s.columns());
    for (int i = 0; i < s.columns(); i++) {
      int own = s.column() + i;
      block.a[i] -= c.mean[own];
      block.b[i] = block.a[i] * c.factor[own] + c.offset[own];
    }
  }

  @Override
  public void apply(
      DType type, MemorySegment x, Strip s, Columns c, boolean silu, MemorySegment y) {
    int n = s.columns();
    forRows(
        s,
        (block, at, slopes) -> {
          values(block, type, x, at, s, c);
          if (silu) {
            System.arraycopy(block.b, 0, block.c, 0, n);
            loops.sigmoid(block.c, n);
            for (int i = 0; i < n; i++) {
              block.b[i] *= block.c[i];
            }
          }
          loops.store(type, block.b, 0, y, at, n);
        });
  }

  @Override
  public void slopes(
      DType type, MemorySegment x, MemorySegment dy, Strip s, Columns c, boolean silu) {
    int n = s.columns();
    clear(s, c);
    forRows(
        s,
        (block, at, slopes) -> {
          values(block, type, x, at, s, c);
          loops.load(type, dy, at, c.slopes, slopes, n);
          if (silu) {
            System.arraycopy(block.b, 0, block.c, 0, n);
            loops.sigmoid(block.c, n);
            for (int i = 0; i < n; i++) {
              float g = block.c[i];
              c.slopes[slopes + i] *= g * (1 + block.b[i] * (1 - g));
            }
          }
          for (int i = 0; i < n; i++) {
            c.first[s.column() + i] += block.a[i] * c.slopes[slopes + i];
            c.second[s.column() + i] += c.slopes[slopes + i];
          }
        });
  }

  @Override
  public void combine(DType type, MemorySegment x, Strip s, Columns c, MemorySegment dx) {
    forRows(
        s,
        (block, at, slopes) -> {
          loops.load(type, x, at, block.a, 0, s.columns());
          for (int i = 0; i < s.columns(); i++) {
            int own = s.column() + i;
            block.a[i] =
                c.slopes[slopes + i] * c.factor[own]
                    - c.base[own]
                    - (block.a[i] - c.mean[own]) * c.along[own];
          }
          loops.store(type, block.a, 0, dx, at, s.columns());
        });
  }
}
