package dev.gatun.ffi;

import static dev.gatun.ffi.CudaTestSupport.requireEmulator;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.ffi.cuda.CUlaunchAttributeValue_union;
import dev.gatun.ffi.cuda.CUlaunchAttribute_st;
import dev.gatun.ffi.cuda.CUlaunchConfig_st;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Launches with attributes: what reaches the driver, and what comes of it on the emulator. */
class CudaLaunchTest {
  private static final String KERNEL =
      """
      #include "gatun_emulator.h"
      extern "C" __global__ void add_block(int* x, int by) {
        atomicAdd(x, by + (int)blockIdx.x);
      }
      KERNEL(add_block, 32)
      """;

  @TempDir Path folder;

  private static CudaLaunchConfig config(Arena arena, int gridX) {
    return new CudaLaunchConfig(arena, MemorySegment.ofAddress(0x77), gridX, 2, 3, 32, 4, 5, 640);
  }

  private static MemorySegment attribute(CudaLaunchConfig config, int index) {
    MemorySegment all = config.segment().reinterpret(CUlaunchConfig_st.sizeof());
    return CUlaunchConfig_st.attrs(all)
        .asSlice(index * CUlaunchAttribute_st.sizeof(), CUlaunchAttribute_st.sizeof());
  }

  @Test
  void aConfigurationHoldsWhatItWasGiven() {
    try (Arena arena = Arena.ofConfined()) {
      CudaLaunchConfig config = config(arena, 8);
      MemorySegment s = config.segment().reinterpret(CUlaunchConfig_st.sizeof());
      int[] numbers = s.asSlice(0, 28).toArray(ValueLayout.JAVA_INT);
      assertEquals(
          List.of(8, 2, 3, 32, 4, 5, 640), java.util.Arrays.stream(numbers).boxed().toList());
      assertEquals(0x77, s.get(ValueLayout.JAVA_LONG, 32));
      assertEquals(0, s.get(ValueLayout.JAVA_INT, 48));

      config.cluster(4, 2, 1).cooperative().programmaticStreamSerialization();
      assertEquals(3, s.get(ValueLayout.JAVA_INT, 48));
      int[] cluster = attribute(config, 0).toArray(ValueLayout.JAVA_INT);
      // CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, padding, x, y, z
      assertEquals(List.of(4, 0, 4, 2, 1), java.util.Arrays.stream(cluster, 0, 5).boxed().toList());
      assertEquals(2, CUlaunchAttribute_st.id(attribute(config, 1)));
      assertEquals(
          1,
          CUlaunchAttributeValue_union.cooperative(
              CUlaunchAttribute_st.value(attribute(config, 1))));
      assertEquals(6, CUlaunchAttribute_st.id(attribute(config, 2)));
      assertEquals(1, attribute(config, 2).get(ValueLayout.JAVA_INT, 8));
      assertThrows(IllegalStateException.class, config::cooperative);
    }
  }

  @Test
  void clustersThatCannotBeAreRefused() {
    try (Arena arena = Arena.ofConfined()) {
      CudaLaunchConfig config = config(arena, 9);
      IllegalArgumentException part =
          assertThrows(IllegalArgumentException.class, () -> config.cluster(2, 1, 1));
      assertEquals("cluster (2,1,1) does not divide grid (9,2,3)", part.getMessage());
      assertThrows(IllegalArgumentException.class, () -> config.cluster(9, 2, 1));
      assertThrows(IllegalArgumentException.class, () -> config.cluster(0, 1, 1));
      config.cluster(3, 2, 1);
    }
  }

  @Test
  void theEmulatorRunsIt() throws Exception {
    requireEmulator();
    CCompiler.require();
    Path image =
        CCompiler.library(
            folder,
            "add_block.so",
            KERNEL,
            "-x",
            "c++",
            "-std=c++17",
            "-DGATUN_EMULATED",
            "-Wno-unknown-pragmas",
            "-I",
            Path.of("emulator/include").toAbsolutePath().toString());
    CudaLibrary library = CudaLibrary.open(CudaLibrary.Kind.EMULATED);
    try (CudaContext context = CudaContext.retain(library, 0);
        CudaStream stream = context.createStream();
        CudaPool pool = context.createPool();
        CudaStaging staging = new CudaStaging(stream);
        CudaModule module = context.load(Files.readAllBytes(image));
        Arena arena = Arena.ofConfined()) {
      CudaLaunchConfig plain = new CudaLaunchConfig(arena, stream, 4, 1, 1, 1, 1, 1, 0);
      CudaLaunchConfig cooperative = new CudaLaunchConfig(arena, stream, 2, 1, 1, 1, 1, 1, 0);
      CudaLaunchConfig all = new CudaLaunchConfig(arena, stream, 3, 1, 1, 1, 1, 1, 0);
      CudaLaunchConfig empty = new CudaLaunchConfig(arena, stream, 0, 1, 1, 1, 1, 1, 0);
      CudaFunction function = module.function("add_block");
      long x = pool.allocate(4, stream);
      context.zero(x, 4, stream);
      ByteBuffer pointer = ByteBuffer.allocate(8).order(ByteOrder.nativeOrder()).putLong(x);
      ByteBuffer hundred = ByteBuffer.allocate(4).order(ByteOrder.nativeOrder()).putInt(100);
      CudaParameters parameters =
          new CudaParameters(arena, List.of(pointer.array(), hundred.array()));
      function.launch(stream, 1, 1, 1, 1, 1, 1, 0, parameters);
      function.launchEx(plain, parameters);
      function.launchEx(cooperative.cooperative(), parameters);
      function.launchEx(all.cluster(1, 1, 1).programmaticStreamSerialization(), parameters);
      int[] result = new int[1];
      staging.download(x, MemorySegment.ofArray(result));
      // 10 blocks, and the blocks' numbers: 0 + (0 + 1 + 2 + 3) + (0 + 1) + (0 + 1 + 2)
      assertEquals(10 * 100 + 10, result[0]);
      CudaException e =
          assertThrows(CudaException.class, () -> function.launchEx(empty, parameters));
      assertTrue(
          e.getMessage().startsWith("cuLaunchKernelEx add_block: CUDA_ERROR_"), e.getMessage());
      pool.free(x, stream);
      stream.synchronize();
    }
  }
}
