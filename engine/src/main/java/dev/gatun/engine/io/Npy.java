package dev.gatun.engine.io;

import dev.gatun.engine.DType;
import dev.gatun.engine.Shape;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/**
 * Writes one tensor as NumPy's .npy file, version 1.0.
 *
 * @see <a href="https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html">the
 *     format</a>
 */
public final class Npy {
  private static final int ALIGNMENT = 64;
  private static final int PREFIX_BYTES = 10;

  private Npy() {}

  /**
   * Writes {@code data} atomically ({@link AtomicFile}).
   *
   * @param dtype U8, F32, I32 or F64; NumPy has no bf16
   * @param data the elements, little-endian, outermost first
   * @throws IllegalArgumentException for another dtype, or data of another size
   */
  public static void write(Path path, Shape shape, DType dtype, MemorySegment data)
      throws IOException {
    String descr =
        switch (dtype) {
          case U8 -> "|u1";
          case F32 -> "<f4";
          case I32 -> "<i4";
          case F64 -> "<f8";
          case BF16 ->
              throw new IllegalArgumentException("npy: NumPy has no bf16; convert to f32 first");
        };
    if (data.byteSize() != (long) shape.elements() * dtype.bytes()) {
      throw new IllegalArgumentException(
          "npy: " + shape + " " + dtype.label() + " does not fit " + data.byteSize() + " bytes");
    }
    byte[] header = header(shape, descr);
    AtomicFile.write(
        path,
        header.length + data.byteSize(),
        channel -> {
          ByteBuffer buffer = ByteBuffer.allocateDirect(Safetensors.COPY_BYTES);
          Safetensors.copy(MemorySegment.ofArray(header), buffer, channel);
          Safetensors.copy(data, buffer, channel);
        });
  }

  private static byte[] header(Shape shape, String descr) {
    StringBuilder dims = new StringBuilder();
    for (int dim : shape.toArray()) {
      dims.append(dim).append(", ");
    }
    if (shape.rank() > 0) {
      dims.setLength(dims.length() - (shape.rank() == 1 ? 1 : 2)); // (5,) but (2, 3)
    }
    StringBuilder text =
        new StringBuilder(
            "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (" + dims + "), }");
    while ((PREFIX_BYTES + text.length() + 1) % ALIGNMENT != 0) {
      text.append(' ');
    }
    byte[] dict = text.append('\n').toString().getBytes(StandardCharsets.US_ASCII);
    return ByteBuffer.allocate(PREFIX_BYTES + dict.length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .put(new byte[] {(byte) 0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0})
        .putShort((short) dict.length)
        .put(dict)
        .array();
  }
}
