package dev.gatun.engine;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.Taps;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
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
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

/** The engine in somebody else's program: their memory, their threads, devices that come and go. */
@Timeout(120)
class LibraryTest {
  private static final Conv2d MASKED = new Conv2d(Taps.masked(3, true));
  private static final int SIDE = 6;
  private static final int CHANNELS = 3;
  private static final int FILTERS = 4;

  /** Values that differ with the seed and whose products and sums are exact in f32. */
  private static float[] values(int n, int seed) {
    float[] values = new float[n];
    for (int i = 0; i < n; i++) {
      values[i] = (i * 37 + seed * 11) % 16 - 8;
    }
    return values;
  }

  /** y[i,j,k] of one image by the definition of the op. */
  private static float[] masked(float[] x, float[] w, float[] bias) {
    float[] y = new float[SIDE * SIDE * FILTERS];
    List<Taps.Tap> taps = MASKED.taps().list();
    for (int i = 0; i < SIDE; i++) {
      for (int j = 0; j < SIDE; j++) {
        for (int k = 0; k < FILTERS; k++) {
          float sum = bias[k];
          for (int t = 0; t < taps.size(); t++) {
            int row = i + taps.get(t).dy();
            int column = j + taps.get(t).dx();
            if (row >= 0 && row < SIDE && column >= 0 && column < SIDE) {
              for (int c = 0; c < CHANNELS; c++) {
                sum +=
                    x[(row * SIDE + column) * CHANNELS + c] * w[(t * CHANNELS + c) * FILTERS + k];
              }
            }
          }
          y[(i * SIDE + j) * FILTERS + k] = sum;
        }
      }
    }
    return y;
  }

  /** A masked convolution in memory of an arena. */
  private static final class Problem {
    final float[] xs;
    final float[] ws;
    final float[] biases;
    final MemorySegment w;
    final MemorySegment y;
    final List<Tensor> inputs;
    final Tensor output;

    Problem(Device device, Arena arena, int seed) {
      xs = values(SIDE * SIDE * CHANNELS, seed);
      ws = values(5 * CHANNELS * FILTERS, seed + 1);
      biases = values(FILTERS, seed + 2);
      w = arena.allocateFrom(ValueLayout.JAVA_FLOAT, ws);
      y = arena.allocate(4L * SIDE * SIDE * FILTERS, 4);
      inputs =
          List.of(
              device.wrap(
                  arena.allocateFrom(ValueLayout.JAVA_FLOAT, xs),
                  DType.F32,
                  1,
                  SIDE,
                  SIDE,
                  CHANNELS),
              device.wrap(w, DType.F32, 5, CHANNELS, FILTERS),
              device.wrap(arena.allocateFrom(ValueLayout.JAVA_FLOAT, biases), DType.F32, FILTERS));
      output = device.wrap(y, DType.F32, 1, SIDE, SIDE, FILTERS);
    }

    float[] expected() {
      return masked(xs, ws, biases);
    }

    float[] actual() {
      return y.toArray(ValueLayout.JAVA_FLOAT);
    }

    void runAndCheck(Device device) {
      y.fill((byte) -1);
      device.run(MASKED, inputs, output());
      assertArrayEquals(expected(), actual());
    }

    List<Tensor> output() {
      return List.of(output);
    }
  }

  private static void assertFails(Class<? extends Throwable> type, Executable what, String... in) {
    Throwable e = assertThrows(type, what);
    assertEquals(1, e.getMessage().lines().count(), e.getMessage());
    for (String part : in) {
      assertTrue(e.getMessage().contains(part), "'" + part + "' is not in: " + e.getMessage());
    }
  }

  @Test
  void aMaskedConvolutionRunsOnTheCallersMemory() {
    try (Device device = Devices.open("cpu");
        Arena arena = Arena.ofConfined()) {
      Problem problem = new Problem(device, arena, 1);
      problem.runAndCheck(device);
      long scratch = device.allocatedBytes();
      problem.runAndCheck(device);
      assertEquals(scratch, device.allocatedBytes(), "a run keeps nothing");
    }
  }

  @Test
  void whatTheCallerWritesBetweenRunsIsSeen() {
    try (Device device = Devices.open("cpu");
        Arena arena = Arena.ofConfined()) {
      Problem problem = new Problem(device, arena, 1);
      try (Launch launch = device.launch(MASKED, problem.inputs, problem.output())) {
        launch.run();
        float[] changed = values(problem.ws.length, 9);
        MemorySegment.copy(changed, 0, problem.w, ValueLayout.JAVA_FLOAT, 0, changed.length);
        launch.run();
        assertArrayEquals(masked(problem.xs, changed, problem.biases), problem.actual());
      }
    }
  }

  @Test
  void memoryThatDoesNotFitIsRefusedInOneLine() {
    try (Device device = Devices.open("cpu");
        Arena arena = Arena.ofConfined()) {
      MemorySegment heap = MemorySegment.ofArray(new float[6]);
      assertFails(
          IllegalArgumentException.class,
          () -> device.wrap(heap, DType.F32, 2, 3),
          "[2,3] f32",
          "Java heap");
      MemorySegment memory = arena.allocate(32, 64);
      assertFails(
          IllegalArgumentException.class,
          () -> device.wrap(memory, DType.F32, 2, 3),
          "[2,3] f32 has 32 bytes, not 24");
      assertFails(
          IllegalArgumentException.class,
          () -> device.wrap(memory.asSlice(2, 24), DType.F32, 2, 3),
          "not aligned to 4 bytes");
      Arena closed = Arena.ofShared();
      MemorySegment gone = closed.allocate(24);
      closed.close();
      assertFails(
          IllegalStateException.class, () -> device.wrap(gone, DType.F32, 2, 3), "closed arena");
    }
  }

  @Test
  void aDeviceWithMemoryOfItsOwnSaysWhatToDo() {
    assumeTrue(
        Devices.list().stream().anyMatch(d -> d.name().equals("emulated") && d.usable()),
        "the emulator was not built");
    try (Device device = Devices.open("emulated");
        Arena arena = Arena.ofConfined()) {
      assertFails(
          DeviceException.class,
          () -> device.wrap(arena.allocate(24, 64), DType.F32, 2, 3),
          "emulated",
          "Tensor.allocate");
    }
  }

  @Test
  void readOnlyMemoryIsAnInputAndNeverAnOutput() {
    try (Device device = Devices.open("cpu");
        Arena arena = Arena.ofConfined()) {
      MemorySegment memory = arena.allocateFrom(ValueLayout.JAVA_FLOAT, -1, 2);
      Tensor x = device.wrap(memory.asReadOnly(), DType.F32, 2);
      Tensor y = Tensor.allocate(device, DType.F32, 2);
      device.run(new Relu(), List.of(x), List.of(y));
      assertArrayEquals(new float[] {0, 2}, y.toFloats());
      assertFails(
          IllegalArgumentException.class,
          () -> device.run(new Relu(), List.of(y), List.of(x)),
          "relu",
          "read-only");
      assertFails(IllegalArgumentException.class, () -> x.write(3f, 4f), "read-only");
      assertFails(
          IllegalArgumentException.class,
          () -> y.read(arena.allocate(8, 4).asReadOnly()),
          "read-only");
      assertArrayEquals(new float[] {-1, 2}, x.toFloats());
      y.close();
    }
  }

  @Test
  void closingATensorLeavesTheCallersMemory() {
    try (Device device = Devices.open("cpu");
        Arena arena = Arena.ofConfined()) {
      MemorySegment memory = arena.allocateFrom(ValueLayout.JAVA_FLOAT, -1, 2);
      Tensor x = device.wrap(memory, DType.F32, 2);
      x.close();
      x.close();
      assertArrayEquals(new float[] {-1, 2}, memory.toArray(ValueLayout.JAVA_FLOAT));
      assertFails(IllegalStateException.class, x::toFloats, "cpu", "after close");
      assertEquals(0, device.allocatedBytes());
    }
  }

  @Test
  void whatComesAfterTheArenaWasClosedThrows() {
    for (boolean shared : new boolean[] {false, true}) {
      try (Device device = Devices.open("cpu")) {
        Arena arena = shared ? Arena.ofShared() : Arena.ofConfined();
        Problem problem = new Problem(device, arena, 1);
        Launch launch = device.launch(MASKED, problem.inputs, problem.output());
        Launch recorded =
            device.record(List.of(device.launch(MASKED, problem.inputs, problem.output())));
        Graph graph = new Graph();
        Program program =
            graph.compile(
                device,
                graph.apply(MASKED, problem.inputs.stream().map(graph::bind).toList()).getFirst());
        program.run();
        recorded.run();
        arena.close();
        for (Executable use :
            List.<Executable>of(
                launch::run,
                recorded::run,
                program::run,
                problem.output::address,
                problem.output::toFloats,
                () -> problem.inputs.get(2).write(new float[FILTERS]),
                () -> device.apply(MASKED, problem.inputs.toArray(Tensor[]::new)))) {
          assertFails(IllegalStateException.class, use, "arena");
        }
        launch.close();
        recorded.close();
        program.close();
      }
    }
  }

  @Test
  void aLaunchIsNotRunOnMemoryThatWasGivenBack() {
    try (Device device = Devices.open("cpu")) {
      Tensor x = Tensor.allocate(device, DType.F32, 2);
      Tensor y = Tensor.allocate(device, DType.F32, 2);
      Launch launch = device.launch(new Relu(), List.of(x), List.of(y));
      launch.run();
      x.close();
      assertFails(IllegalStateException.class, launch::run, "after close");
      launch.close();
      assertFails(IllegalStateException.class, launch::run, "relu", "after close");
      y.close();
    }
  }

  @Test
  void confinedMemoryIsForTheThreadThatOwnsIt() throws Exception {
    try (Device device = Devices.open("cpu");
        Arena arena = Arena.ofConfined()) {
      Problem problem = new Problem(device, arena, 1);
      List<Throwable> seen = new ArrayList<>();
      Thread other =
          new Thread(() -> {
            try {
              device.run(MASKED, problem.inputs, problem.output());
            } catch (Throwable e) {
              seen.add(e);
            }
          });
      other.start();
      other.join();
      assertInstanceOf(WrongThreadException.class, seen.getFirst());
      assertTrue(seen.getFirst().getMessage().contains("use Arena.ofShared()"));
      problem.runAndCheck(device);
      // copies from and to memory of a confined arena are the owner's as well
      MemorySegment there = arena.allocateFrom(ValueLayout.JAVA_FLOAT, 1, 2);
      MemorySegment back = arena.allocate(8, 4);
      try (Tensor x = Tensor.allocate(device, DType.F32, 2).write(there)) {
        x.read(back);
      }
      assertEquals(-1, there.mismatch(back));
    }
  }

  @Test
  void outputsThatDoNotFitAreRefusedInOneLine() {
    try (Device device = Devices.open("cpu");
        Device other = Devices.open("cpu");
        Tensor x = Tensor.allocate(device, DType.F32, 2, 3);
        Tensor y = Tensor.allocate(device, DType.F32, 3, 2);
        Tensor elsewhere = Tensor.allocate(other, DType.F32, 2, 3);
        Tensor image = Tensor.allocate(device, DType.F32, 1, 2, 3, 1)) {
      List<Tensor> in = List.of(x);
      for (boolean once : new boolean[] {true, false}) {
        assertFails(
            ShapeException.class,
            () -> use(device, once, new Relu(), in, List.of(y)),
            "relu: output 0 must be [2,3] f32, is [3,2] f32");
        assertFails(
            ShapeException.class,
            () -> use(device, once, new Relu(), in, List.of()),
            "relu",
            "1 outputs, but 0");
        assertFails(
            IllegalArgumentException.class,
            () -> use(device, once, new Relu(), in, List.of(elsewhere)),
            "relu",
            "not on this device");
        assertFails(
            IllegalArgumentException.class,
            () -> use(device, once, new Relu(), List.of(elsewhere), in),
            "relu",
            "not on this device");
        assertFails(
            IllegalArgumentException.class,
            () -> use(device, once, new Relu(), in, List.of(x.reshape(2, 3))),
            "relu",
            "overlaps");
        assertFails(
            ShapeException.class,
            () -> use(device, once, new Add(), List.of(x, image), List.of(y)),
            "add");
      }
      long before = device.allocatedBytes();
      assertThrows(IllegalArgumentException.class, () -> device.apply(new Relu(), elsewhere));
      assertEquals(before, device.allocatedBytes());
    }
  }

  private static void use(
      Device device, boolean once, Op op, List<Tensor> inputs, List<Tensor> outputs) {
    if (once) {
      device.run(op, inputs, outputs);
    } else {
      device.launch(op, inputs, outputs).close();
    }
  }

  @Test
  void twoDevicesWorkAtOnceAndEndApart() throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(2);
    try (Device lasting = Devices.open("cpu");
        Arena arena = Arena.ofShared()) {
      Device ending = Devices.open("cpu");
      List<Callable<Void>> tasks = new ArrayList<>();
      for (int t = 0; t < 2; t++) {
        Problem first = new Problem(lasting, arena, t);
        Problem second = new Problem(ending, arena, 5 + t);
        tasks.add(() -> {
          for (int i = 0; i < 200; i++) {
            first.runAndCheck(lasting);
            second.runAndCheck(ending);
          }
          return null;
        });
      }
      for (Future<Void> result : pool.invokeAll(tasks)) {
        result.get();
      }
      Problem after = new Problem(lasting, arena, 3);
      try (Launch launch = lasting.launch(MASKED, after.inputs, after.output())) {
        ending.close();
        launch.run();
        assertArrayEquals(after.expected(), after.actual());
      }
      after.runAndCheck(lasting);
    } finally {
      pool.shutdownNow();
    }
  }

  @Test
  void eightThreadsShareADevice() throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(8);
    try (Device device = Devices.open("cpu")) {
      List<Callable<Void>> tasks = new ArrayList<>();
      for (int t = 0; t < 8; t++) {
        int seed = t;
        tasks.add(() -> {
          try (Arena arena = Arena.ofConfined()) {
            Problem problem = new Problem(device, arena, seed);
            for (int i = 0; i < 200; i += 2) {
              problem.runAndCheck(device);
              List<Tensor> y = device.apply(new Relu(), problem.output);
              float[] expected = problem.expected();
              for (int k = 0; k < expected.length; k++) {
                expected[k] = Math.max(0, expected[k]);
              }
              assertArrayEquals(expected, y.getFirst().toFloats());
              y.getFirst().close();
            }
            return null;
          }
        });
      }
      for (Future<Void> result : pool.invokeAll(tasks)) {
        result.get();
      }
    } finally {
      pool.shutdownNow();
    }
  }

  @Test
  void aDeviceClosedUnderItsUsersTellsThem() throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(4);
    try {
      for (int round = 0; round < 20; round++) {
        Device device = Devices.open("cpu");
        CountDownLatch running = new CountDownLatch(4);
        List<Future<Throwable>> ends = new ArrayList<>();
        for (int t = 0; t < 4; t++) {
          int seed = t;
          ends.add(
              pool.submit(() -> {
                try (Arena arena = Arena.ofConfined()) {
                  Problem problem = new Problem(device, arena, seed);
                  try (Launch launch = device.launch(MASKED, problem.inputs, problem.output())) {
                    while (true) {
                      launch.run();
                      problem.runAndCheck(device);
                      running.countDown();
                    }
                  } catch (RuntimeException e) {
                    return e;
                  }
                }
              }));
        }
        assertTrue(running.await(20, TimeUnit.SECONDS));
        device.close();
        for (Future<Throwable> end : ends) {
          Throwable e = end.get(20, TimeUnit.SECONDS);
          assertEquals(DeviceException.class, e.getClass(), e.toString());
          assertTrue(e.getMessage().contains("closed"), e.getMessage());
        }
        assertEquals(0, device.allocatedBytes());
      }
    } finally {
      pool.shutdownNow();
    }
  }

  @Test
  void aLaunchMayBeClosedAfterItsDevice() {
    Device device = Devices.open("cpu");
    Tensor x = Tensor.allocate(device, DType.F32, 1, SIDE, SIDE, CHANNELS);
    Tensor w = Tensor.allocate(device, DType.F32, 5, CHANNELS, FILTERS);
    Tensor y = Tensor.allocate(device, DType.F32, 1, SIDE, SIDE, FILTERS);
    Launch single = device.launch(MASKED, List.of(x, w), List.of(y));
    Launch recorded = device.record(List.of(device.launch(MASKED, List.of(x, w), List.of(y))));
    recorded.run();
    device.close();
    assertEquals(
        x.spec().sizeBytes() + w.spec().sizeBytes() + y.spec().sizeBytes(),
        device.allocatedBytes(),
        "what launches and the device itself held is gone");
    assertFails(DeviceException.class, single::run, "cpu", "closed");
    assertFails(DeviceException.class, recorded::run, "cpu", "closed");
    single.close();
    recorded.close();
    recorded.close();
    single.close();
    x.close();
    w.close();
    y.close();
    assertEquals(0, device.allocatedBytes());
  }

  /** What was made before an op turned out not to fit its memory is given back. */
  @Test
  void aLaunchThatCannotBePreparedLeavesNothing() {
    try (Device device = Devices.open("cpu");
        Tensor x = Tensor.allocate(device, DType.F32, 1, SIDE, SIDE, CHANNELS);
        Tensor w = Tensor.allocate(device, DType.F32, 5, CHANNELS, FILTERS);
        Tensor y = Tensor.allocate(device, DType.F32, 1, SIDE, SIDE, FILTERS)) {
      Tensor bias = Tensor.allocate(device, DType.F32, FILTERS);
      device.run(MASKED, List.of(x, w, bias), List.of(y));
      bias.close();
      long before = device.allocatedBytes();
      assertThrows(
          IllegalStateException.class,
          () -> device.prepare(MASKED, List.of(x, w, bias), List.of(y)));
      assertEquals(before, device.allocatedBytes());
    }
  }

  /**
   * In a JVM of its own whose heap is resident from the start and whose compiler is the small one:
   * what grows by more than a megabyte is ours.
   */
  @Test
  void twoHundredDevicesLeaveNoMemoryAndNoThreads(@TempDir Path folder) throws Exception {
    Path log = folder.resolve("log");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "--add-modules",
                "jdk.incubator.vector",
                "-Xms64m",
                "-Xmx64m",
                "-XX:+AlwaysPreTouch",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-cp",
                System.getProperty("java.class.path"),
                ManyDevices.class.getName())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    assertTrue(process.waitFor(100, TimeUnit.SECONDS));
    String output = Files.readString(log);
    assertEquals(0, process.exitValue(), output);
    System.out.print(output);
    long[] figures =
        output
            .lines()
            .filter(l -> l.startsWith("threads "))
            .flatMapToLong(l -> Stream.of(l.split("\\D+")).skip(1).mapToLong(Long::parseLong))
            .toArray();
    assertEquals(4, figures.length, output);
    assertTrue(figures[2] <= figures[0] + 1, output);
    // the least that could be lost with a launch, its packed weights, is 300 KiB a device
    assertTrue(figures[3] - figures[1] < 6_000, output);
  }

  /** Prints {@code threads N resident N} after 50 devices and after 200. */
  static final class ManyDevices {
    private ManyDevices() {}

    public static void main(String[] args) throws Exception {
      int threads = 0;
      for (int i = 1; i <= 200; i++) {
        openUseAndClose();
        if (i == 50 || i == 200) {
          threads = settledThreads(threads);
          System.out.println("threads " + threads + " resident " + residentKib() + " KiB");
        }
      }
    }
  }

  /** A convolution that uses all threads, on each path that could leave something behind. */
  private static void openUseAndClose() {
    Device device = Devices.open("cpu");
    try (Tensor x = Tensor.allocate(device, DType.F32, 4, 14, 14, 64);
        Tensor w = Tensor.allocate(device, DType.F32, 5, 64, 64);
        Tensor y = Tensor.allocate(device, DType.F32, 4, 14, 14, 64)) {
      Tensor gone = Tensor.allocate(device, DType.F32, 64);
      device.run(MASKED, List.of(x, w), List.of(y));
      gone.close();
      assertThrows(
          IllegalStateException.class,
          () -> device.prepare(MASKED, List.of(x, w, gone), List.of(y)));
      try (Launch late = device.record(List.of(device.launch(MASKED, List.of(x, w), List.of(y))))) {
        late.run();
        device.close();
      }
    }
    assertEquals(0, device.allocatedBytes());
  }

  /** Threads of this process, native ones too, once those that are ending have ended. */
  private static int settledThreads(int wanted) throws Exception {
    int least = Integer.MAX_VALUE;
    for (int i = 0; i < 100 && least > wanted; i++) {
      try (Stream<Path> tasks = Files.list(Path.of("/proc/self/task"))) {
        least = Math.min(least, (int) tasks.count());
      }
      TimeUnit.MILLISECONDS.sleep(10);
    }
    return least;
  }

  private static long residentKib() throws IOException {
    try (Stream<String> lines = Files.lines(Path.of("/proc/self/status"))) {
      String line = lines.filter(l -> l.startsWith("RssAnon")).findFirst().orElseThrow();
      return Long.parseLong(line.replaceAll("\\D", ""));
    }
  }

  @Test
  void lanesRunAtTheSameTimeOnTheirDevicesTensors() {
    assumeTrue(Runtime.getRuntime().availableProcessors() > 1, "one core has one lane");
    try (Device device = Devices.open("cpu")) {
      List<Device> lanes = device.divide(2);
      assertEquals(2, lanes.size());
      assertEquals(List.of(), device.divide(1));
      assertEquals(List.of(), lanes.getFirst().divide(2), "a lane is one already");
      try (Tensor x = Tensor.allocate(device, DType.F32, 3);
          Tensor y = Tensor.allocate(device, DType.F32, 3);
          Tensor z = Tensor.allocate(lanes.get(1), DType.F32, 3)) {
        assertEquals(36, device.allocatedBytes());
        x.write(new float[] {-1, 2, -3});
        Launch first = lanes.get(0).prepare(new Relu(), List.of(x), List.of(y));
        Launch second = lanes.get(1).prepare(new Relu(), List.of(x), List.of(z));
        Together.run(List.of(first::run, second::run));
        assertArrayEquals(new float[] {0, 2, 0}, y.toFloats());
        assertArrayEquals(new float[] {0, 2, 0}, z.toFloats());
        first.close();
        second.close();
      }
      lanes.forEach(Device::close);
      assertEquals(0, device.allocatedBytes());
    }
  }
}
