package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.CudaTestSupport.assertOneLine;
import static dev.gatun.engine.cuda.CudaTestSupport.openEmulated;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.Buffer;
import dev.gatun.engine.DType;
import dev.gatun.engine.DeviceException;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Op;
import dev.gatun.engine.OutOfMemoryException;
import dev.gatun.engine.Program;
import dev.gatun.engine.ShapeException;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.UnsupportedOpException;
import dev.gatun.engine.Value;
import dev.gatun.engine.contract.Reference;
import dev.gatun.engine.cuda.CudaDevice.Convolution;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.SquaredNorm;
import dev.gatun.engine.op.Taps;
import dev.gatun.kernels.Element;
import dev.gatun.kernels.KernelCall;
import dev.gatun.kernels.NormKernels;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;

/** Memory, launches, replay, faults and lifetimes, on the emulator. */
class CudaDeviceTest {
  private static final GroupNorm NORM = new GroupNorm(2, 1e-5f);
  private static final Conv2d CONV = new Conv2d(Taps.square(3));

  private static float[] ramp(int n, float scale) {
    float[] values = new float[n];
    for (int i = 0; i < n; i++) {
      values[i] = scale * ((i * 37 + 11) % 64 - 31);
    }
    return values;
  }

  private static Tensor tensor(CudaDevice device, float scale, int... dims) {
    Tensor tensor = Tensor.allocate(device, DType.F32, dims);
    return tensor.write(ramp(tensor.elements(), scale));
  }

  @Test
  void memoryIsZeroedAndCounted() {
    try (CudaDevice device = openEmulated()) {
      try (Tensor x = Tensor.allocate(device, DType.F32, 5, 7)) {
        assertEquals(140, device.allocatedBytes());
        assertArrayEquals(new float[35], x.toFloats());
        x.write(ramp(35, 1));
        assertArrayEquals(ramp(35, 1), x.toFloats());
      }
      assertEquals(0, device.allocatedBytes());
    }
  }

  @Test
  void copiesStayInsideTheirBuffer() {
    try (CudaDevice device = openEmulated();
        Buffer buffer = device.allocate(64)) {
      MemorySegment host = MemorySegment.ofArray(new byte[32]);
      device.upload(host, buffer, 32);
      assertThrows(IndexOutOfBoundsException.class, () -> device.upload(host, buffer, 33));
      assertThrows(IndexOutOfBoundsException.class, () -> device.upload(host, buffer, -1));
      assertThrows(IndexOutOfBoundsException.class, () -> device.download(buffer, 33, host));
    }
  }

  @Test
  void aProgramIsReplayedWithWhatItsTensorsHold() {
    try (CudaDevice device = openEmulated();
        Tensor x = tensor(device, 0.1f, 2, 5, 4, 6);
        Tensor w = tensor(device, 0.01f, 9, 6, 8);
        Tensor gamma = tensor(device, 0.1f, 8);
        Tensor beta = tensor(device, 0.05f, 8)) {
      Graph graph = new Graph();
      Value hidden = graph.apply(CONV, graph.bind(x), graph.bind(w));
      Value y = graph.apply(NORM, hidden, graph.bind(gamma), graph.bind(beta));
      try (Program program = graph.compile(device, y)) {
        assertEquals(2, program.launches());
        for (float scale : new float[] {0.1f, -0.3f, 0.02f}) {
          x.write(ramp(x.elements(), scale));
          program.run();
          List<Reference.Result> conv =
              Reference.run(
                  CONV, List.of(x.spec(), w.spec()), List.of(x.toDoubles(), w.toDoubles()));
          double[] expected =
              Reference.run(
                      NORM,
                      List.of(hidden.spec(), gamma.spec(), beta.spec()),
                      List.of(conv.getFirst().value(), gamma.toDoubles(), beta.toDoubles()))
                  .getFirst()
                  .value();
          assertArrayEquals(expected, program.tensor(y).toDoubles(), 1e-4);
        }
      }
    }
  }

  @Test
  void launchesRunByThemselvesToo() {
    try (CudaDevice device = openEmulated();
        Tensor x = tensor(device, 0.1f, 1, 3, 3, 4);
        Tensor gamma = tensor(device, 0.1f, 4);
        Tensor beta = tensor(device, 0.1f, 4)) {
      List<Tensor> first = device.apply(NORM, x, gamma, beta);
      List<Tensor> second = device.apply(NORM, x, gamma, beta);
      assertArrayEquals(first.getFirst().toFloats(), second.getFirst().toFloats());
      first.forEach(Tensor::close);
      second.forEach(Tensor::close);
    }
  }

  @Test
  void whatThereIsNoKernelForIsRefusedInOneLine() {
    record Unknown() implements Op {
      @Override
      public String name() {
        return "unknown";
      }

      @Override
      public List<TensorSpec> check(List<TensorSpec> inputs) {
        return inputs;
      }
    }
    try (CudaDevice device = openEmulated();
        Tensor x = Tensor.allocate(device, DType.F32, 2, 3)) {
      assertFalse(device.supports(new Unknown(), List.of(x.spec())));
      DeviceException e =
          assertThrows(UnsupportedOpException.class, () -> device.apply(new Unknown(), x));
      assertOneLine(e.getMessage());
      assertTrue(e.getMessage().contains("no kernel yet"), e.getMessage());
      TensorSpec many = TensorSpec.of(DType.F32, 65_536, 1, 1, 4);
      TensorSpec affine = TensorSpec.of(DType.F32, 4);
      assertFalse(device.supports(NORM, List.of(many, affine, affine)));
      assertNull(device.refuses(DType.F32));
      assertNull(device.refuses(DType.BF16));
      assertOneLine(device.refuses(DType.U8));
      // the output tensors of the op that was refused are gone
      assertEquals(24, device.allocatedBytes());
      assertThrows(ShapeException.class, () -> device.apply(NORM, x, x, x));
    }
  }

  @Test
  void noRoomSaysHowMuchThereIs() {
    try (CudaDevice device = openEmulated();
        Buffer small = device.allocate(1 << 20)) {
      OutOfMemoryException e =
          assertThrows(OutOfMemoryException.class, () -> device.allocate(1L << 50));
      assertOneLine(e.getMessage());
      assertTrue(e.getMessage().contains("no room for 1024.0 TiB"), e.getMessage());
      assertTrue(e.getMessage().contains("1.0 MiB allocated here"), e.getMessage());
      assertEquals(1 << 20, device.allocatedBytes());
      assertNotNull(small.address());
      device.allocate(64).close();
    }
  }

  /** A launch whose kernel is told of more pixels than its buffers hold. */
  private static CudaLaunch shortLaunch(CudaDevice device, Tensor x, Tensor c, Tensor statistics) {
    device.synchronize(); // the context is this thread's from here on
    KernelCall call =
        new NormKernels.Group(Element.F32, 1, 1 << 20, 4, 2, false)
            .forward(
                x.address(),
                c.address(),
                c.address(),
                statistics.address(),
                statistics.address(),
                0,
                x.address());
    return new KernelsLaunch(
        device,
        "group_norm [" + x.spec() + "]",
        List.of(x.buffer()),
        List.of(call),
        List.of(),
        false);
  }

  @Test
  void aFaultNamesOpKernelBlockAndThreadAndTheProcessLives() {
    for (boolean recorded : new boolean[] {false, true}) {
      CudaDevice device = openEmulated();
      Tensor x = tensor(device, 1, 1, 3, 3, 4);
      Tensor c = tensor(device, 1, 4);
      Tensor statistics = tensor(device, 1, 1, 2);
      CudaLaunch launch = shortLaunch(device, x, c, statistics);
      Launch run = recorded ? device.record(List.of(launch)) : launch;
      CudaFaultException e =
          assertThrows(
              CudaFaultException.class,
              () -> {
                run.run();
                assertFalse(recorded, "a recorded run returns when its work is done");
                x.toFloats();
              });
      String message = e.getMessage();
      assertOneLine(message);
      assertTrue(message.contains("emulated failed"), message);
      assertTrue(message.contains("CUDA_ERROR_ILLEGAL_ADDRESS"), message);
      assertTrue(message.contains("group_norm_f32"), message);
      assertTrue(message.contains("block (") && message.contains("thread ("), message);
      assertTrue(
          recorded
              ? message.contains("a graph of 1 launch")
              : message.contains("group_norm [[1,3,3,4] f32]"),
          message);
      // from now on every use says so, and closing works in any order
      assertThrows(CudaFaultException.class, x::toFloats);
      assertThrows(CudaFaultException.class, () -> device.allocate(64));
      x.close();
      run.close();
      statistics.close();
      device.close();
      c.close();
      assertEquals(0, device.allocatedBytes());

      try (CudaDevice again = openEmulated();
          Tensor y = tensor(again, 1, 3, 4)) {
        assertArrayEquals(ramp(12, 1), y.toFloats());
      }
    }
  }

  @Test
  void emptyTensorsAreRefusedByName() {
    try (CudaDevice device = openEmulated();
        Tensor none = Tensor.allocate(device, DType.F32, 0)) {
      UnsupportedOpException e =
          assertThrows(UnsupportedOpException.class, () -> device.apply(new SquaredNorm(), none));
      assertOneLine(e.getMessage());
      assertTrue(e.getMessage().contains("squared_norm"), e.getMessage());
      assertTrue(e.getMessage().contains("empty tensor"), e.getMessage());
    }
  }

  /** A download of nothing waits, too. */
  @Test
  void aFaultShowsWhereNothingIsCopied() {
    CudaDevice device = openEmulated();
    Tensor x = tensor(device, 1, 1, 3, 3, 4);
    CudaLaunch launch = shortLaunch(device, x, tensor(device, 1, 4), tensor(device, 1, 1, 2));
    launch.run();
    MemorySegment nothing = MemorySegment.ofArray(new byte[0]);
    assertThrows(CudaFaultException.class, () -> device.download(x.buffer(), 0, nothing));
    device.close();
  }

  @Test
  @SuppressWarnings("try") // closed early on purpose
  void aFaultReachesTheOtherDevicesOnTheGpu() {
    try (CudaDevice other = openEmulated();
        Tensor kept = tensor(other, 1, 8)) {
      CudaDevice device = openEmulated();
      Tensor x = tensor(device, 1, 1, 3, 3, 4);
      Tensor c = tensor(device, 1, 4);
      Tensor statistics = tensor(device, 1, 1, 2);
      CudaLaunch launch = shortLaunch(device, x, c, statistics);
      launch.run();
      assertThrows(CudaFaultException.class, device::synchronize);
      launch.close();
      device.close();
      CudaFaultException e = assertThrows(CudaFaultException.class, kept::toFloats);
      assertOneLine(e.getMessage());
      assertTrue(e.getMessage().contains("another device on this GPU"), e.getMessage());
      // a third one starts afresh while the lost one is still held
      try (CudaDevice fresh = openEmulated();
          Tensor y = tensor(fresh, 1, 8)) {
        assertArrayEquals(ramp(8, 1), y.toFloats());
        kept.close();
        assertArrayEquals(ramp(8, 1), y.toFloats());
      }
    }
  }

  @Test
  void aFaultOnTheWayOutIsToldByClose() {
    CudaDevice device = openEmulated();
    Tensor x = tensor(device, 1, 1, 3, 3, 4);
    Tensor c = tensor(device, 1, 4);
    Tensor statistics = tensor(device, 1, 1, 2);
    CudaLaunch launch = shortLaunch(device, x, c, statistics);
    launch.run();
    assertThrows(CudaFaultException.class, device::close);
    device.close();
    launch.close();
    openEmulated().close();
  }

  @Test
  @SuppressWarnings("try") // closed early on purpose
  void twoDevicesSideBySide() {
    try (CudaDevice one = openEmulated();
        CudaDevice two = openEmulated();
        Tensor a = tensor(one, 1, 16);
        Tensor b = tensor(two, 2, 16)) {
      assertArrayEquals(ramp(16, 1), a.toFloats());
      assertArrayEquals(ramp(16, 2), b.toFloats());
      IllegalArgumentException e =
          assertThrows(
              IllegalArgumentException.class,
              () -> two.download(a.buffer(), 0, MemorySegment.ofArray(new float[16])));
      assertOneLine(e.getMessage());
      one.close();
      assertArrayEquals(ramp(16, 2), b.toFloats());
      assertThrows(IllegalStateException.class, a::toFloats);
    }
  }

  @Test
  void aLaunchDoesNotOutliveItsMemory() {
    try (CudaDevice device = openEmulated()) {
      Tensor x = tensor(device, 0.1f, 1, 3, 3, 4);
      Tensor gamma = tensor(device, 0.1f, 4);
      TensorSpec statistics = TensorSpec.of(DType.F32, 1, 2);
      List<Tensor> out =
          List.of(
              Tensor.allocate(device, x.spec()),
              Tensor.allocate(device, statistics),
              Tensor.allocate(device, statistics));
      Launch recorded = device.record(List.of(device.prepare(NORM, List.of(x, gamma, gamma), out)));
      Launch single = device.prepare(NORM, List.of(x, gamma, gamma), out);
      recorded.run();
      single.run();
      x.close();
      assertThrows(IllegalStateException.class, recorded::run);
      assertThrows(IllegalStateException.class, single::run);
      single.close();
      single.close();
      assertThrows(IllegalStateException.class, single::run);
      recorded.close();
      gamma.close();
      out.forEach(Tensor::close);
      assertEquals(0, device.allocatedBytes());
    }
  }

  @Test
  void aCaptureThatFailsLeavesTheDeviceUsable() {
    try (CudaDevice device = openEmulated();
        Tensor x = tensor(device, 0.1f, 1, 3, 3, 4)) {
      Launch bad =
          () -> {
            throw new IllegalStateException("no launch at all");
          };
      assertThrows(IllegalStateException.class, () -> device.record(List.of(bad)));
      assertArrayEquals(ramp(36, 0.1f), x.toFloats());
      try (Launch empty = device.record(List.of())) {
        empty.run();
      }
    }
  }

  @Test
  void cudnnTakesWhatItCanPadAndLeavesTheRest() {
    try (CudaDevice device = openEmulated(Convolution.CUDNN);
        Tensor x = tensor(device, 0.1f, 1, 6, 6, 3);
        Tensor square = tensor(device, 0.1f, 9, 3, 5);
        Tensor causal = tensor(device, 0.1f, 6, 3, 5);
        Tensor y = Tensor.allocate(device, DType.F32, 1, 6, 6, 5)) {
      assertEquals(Convolution.CUDNN, device.convolution());
      long before = device.allocatedBytes();
      try (Launch dense = device.prepare(CONV, List.of(x, square), List.of(y));
          Launch stack =
              device.prepare(
                  new Conv2d(Taps.rectangle(-1, 0, -1, 1)), List.of(x, causal), List.of(y))) {
        assertTrue(dense.toString().endsWith("by cuDNN"), dense.toString());
        assertFalse(stack.toString().endsWith("by cuDNN"), stack.toString());
      }
      assertEquals(before, device.allocatedBytes());
    }
  }

  @Test
  void manyThreadsShareADevice() throws Exception {
    try (CudaDevice device = openEmulated();
        ExecutorService threads = Executors.newFixedThreadPool(6)) {
      List<Callable<Void>> tasks = new ArrayList<>();
      for (int t = 0; t < 6; t++) {
        float scale = 0.01f * (t + 1);
        tasks.add(() -> {
          try (Tensor x = tensor(device, scale, 2, 4, 4, 3);
              Tensor w = tensor(device, 0.1f, 9, 3, 4)) {
            double[] expected =
                Reference.run(
                        CONV, List.of(x.spec(), w.spec()), List.of(x.toDoubles(), w.toDoubles()))
                    .getFirst()
                    .value();
            Graph graph = new Graph();
            Value y = graph.apply(CONV, graph.bind(x), graph.bind(w));
            for (int i = 0; i < 20; i++) {
              try (Program program = graph.compile(device, y)) {
                program.run();
                assertArrayEquals(expected, program.tensor(y).toDoubles(), 1e-3);
              }
            }
          }
          return null;
        });
      }
      for (Future<Void> done : threads.invokeAll(tasks)) {
        done.get();
      }
      assertEquals(0, device.allocatedBytes());
    }
  }

  @Test
  void openingAndClosingLeavesNothingBehind() throws Exception {
    Convolution[] kinds = Convolution.values();
    long before = 0;
    // it holds the context, which else would take everything along
    try (CudaDevice holder = openEmulated()) {
      for (int i = 0; i < 200; i++) {
        if (i == 100) {
          before = residentKib();
        }
        openingFailsHalfWay();
        try (CudaDevice device = openEmulated(kinds[i % kinds.length])) {
          // not closed by its owner: the device must take it along
          device.allocate(4 << 20);
          try (Tensor x = tensor(device, 0.1f, 1, 4, 4, 3);
              Tensor w = tensor(device, 0.1f, 9, 3, 4)) {
            device.apply(CONV, x, w).forEach(Tensor::close);
          }
        }
      }
      long grown = residentKib() - before;
      System.out.println("100 devices opened and closed: " + grown + " KiB more resident");
      assertTrue(grown < 100 * 1024, grown + " KiB more after 100 devices of 4 MiB each");
      assertEquals(0, holder.allocatedBytes());
    }
  }

  /** By then it has its stream, its pool and its page-locked memory. */
  private static void openingFailsHalfWay() {
    System.setProperty("gatun.cuda.limit", "0MiB");
    try {
      assertThrows(OutOfMemoryException.class, CudaTestSupport::openEmulated);
    } finally {
      System.clearProperty("gatun.cuda.limit");
    }
  }

  private static long residentKib() throws Exception {
    System.gc();
    return Files.readAllLines(Path.of("/proc/self/status")).stream()
        .filter(line -> line.startsWith("VmRSS:"))
        .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
        .findFirst()
        .orElseThrow();
  }
}
