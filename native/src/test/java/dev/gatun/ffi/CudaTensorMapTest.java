package dev.gatun.ffi;

import static dev.gatun.ffi.CudaTestSupport.assertOneLine;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.ffi.CudaTensorMap.Element;
import dev.gatun.ffi.CudaTensorMap.Swizzle;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What reaches cuTensorMapEncodeTiled, seen by a stub in its place: there is no GPU here. */
class CudaTensorMapTest {
  private static final String STUB =
      """
      #include <stdint.h>
      int cuTensorMapEncodeTiled(uint64_t map[16], int type, uint32_t rank, void* address,
                                 const uint64_t* extents, const uint64_t* strides,
                                 const uint32_t* box, const uint32_t* steps, int interleave,
                                 int swizzle, int promotion, int fill) {
        if ((uintptr_t)map % 128 != 0) return 1;
        map[0] = type;
        map[1] = rank;
        map[2] = (uintptr_t)address;
        for (uint32_t d = 0; d < rank; ++d) {
          map[3 + 3 * d] = extents[d];
          map[4 + 3 * d] = (uint64_t)box[d] << 32 | steps[d];
          if (d + 1 < rank) map[5 + 3 * d] = strides[d];
        }
        map[15] = (uint64_t)interleave << 48 | (uint64_t)swizzle << 32 | promotion << 16 | fill;
        return 0;
      }
      """;

  @TempDir Path folder;

  @Test
  void theDriverGetsWhatWasAskedFor() throws Exception {
    CCompiler.require();
    Path stub = CCompiler.library(folder, "libstub.so", STUB);
    TestProcesses.Outcome outcome =
        TestProcesses.java(Encode.class, List.of(), folder.resolve("log"), stub.toString());
    assertEquals(0, outcome.exitCode(), outcome.output());
    assertEquals(
        "9 3 4096 64 %d 128 32 %d 512 5 %d %d argument at 0 of 128"
            .formatted(64L << 32 | 1, 8L << 32 | 1, 1L << 32 | 1, 3L << 32 | 2 << 16),
        outcome.output().strip());
  }

  @Test
  void aDriverWithoutItIsNamed() throws Exception {
    TestProcesses.Outcome outcome =
        TestProcesses.java(Encode.class, List.of(), folder.resolve("log"));
    assertOneLine(outcome.output().strip());
    assertTrue(outcome.output().contains("has no cuTensorMapEncodeTiled"), outcome.output());
  }

  private static String refusal(
      long address, long[] extents, long[] strides, int[] box, Swizzle swizzle) {
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class,
            () -> CudaTensorMap.tiled(Element.F32, address, extents, strides, box, swizzle));
    assertOneLine(e.getMessage());
    return e.getMessage();
  }

  @Test
  void whatTheDriverWouldRefuseIsNamed() {
    long[] extents = {64, 8};
    long[] strides = {256};
    int[] box = {32, 8};
    assertTrue(refusal(24, extents, strides, box, Swizzle.B128).contains("address 0x18"));
    assertTrue(refusal(0, extents, strides, box, Swizzle.B128).contains("address 0x0"));
    assertTrue(
        refusal(16, extents, new long[] {8}, box, Swizzle.B128).contains("stride of 8 bytes"));
    assertTrue(
        refusal(16, extents, strides, new int[] {64, 8}, Swizzle.B128)
            .contains("box rows of 256 bytes: expected a multiple of 16, at most 128"));
    assertTrue(
        refusal(16, extents, strides, new int[] {3, 8}, Swizzle.NONE).contains("rows of 12 bytes"));
    assertTrue(
        refusal(16, extents, strides, new int[] {32, 257}, Swizzle.B128).contains("box 257"));
    assertTrue(refusal(16, new long[] {64, 0}, strides, box, Swizzle.B128).contains("extent 0"));
    assertTrue(refusal(16, extents, new long[0], box, Swizzle.B128).contains("0 strides"));
    assertTrue(
        refusal(16, new long[6], new long[5], new int[6], Swizzle.B128).contains("6 extents"));
  }

  /** Encodes one, with the functions of the library it is given. */
  static final class Encode {
    public static void main(String[] arguments) {
      if (arguments.length > 0) {
        System.load(arguments[0]);
      }
      try (Arena arena = Arena.ofConfined()) {
        CudaTensorMap map =
            CudaTensorMap.tiled(
                Element.BF16,
                4096,
                new long[] {64, 32, 5},
                new long[] {128, 512},
                new int[] {64, 8, 1},
                Swizzle.B128);
        StringBuilder line = new StringBuilder();
        for (int i : new int[] {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15}) {
          line.append(map.bytes().getAtIndex(ValueLayout.JAVA_LONG, i)).append(' ');
        }
        CudaParameters parameters = new CudaParameters(arena, List.of(map.argument()));
        MemorySegment argument = parameters.pointers().reinterpret(8).get(ValueLayout.ADDRESS, 0);
        line.append("argument at ").append(argument.address() % CudaTensorMap.ALIGNMENT);
        line.append(" of ").append(map.bytes().byteSize());
        boolean same = argument.reinterpret(128).mismatch(map.bytes()) == -1;
        System.out.println(same ? line : "the argument is another map");
      } catch (LibraryException e) {
        System.out.println(e.getMessage());
      }
    }
  }
}
