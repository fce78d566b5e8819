package dev.gatun.engine;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.math.BigDecimal;
import org.junit.jupiter.api.Test;

class DTypeTest {
  private static boolean isNan(int bf16) {
    return (bf16 & 0x7FFF) > 0x7F80;
  }

  private static void assertRounds(int expected, float value) {
    assertEquals(
        Integer.toHexString(expected),
        Integer.toHexString(DType.toBf16(value) & 0xFFFF),
        () -> value + " " + Float.toHexString(value));
  }

  @Test
  void everyBf16ValueKeepsItsBits() {
    for (int bits = 0; bits < 1 << 16; bits++) {
      float wide = DType.fromBf16((short) bits);
      if (isNan(bits)) {
        assertTrue(Float.isNaN(wide));
        assertTrue(isNan(DType.toBf16(wide) & 0xFFFF));
      } else {
        assertRounds(bits, wide);
      }
    }
  }

  /**
   * Between each pair of neighbours: just below the middle, the middle, just above it. The expected
   * side comes from exact decimals, and at the tie from the even last bit.
   */
  @Test
  void nearestWithTiesToEvenBetweenAllNeighbours() {
    for (int bits = 0; bits < 0x7F7F; bits += 3) {
      float low = DType.fromBf16((short) bits);
      float high = DType.fromBf16((short) (bits + 1));
      BigDecimal middle =
          new BigDecimal(low).add(new BigDecimal(high)).divide(BigDecimal.valueOf(2));
      int lowBits = Float.floatToRawIntBits(low);
      for (int offset : new int[] {1, 0x7FFF, 0x8000, 0x8001, 0xFFFF}) {
        float value = Float.intBitsToFloat(lowBits + offset);
        int side = new BigDecimal(value).compareTo(middle);
        int expected = side < 0 ? bits : side > 0 ? bits + 1 : bits + (bits & 1);
        assertRounds(expected, value);
        assertRounds(expected | 0x8000, -value);
      }
    }
  }

  @Test
  void theEndsOfTheRange() {
    assertRounds(0, 0f);
    assertRounds(0x8000, -0f);
    assertRounds(0x7F80, Float.POSITIVE_INFINITY);
    assertRounds(0xFF80, Float.NEGATIVE_INFINITY);
    // half an ulp above the largest bf16 is the tie to the even infinity
    assertRounds(0x7F80, Float.intBitsToFloat(0x7F7F8000));
    assertRounds(0x7F7F, Float.intBitsToFloat(0x7F7F7FFF));
    assertRounds(0x7F80, Float.MAX_VALUE);
    // subnormals round like everything else
    assertRounds(0, Float.MIN_VALUE);
    assertRounds(0, Float.intBitsToFloat(0x8000));
    assertRounds(1, Float.intBitsToFloat(0x8001));
    assertRounds(1, Float.intBitsToFloat(0x10000));
    assertRounds(0x80, Float.MIN_NORMAL);
  }

  @Test
  void everyKindOfNanStaysOne() {
    for (int bits : new int[] {0x7F800001, 0x7FC00000, 0x7FFFFFFF, 0xFF800001, 0xFFFFFFFF}) {
      float nan = Float.intBitsToFloat(bits);
      assertTrue(isNan(DType.toBf16(nan) & 0xFFFF), Integer.toHexString(bits));
      assertTrue(Float.isNaN(DType.fromBf16(DType.toBf16(nan))));
    }
  }

  @Test
  void labelsNameDtypes() {
    for (DType type : DType.values()) {
      assertEquals(type, DType.fromLabel(type.label()));
    }
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> DType.fromLabel("fp16"));
    assertEquals("unknown dtype 'fp16': expected one of f32, bf16, u8, i32, f64", e.getMessage());
  }

  @Test
  void sizesInBytes() {
    assertEquals(4, DType.F32.bytes());
    assertEquals(2, DType.BF16.bytes());
    assertEquals(1, DType.U8.bytes());
    assertEquals(4, DType.I32.bytes());
    assertEquals(8, DType.F64.bytes());
  }
}
