package dev.gatun.engine.cpu;

import dev.gatun.engine.DType;
import dev.gatun.ffi.HostMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * What {@link CpuGroupNorm} does to the pixels of an image, some columns at a time. A column is all
 * elements that have the same channel, or every second one of them and so on: its mean, its factor
 * and its sums stay in a register from one row to the next.
 */
interface NormLoops {
  /** Elements of one row that are worked on together: a multiple of it is a strip's width. */
  int lanes();

  /**
   * Rows of an image or of a part of it, of so many columns.
   *
   * @param at the first element, in the tensor
   * @param stride elements from a row to the next
   * @param column the first column's place in {@link Columns}
   * @param slopesAt the first element's place in the slopes, which lie row after row
   */
  record Strip(long at, long stride, int rows, int column, int columns, int slopesAt) {}

  /** What belongs to columns; a thread's own. */
  final class Columns {
    private static final ThreadLocal<Columns> OWN = ThreadLocal.withInitial(Columns::new);

    final float[] mean = new float[Blocks.SIZE];
    final float[] rstd = new float[Blocks.SIZE];
    final float[] factor = new float[Blocks.SIZE];
    final float[] offset = new float[Blocks.SIZE];
    final float[] base = new float[Blocks.SIZE];
    final float[] along = new float[Blocks.SIZE];

    /** What a strip adds up to, in two kinds. */
    final float[] first = new float[Blocks.SIZE];

    final float[] second = new float[Blocks.SIZE];

    final double[] firstTotal = new double[Blocks.SIZE];
    final double[] secondTotal = new double[Blocks.SIZE];

    /** Of each element of the part that the thread is at, v's gradient. */
    float[] slopes = {};

    private Columns() {}

    static Columns own() {
      return OWN.get();
    }

    /** Room for so many slopes. */
    void reserve(int size) {
      if (slopes.length < size) {
        slopes = new float[size];
      }
    }
  }

  /** first = the sums of x - base, second = of its squares. */
  void differences(DType type, MemorySegment x, Strip s, Columns c);

  /** y = f(v), v = (x - mean) factor + offset, f(v) = v sigmoid(v) where {@code silu}, else v. */
  void apply(DType type, MemorySegment x, Strip s, Columns c, boolean silu, MemorySegment y);

  /**
   * slopes = dy f'(v); first = the sums of slopes (x - mean), second = of slopes; f and v as in
   * {@link #apply}.
   */
  void slopes(DType type, MemorySegment x, MemorySegment dy, Strip s, Columns c, boolean silu);

  /** dx = slopes factor - base - (x - mean) along. */
  void combine(DType type, MemorySegment x, Strip s, Columns c, MemorySegment dx);

  /** See {@link Loops#warmUp}. */
  default void warmUp() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment memory = HostMemory.at(arena.allocate(4096, 64).address(), 4096);
      Columns columns = Columns.own();
      columns.reserve(1024);
      Strip strip = new Strip(0, 64, 16, 0, 64, 0);
      for (int i = 0; i < 4000; i++) {
        for (DType type : new DType[] {DType.BF16, DType.F32}) {
          differences(type, memory, strip, columns);
          combine(type, memory, strip, columns, memory);
          for (boolean silu : new boolean[] {true, false}) {
            apply(type, memory, strip, columns, silu, memory);
            slopes(type, memory, memory, strip, columns, silu);
          }
        }
      }
    }
  }
}
