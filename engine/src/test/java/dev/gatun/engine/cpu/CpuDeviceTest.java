package dev.gatun.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.DeviceException;
import dev.gatun.engine.Op;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.UnsupportedOpException;
import dev.gatun.engine.contract.Contract;
import dev.gatun.engine.contract.ContractSuite;
import dev.gatun.engine.contract.OpCase;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Elu;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.ImageLikelihood;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.Taps;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

class CpuDeviceTest {
  /** The plain loops and the vector loops, both held to the contract. */
  @Test
  void bothFormsOfTheLoopsKeepTheContract() {
    for (Loops loops : List.of(new ScalarLoops(), new VectorLoops())) {
      try (CpuDevice device = new CpuDevice(loops)) {
        List<OpCase> cases =
            ContractSuite.cases(device).stream()
                .filter(c -> !c.op().name().startsWith("conv_taps"))
                .toList();
        assertTrue(cases.size() > 100);
        for (OpCase opCase : cases) {
          Contract.Outcome outcome = Contract.check(device, opCase);
          assertNull(outcome.failure(), loops.description());
        }
      }
    }
  }

  @Test
  void valuesThatAreNoLevelsAreRefusedAndNansComeThrough() {
    for (Loops loops : List.of(new ScalarLoops(), new VectorLoops())) {
      for (ImageLikelihood.Kind kind : ImageLikelihood.Kind.values()) {
        ImageLikelihood op = new ImageLikelihood(kind, 8, null);
        try (CpuDevice device = new CpuDevice(loops);
            Tensor parameters = Tensor.allocate(device, DType.F32, 2, 1, 40, kind.blocks());
            Tensor images = Tensor.allocate(device, DType.U8, 2, 1, 40, 1)) {
          byte[] pixels = new byte[80];
          for (int i = 0; i < pixels.length; i++) {
            pixels[i] = (byte) (i % 8);
          }
          // each parameter of an inner level, of the first and of the last
          for (int at = 0; at < 8 * kind.blocks(); at++) {
            float[] values = new float[80 * kind.blocks()];
            values[values.length - 1 - at] = Float.NaN;
            images.write(pixels);
            List<Tensor> out = device.apply(op, parameters.write(values), images);
            float[] nats = out.getFirst().toFloats();
            assertTrue(Float.isFinite(nats[0]), kind + " " + loops.description());
            assertTrue(Float.isNaN(nats[1]), kind + " " + at + " " + loops.description());
            out.forEach(Tensor::close);
          }
          pixels[79] = 8;
          images.write(pixels);
          IllegalArgumentException e =
              assertThrows(
                  IllegalArgumentException.class, () -> device.apply(op, parameters, images));
          assertEquals(
              "image_likelihood: value 8 in image 1, but there are 8 levels", e.getMessage());
        }
      }
    }
  }

  @Test
  void theVectorModuleIsInUseHere() {
    assertTrue(Loops.best() instanceof VectorLoops, Loops.best().description());
  }

  /** The same bits whatever other work the device has: nothing depends on who took which block. */
  @Test
  void manyThreadsShareADevice() throws Exception {
    List<OpCase> cases =
        ContractSuite.cases().stream()
            .filter(c -> c.dtype() == DType.F32 && c.seed() % 5 == 0)
            .toList();
    assertTrue(cases.size() > 20);
    ExecutorService pool = Executors.newFixedThreadPool(4);
    try (CpuDevice device = new CpuDevice()) {
      List<Callable<String>> tasks = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        int shift = i * 7;
        tasks.add(() -> {
          for (int k = 0; k < cases.size(); k++) {
            OpCase opCase = cases.get((k + shift) % cases.size());
            Contract.Outcome outcome = Contract.check(device, opCase);
            if (!outcome.passed()) {
              return outcome.failure();
            }
          }
          return null;
        });
      }
      for (Future<String> result : pool.invokeAll(tasks)) {
        assertNull(result.get());
      }
    } finally {
      pool.shutdownNow();
    }
  }

  @Test
  void twoDevicesAreOpenAtOnce() {
    try (CpuDevice a = new CpuDevice();
        CpuDevice b = new CpuDevice();
        Tensor x = Tensor.allocate(a, DType.F32, 3).write(1f, -2f, 3f);
        Tensor y = Tensor.allocate(b, DType.F32, 3).write(-1f, 2f, -3f)) {
      for (int i = 0; i < 20; i++) {
        List<Tensor> fromA = a.apply(new Relu(), x);
        List<Tensor> fromB = b.apply(new Relu(), y);
        assertArrayEquals(new float[] {1, 0, 3}, fromA.getFirst().toFloats());
        assertArrayEquals(new float[] {0, 2, 0}, fromB.getFirst().toFloats());
        fromA.forEach(Tensor::close);
        fromB.forEach(Tensor::close);
      }
      convolve(a);
      convolve(b);
      assertEquals("cpu", b.name());
    }
  }

  /** A convolution large enough for oneDNN to use all its threads. */
  private static void convolve(CpuDevice device) {
    try (Tensor x = Tensor.allocate(device, DType.F32, 4, 28, 28, 16);
        Tensor w = Tensor.allocate(device, DType.F32, 9, 16, 16)) {
      device.apply(new Conv2d(Taps.square(3)), x, w).forEach(Tensor::close);
    }
  }

  @Test
  void openingAndClosingLeavesNoThreadsAndNoMemory() throws Exception {
    for (int i = 0; i < 5; i++) {
      cycle();
    }
    int threads = settledThreads(0);
    long resident = residentKib();
    for (int i = 0; i < 50; i++) {
      cycle();
    }
    int after = settledThreads(threads);
    assertTrue(after <= threads + 2, threads + " threads before, " + after + " after");
    long grown = residentKib() - resident;
    // one convolution's buffers are 600 KiB: a leak of them alone would be 30,000
    assertTrue(grown < 16_000, grown + " KiB more after 50 devices");
  }

  private static void cycle() {
    CpuDevice device = new CpuDevice();
    convolve(device);
    device.close();
    assertEquals(0, device.allocatedBytes());
  }

  /** Threads of this process, native ones too, once those that are ending have ended. */
  private static int settledThreads(int wanted) throws Exception {
    int count = Integer.MAX_VALUE;
    for (int i = 0; i < 50; i++) {
      int now = threads();
      if (now <= wanted || now == count && i > 20) {
        return now;
      }
      count = now;
      TimeUnit.MILLISECONDS.sleep(20);
    }
    return count;
  }

  private static int threads() throws IOException {
    try (Stream<Path> tasks = Files.list(Path.of("/proc/self/task"))) {
      return (int) tasks.count();
    }
  }

  private static long residentKib() throws IOException {
    System.gc();
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith("RssAnon")) {
        return Long.parseLong(line.replaceAll("\\D", ""));
      }
    }
    throw new IOException("no RssAnon in /proc/self/status");
  }

  /**
   * An interrupted caller must not get away while its work still runs: what it would do next is to
   * free the memory that the work uses.
   */
  @Test
  @Timeout(20)
  void anInterruptedCallerWaitsForItsWork() throws Exception {
    try (CpuDevice device = new CpuDevice()) {
      CountDownLatch gate = new CountDownLatch(1);
      AtomicBoolean done = new AtomicBoolean();
      AtomicBoolean doneAtReturn = new AtomicBoolean();
      AtomicBoolean interruptKept = new AtomicBoolean();
      Thread caller =
          new Thread(() -> {
            try {
              device.submit(() -> {
                gate.await();
                done.set(true);
                return null;
              });
            } catch (DeviceException e) {
              // to say so is fine, once the work is over
            }
            doneAtReturn.set(done.get());
            interruptKept.set(Thread.currentThread().isInterrupted());
          });
      caller.start();
      caller.interrupt();
      caller.join(300);
      boolean returnedEarly = !caller.isAlive();
      gate.countDown();
      caller.join();
      assertTrue(interruptKept.get(), "the interrupt is kept for the caller to see");
      assertFalse(returnedEarly, "returned while the device still ran its work");
      assertTrue(doneAtReturn.get());
    }
  }

  @Test
  void closingTwiceIsHarmless() {
    CpuDevice device = new CpuDevice();
    device.close();
    device.close();
  }

  @Test
  void aClosedDeviceSaysSo() {
    CpuDevice device = new CpuDevice();
    Tensor x = Tensor.allocate(device, DType.F32, 3);
    device.close();
    RuntimeException e = assertThrows(RuntimeException.class, () -> x.write(1f, 2f, 3f));
    assertTrue(
        e instanceof IllegalStateException || e instanceof DeviceException,
        "not told that the device is closed: " + e);
    assertTrue(e.getMessage().contains("cpu"), e.getMessage());
    x.close();
  }

  private record Mystery() implements Op {
    @Override
    public String name() {
      return "mystery";
    }

    @Override
    public List<TensorSpec> check(List<TensorSpec> in) {
      return in;
    }
  }

  @Test
  void anUnknownOpIsNamedAndAllocatesNothing() {
    try (CpuDevice device = new CpuDevice();
        Tensor x = Tensor.allocate(device, DType.F32, 2, 3)) {
      assertFalse(device.supports(new Mystery(), List.of(x.spec())));
      UnsupportedOpException e =
          assertThrows(UnsupportedOpException.class, () -> device.apply(new Mystery(), x));
      assertTrue(e.getMessage().contains("mystery [[2,3] f32]"), e.getMessage());
      assertTrue(e.getMessage().contains("on cpu"), e.getMessage());
      assertEquals(24, device.allocatedBytes());
    }
  }

  @Test
  void bf16IsRefusedOrRun() {
    try (CpuDevice device = new CpuDevice();
        Tensor x = Tensor.allocate(device, DType.BF16, 2)) {
      x.write(-1.5f, 2.5f);
      String refusal = device.refuses(DType.BF16);
      if (refusal == null) {
        List<Tensor> y = device.apply(new Relu(), x);
        assertArrayEquals(new float[] {0, 2.5f}, y.getFirst().toFloats());
        y.forEach(Tensor::close);
      } else {
        assertTrue(refusal.contains("AVX-512"), refusal);
        DeviceException e = assertThrows(DeviceException.class, () -> device.apply(new Relu(), x));
        assertTrue(e.getMessage().contains(refusal), e.getMessage());
      }
    }
  }

  /** Values far from each other, equal, huge and tiny: where one-pass formulas lose all digits. */
  @Test
  void groupNormKeepsItsDigitsFarFromZero() {
    try (CpuDevice device = new CpuDevice();
        Tensor x = Tensor.allocate(device, DType.F32, 1, 16, 16, 4);
        Tensor ones = Tensor.allocate(device, DType.F32, 4).write(1f, 1f, 1f, 1f);
        Tensor zeros = Tensor.allocate(device, DType.F32, 4)) {
      float[] values = new float[x.elements()];
      for (int i = 0; i < values.length; i++) {
        values[i] = 10_000 + (i / 4 % 2);
      }
      x.write(values);
      List<Tensor> out = device.apply(new GroupNorm(4, 1e-5f), x, ones, zeros);
      float[] y = out.get(0).toFloats();
      for (int i = 0; i < y.length; i++) {
        assertEquals(i / 4 % 2 == 0 ? -1 : 1, y[i], 1e-4);
      }
      out.forEach(Tensor::close);
    }
  }

  @Test
  void elementsNotANumberComeThroughEveryLoop() {
    float nan = Float.NaN;
    for (Loops loops : List.of(new ScalarLoops(), new VectorLoops())) {
      for (DType type : List.of(DType.F32, DType.BF16)) {
        try (CpuDevice device = new CpuDevice(loops)) {
          if (device.refuses(type) != null) {
            continue;
          }
          for (int at : new int[] {0, 17, 39}) {
            try (Tensor x = Tensor.allocate(device, type, 1, 40);
                Tensor target = Tensor.allocate(device, DType.U8, 1)) {
              float[] values = new float[40];
              values[at] = nan;
              x.write(values);
              String where = loops.description() + " " + type.label() + " at " + at;
              for (Op op :
                  List.of(
                      new Gate(),
                      new Gate(Gate.Kind.LINEAR, 1),
                      new Elu(),
                      new ConcatElu(),
                      new Relu(),
                      new SoftmaxCrossEntropy(null))) {
                List<Tensor> out =
                    op instanceof SoftmaxCrossEntropy
                        ? device.apply(op, x, target)
                        : device.apply(op, x);
                boolean seen = false;
                for (float v : out.getFirst().toFloats()) {
                  seen |= Float.isNaN(v);
                }
                out.forEach(Tensor::close);
                assertTrue(seen, op.name() + " lost a NaN: " + where);
              }
            }
          }
        }
      }
    }
  }

  @Test
  void uploadsAndDownloadsMayBePartsOfABuffer() {
    try (CpuDevice device = new CpuDevice();
        Tensor x = Tensor.allocate(device, DType.F32, 8)) {
      device.upload(MemorySegment.ofArray(new float[] {5, 6}), x.buffer(), 12);
      assertArrayEquals(new float[] {0, 0, 0, 5, 6, 0, 0, 0}, x.toFloats());
      float[] part = new float[3];
      device.download(x.buffer(), 8, MemorySegment.ofArray(part));
      assertArrayEquals(new float[] {0, 5, 6}, part);
    }
  }
}
