package dev.gatun.engine.io;

import dev.gatun.engine.DType;
import dev.gatun.engine.Shape;
import java.lang.foreign.MemorySegment;

/**
 * One named tensor of a safetensors file.
 *
 * @param name its key; unique in a file, and not {@code __metadata__}
 * @param dtype its element type
 * @param shape its extents; {@code []} is a scalar
 * @param data its elements, little-endian, outermost first; exactly as many bytes as dtype and
 *     shape ask for. In a file read from elsewhere the first byte may be unaligned: access it with
 *     the {@code _UNALIGNED} layouts or copy it.
 */
public record SafetensorsEntry(String name, DType dtype, Shape shape, MemorySegment data) {
  /**
   * Checks that the data are as long as dtype and shape say.
   *
   * @throws IllegalArgumentException if not
   */
  public SafetensorsEntry {
    long bytes = (long) shape.elements() * dtype.bytes();
    if (data.byteSize() != bytes) {
      throw new IllegalArgumentException(
          "tensor "
              + FormatException.quote(name)
              + ": "
              + shape
              + " "
              + dtype.label()
              + " needs "
              + bytes
              + " bytes, the data has "
              + data.byteSize());
    }
  }
}
