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
  private CudaPool pool;

  @BeforeEach
  void open() {
    requireEmulator();
    context = CudaContext.retain(CudaLibrary.open(CudaLibrary.Kind.EMULATED), 0);
    stream = context.createStream();
    pool = context.createPool();
  }

  @AfterEach
  void close() {
    if (context != null) {
      context.makeCurrent();
      if (context.failure() == null) {
        stream.synchronize();
        pool.close();
        stream.close();
      }
      context.close();
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 3, 4095, 4096, 4097, (1 << 22) - 1, 1 << 22, (1 << 22) + 1, 9_000_001})
  void memoryComesBackAsItWent(int sizeBytes) {
    byte[] sent = new byte[sizeBytes];
    new Random(sizeBytes).nextBytes(sent);
    byte[] heap = new byte[sizeBytes];
    long address = pool.allocate(sizeBytes, stream);
    try (Arena arena = Arena.ofConfined();
        CudaStaging staging = new CudaStaging(stream)) {
      staging.upload(MemorySegment.ofArray(sent), address);
      staging.download(address, MemorySegment.ofArray(heap));
      assertArrayEquals(sent, heap);

      MemorySegment direct = arena.allocate(sizeBytes);
      context.zero(address, sizeBytes, stream);
      staging.download(address, direct);
      assertArrayEquals(
          new byte[sizeBytes], direct.toArray(java.lang.foreign.ValueLayout.JAVA_BYTE));

      direct.copyFrom(MemorySegment.ofArray(sent));
      staging.upload(direct, address);
      staging.download(address, MemorySegment.ofArray(heap));
      assertArrayEquals(sent, heap);
    } finally {
      pool.free(address, stream);
    }
  }

  @Test
  void aPoolCountsAndGivesBack() {
    CudaPool.Statistics before = pool.statistics();
    assertEquals(0, before.usedBytes());
    long one = pool.allocate(1 << 20, stream);
    long two = pool.allocate(1 << 20, stream);
    CudaPool.Statistics full = pool.statistics();
    assertTrue(full.usedBytes() >= 2 << 20, full.toString());
    assertTrue(full.reservedBytes() >= full.usedBytes(), full.toString());
    pool.free(one, stream);
    pool.free(two, stream);
    stream.synchronize();
    CudaPool.Statistics empty = pool.statistics();
    assertEquals(0, empty.usedBytes());
    assertEquals(full.usedHighBytes(), empty.usedHighBytes());
    assertEquals(full.reservedBytes(), empty.reservedBytes(), "what is freed is kept");
    pool.trim(0);
    assertEquals(0, pool.statistics().reservedBytes());
  }

  /** The host may go on writing as soon as an upload returns. */
  @Test
  void uploadsDoNotLookAtTheHostAgain() {
    int[] values = new int[3_000_000];
    long address = pool.allocate(4L * values.length, stream);
    try (CudaStaging staging = new CudaStaging(stream)) {
      for (int turn = 1; turn <= 3; turn++) {
        java.util.Arrays.fill(values, turn);
        staging.upload(MemorySegment.ofArray(values), address);
        java.util.Arrays.fill(values, -1);
        int[] back = new int[values.length];
        staging.download(address, MemorySegment.ofArray(back));
        for (int v : back) {
          assertEquals(turn, v);
        }
      }
    } finally {
      pool.free(address, stream);
    }
  }

  @Test
  void noRoomIsToldApart() {
    CudaException e =
        assertThrows(CudaException.class, () -> pool.allocate(Long.MAX_VALUE / 2, stream));
    assertTrue(e.isOutOfMemory(), e.getMessage());
    assertFalse(e.isFatal());
    assertEquals("cuMemAllocFromPoolAsync", e.call());
    assertTrue(e.getMessage().contains("CUDA_ERROR_OUT_OF_MEMORY"), e.getMessage());
    assertTrue(e.text().contains("out of memory"), e.text());
    long[] memory = context.memory();
    assertTrue(memory[0] > 0 && memory[0] <= memory[1]);
  }

  @Test
  void badCallsAreNamed() {
    CudaException free = assertThrows(CudaException.class, () -> pool.free(0x1234, stream));
    assertEquals("cuMemFreeAsync", free.call());
    assertFalse(free.isFatal());
    CudaException load = assertThrows(CudaException.class, () -> context.load(new byte[64]));
    assertTrue(load.getMessage().startsWith("cuModuleLoadData: CUDA_ERROR_"), load.getMessage());
  }

  @Test
  void theContextIsSharedAndOutlivesItsFirstHolder() {
    CudaContext second = CudaContext.retain(context.library(), 0);
    long address = pool.allocate(64, stream);
    second.makeCurrent();
    pool.free(address, stream);
    second.close();
    second.close();
    context.makeCurrent();
    pool.free(pool.allocate(64, stream), stream);
    assertNull(context.failure());
  }

  @Test
  void aFailureReachesAllHoldersAndEndsWithThem() {
    CudaContext second = CudaContext.retain(context.library(), 0);
    context.fail(CudaException.ofStatus("test", 700));
    assertNotNull(second.failure());
    CudaContext fresh = CudaContext.retain(context.library(), 0);
    assertNull(fresh.failure());
    try (CudaStream own = fresh.createStream();
        CudaPool memory = fresh.createPool()) {
      memory.free(memory.allocate(64, own), own);
      own.synchronize();
    }
    second.close();
    context.close();
    context = fresh;
    context.makeCurrent();
    stream = context.createStream();
    pool = context.createPool();
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
