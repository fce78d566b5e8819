package dev.gatun.ffi;

import static dev.gatun.ffi.CudaTestSupport.requireEmulator;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The driver facade on the emulator. */
class CudaContextTest {
  private CudaContext context;
  private CudaStream stream;

  @BeforeEach
  void open() {
    requireEmulator();
    context = CudaContext.retain(CudaLibrary.open(CudaLibrary.Kind.EMULATED), 0);
    stream = context.createStream();
  }

  @AfterEach
  void close() {
    if (context != null) {
      context.makeCurrent();
      stream.close();
      context.close();
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3, 4095, 4096, 4097, (1 << 22) - 1, 1 << 22, (1 << 22) + 1, 9_000_001})
  void memoryComesBackAsItWent(int sizeBytes) {
    byte[] sent = new byte[sizeBytes];
    new Random(sizeBytes).nextBytes(sent);
    byte[] heap = new byte[sizeBytes];
    long address = context.allocate(sizeBytes);
    try (Arena arena = Arena.ofConfined()) {
      context.upload(MemorySegment.ofArray(sent), address, stream);
      context.download(address, MemorySegment.ofArray(heap), stream);
      assertArrayEquals(sent, heap);

      MemorySegment direct = arena.allocate(sizeBytes);
      context.zero(address, sizeBytes, stream);
      context.download(address, direct, stream);
      assertArrayEquals(
          new byte[sizeBytes], direct.toArray(java.lang.foreign.ValueLayout.JAVA_BYTE));

      direct.copyFrom(MemorySegment.ofArray(sent));
      context.upload(direct, address, stream);
      context.download(address, MemorySegment.ofArray(heap), stream);
      assertArrayEquals(sent, heap);
    } finally {
      context.free(address);
    }
  }

  @Test
  void noRoomIsToldApart() {
    CudaException e = assertThrows(CudaException.class, () -> context.allocate(Long.MAX_VALUE / 2));
    assertTrue(e.isOutOfMemory(), e.getMessage());
    assertFalse(e.isFatal());
    assertEquals("cuMemAlloc", e.call());
    assertTrue(e.getMessage().contains("CUDA_ERROR_OUT_OF_MEMORY"), e.getMessage());
    assertTrue(e.text().contains("out of memory"), e.text());
    long[] memory = context.memory();
    assertTrue(memory[0] > 0 && memory[0] <= memory[1]);
  }

  @Test
  void badCallsAreNamed() {
    CudaException free = assertThrows(CudaException.class, () -> context.free(0x1234));
    assertEquals("cuMemFree", free.call());
    assertFalse(free.isFatal());
    CudaException load = assertThrows(CudaException.class, () -> context.load(new byte[64]));
    assertTrue(load.getMessage().startsWith("cuModuleLoadData: CUDA_ERROR_"), load.getMessage());
  }

  @Test
  void theContextIsSharedAndOutlivesItsFirstHolder() {
    CudaContext second = CudaContext.retain(context.library(), 0);
    long address = context.allocate(64);
    second.makeCurrent();
    second.free(address);
    second.close();
    second.close();
    context.makeCurrent();
    context.free(context.allocate(64));
    assertNull(context.failure());
  }

  @Test
  void aFailureReachesAllHoldersAndEndsWithThem() {
    CudaContext second = CudaContext.retain(context.library(), 0);
    context.fail(CudaException.ofStatus("test", 700));
    assertNotNull(second.failure());
    CudaContext fresh = CudaContext.retain(context.library(), 0);
    assertNull(fresh.failure());
    fresh.free(fresh.allocate(64));
    second.close();
    context.close();
    context = fresh;
    context.makeCurrent();
    stream = context.createStream();
  }

  @Test
  void anEmptyCaptureIsAGraph() {
    stream.beginCapture();
    try (CudaGraph graph = stream.endCapture()) {
      graph.launch(stream);
      graph.launch(stream);
      stream.synchronize();
    }
  }

  @Test
  void anAbandonedCaptureLeavesTheStreamUsable() {
    stream.beginCapture();
    stream.abandonCapture();
    stream.synchronize();
  }

  @Test
  void aMissingImageIsToldApart() {
    // a fatbin's magic number: there is no code for the emulator in it
    byte[] fatbin = {0x50, (byte) 0xed, 0x55, (byte) 0xba, 1, 0, 16, 0};
    CudaException e = assertThrows(CudaException.class, () -> context.load(fatbin));
    assertEquals("CUDA_ERROR_NO_BINARY_FOR_GPU", e.name());
    assertTrue(e.isMissingImage());
    assertFalse(e.isFatal() || e.isOutOfMemory());
    for (int status : new int[] {209, 218, 221, 222, 223}) {
      assertTrue(CudaException.ofStatus("cuModuleLoadData", status).isMissingImage());
    }
    for (int status : new int[] {1, 2, 200, 201, 700, 719}) {
      assertFalse(CudaException.ofStatus("cuModuleLoadData", status).isMissingImage());
    }
  }

  @Test
  void errorsKeepTheirNumberWhereNobodyKnowsTheirName() {
    CudaException e = CudaException.ofStatus("cuCall", 12_345);
    assertTrue(e.getMessage().contains("12345"), e.getMessage());
    String newer = jcuda.driver.CUresult.stringFor(12_345);
    assertEquals("CUDA error 12345", CudaException.ofName("cuCall", newer).name());
    assertTrue(CudaException.ofName("cuCall", "CUDA_ERROR_ILLEGAL_ADDRESS").isFatal());
    CudaException dnn =
        assertThrows(
            CudaException.class,
            () -> {
              context.library().openDnn();
              CudaException.checkDnn(
                  "cudnnDestroy",
                  () -> jcuda.jcudnn.JCudnn.cudnnDestroy(new jcuda.jcudnn.cudnnHandle()));
            });
    assertEquals("CUDNN_STATUS_BAD_PARAM", dnn.name());
  }
}
