package dev.gatun.engine.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.engine.DType;
import dev.gatun.engine.Shape;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class NpyTest {
  @TempDir Path folder;

  @ParameterizedTest
  @CsvSource({
    "U8, |u1, '', '()'",
    "F32, <f4, 5, '(5,)'",
    "I32, <i4, 2 3, '(2, 3)'",
    "F64, <f8, 2 0 3, '(2, 0, 3)'"
  })
  void headerThenData(DType dtype, String descr, String dims, String tuple) throws IOException {
    Shape shape =
        Shape.of(
            dims.isEmpty()
                ? new int[0]
                : Arrays.stream(dims.split(" ")).mapToInt(Integer::parseInt).toArray());
    byte[] data = new byte[shape.elements() * dtype.bytes()];
    for (int i = 0; i < data.length; i++) {
      data[i] = (byte) (i + 1);
    }
    Path file = folder.resolve("a.npy");
    Npy.write(file, shape, dtype, MemorySegment.ofArray(data));

    byte[] bytes = Files.readAllBytes(file);
    assertEquals("\u0093NUMPY\u0001\u0000", text(bytes, 0, 8));
    int length = (bytes[8] & 255) | (bytes[9] & 255) << 8;
    assertEquals(0, (10 + length) % 64);
    String header = text(bytes, 10, length);
    assertEquals(
        "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + tuple + ", }",
        header.strip());
    assertEquals('\n', header.charAt(length - 1));
    assertArrayEquals(data, Arrays.copyOfRange(bytes, 10 + length, bytes.length));
  }

  private static String text(byte[] bytes, int offset, int length) {
    return new String(bytes, offset, length, StandardCharsets.ISO_8859_1);
  }

  @Test
  void refusesBf16AndDataOfAnotherSize() {
    Path file = folder.resolve("a.npy");
    MemorySegment data = MemorySegment.ofArray(new byte[6]);
    assertThrows(
        IllegalArgumentException.class, () -> Npy.write(file, Shape.of(3), DType.BF16, data));
    assertThrows(
        IllegalArgumentException.class, () -> Npy.write(file, Shape.of(3), DType.F32, data));
  }
}
