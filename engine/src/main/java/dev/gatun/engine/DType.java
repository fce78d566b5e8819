package dev.gatun.engine;

/** Element types a tensor can store; arithmetic accumulates in f32 (f64 where noted by the op). */
public enum DType {
  F32(4),
  BF16(2),
  U8(1),
  I32(4),
  F64(8);

  private final int bytes;

  DType(int bytes) {
    this.bytes = bytes;
  }

  /** Size of one element in bytes. */
  public int bytes() {
    return bytes;
  }

  /** The name used in messages and on the command line: {@code f32}, {@code bf16}, ... */
  public String label() {
    return name().toLowerCase(java.util.Locale.ROOT);
  }

  /**
   * The dtype with the given {@link #label}.
   *
   * @throws IllegalArgumentException naming the accepted labels
   */
  public static DType fromLabel(String label) {
    for (DType type : values()) {
      if (type.label().equals(label)) {
        return type;
      }
    }
    throw new IllegalArgumentException(
        "unknown dtype '" + label + "': expected one of f32, bf16, u8, i32, f64");
  }

  /** Rounds to bf16 (nearest, ties to even; a NaN stays a NaN) and returns the 16 bits. */
  public static short toBf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (Float.isNaN(value)) {
      return (short) ((bits >>> 16) | 0x40);
    }
    return (short) ((bits + 0x7FFF + ((bits >>> 16) & 1)) >>> 16);
  }

  /** The exact f32 value of 16 bf16 bits. */
  public static float fromBf16(short bits) {
    return Float.intBitsToFloat(bits << 16);
  }
}
