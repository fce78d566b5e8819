package dev.gatun.engine.cpu;

import static java.nio.ByteOrder.LITTLE_ENDIAN;

import dev.gatun.engine.DType;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;

/** What transforms on the Vector API have in common. */
abstract class VectorTiles implements TileLoops {
  static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
  static final int L = F.length();

  static FloatVector get(long address) {
    return FloatVector.fromMemorySegment(F, MEMORY, address, LITTLE_ENDIAN);
  }

  static void put(FloatVector v, long address) {
    v.intoMemorySegment(MEMORY, address, LITTLE_ENDIAN);
  }

  /** x by + plus. */
  static FloatVector add(FloatVector x, float by, FloatVector plus) {
    return x.fma(FloatVector.broadcast(F, by), plus);
  }

  @Override
  public void plus(long x, long row, long addend, DType type, long y, int n) {
    if (type == DType.F32) {
      plusF32(x, row, addend, y, n);
    } else {
      plusBf16(x, row, addend, y, n);
    }
  }

  private static void plusF32(long x, long row, long addend, long y, int n) {
    for (long i = 0; i < 4L * n; i += 4 * L) {
      put(get(x + i).add(get(row + i)).add(get(addend + i)), y + i);
    }
  }

  private static void plusBf16(long x, long row, long addend, long y, int n) {
    for (long i = 0; i < 4L * n; i += 4 * L) {
      FloatVector sum = get(x + i).add(get(row + i)).add(get(addend + i));
      VectorLoops.bf16(sum, MEMORY, (y + i / 2) / 2);
    }
  }
}
