package dev.gatun.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.contract.Contract;
import dev.gatun.engine.contract.OpCase;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Conv2dBackwardWeights;
import dev.gatun.engine.op.Taps;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Any list of taps at all, through the dense kernels that oneDNN has. */
class CpuConvolutionTest {
  private static CpuDevice device;

  @BeforeAll
  static void open() {
    device = new CpuDevice();
  }

  @AfterAll
  static void close() {
    device.close();
    assertEquals(0, device.allocatedBytes());
  }

  private static void check(
      Taps taps, int strideH, int strideW, DType type, Shape x, int filters, boolean bias) {
    Conv2d op = new Conv2d(taps, strideH, strideW, null);
    int channels = x.dim(3);
    TensorSpec xs = new TensorSpec(x, type);
    TensorSpec w = TensorSpec.of(DType.F32, taps.count(), channels, filters);
    TensorSpec b = TensorSpec.of(DType.F32, filters);
    List<TensorSpec> inputs = bias ? List.of(xs, w, b) : List.of(xs, w);
    TensorSpec y = op.check(inputs).getFirst();
    run(op, inputs, taps.count() * channels + 2, type);
    run(new Conv2dBackwardData(op, x), List.of(w, y), taps.count() * filters + 2, type);
    run(new Conv2dBackwardWeights(op, bias), List.of(xs, y), y.shape().rows() + 2, type);
  }

  private static void run(Op op, List<TensorSpec> inputs, int terms, DType type) {
    List<OpCase.Draw> draws = new ArrayList<>();
    inputs.forEach(spec -> draws.add(new OpCase.Draw.Normal(0, 1)));
    Contract.Outcome outcome =
        Contract.check(device, new OpCase(op, inputs, terms, type, draws, inputs.hashCode()));
    assertNull(outcome.failure());
  }

  /** Whether each tap of a convolution reads at least one pixel of the image. */
  private static boolean meetImage(Taps taps, int strideH, int strideW, Shape x) {
    return taps.list().stream()
        .allMatch(t -> meets(t.dy(), strideH, x.dim(1)) && meets(t.dx(), strideW, x.dim(2)));
  }

  private static boolean meets(int offset, int stride, int size) {
    for (int i = 0; i < size; i += stride) {
      if (i + offset >= 0 && i + offset < size) {
        return true;
      }
    }
    return false;
  }

  private static void random(long seed, boolean beyondTheImage) {
    Random random = new Random(seed);
    for (int i = 0; i < 40; i++) {
      int step = 1 + random.nextInt(2);
      Set<Taps.Tap> list = new LinkedHashSet<>();
      int count = 1 + random.nextInt(7);
      while (list.size() < count) {
        list.add(
            new Taps.Tap(step * (random.nextInt(6) - 3), (1 + i % 2) * (random.nextInt(6) - 2)));
      }
      Taps taps = new Taps(List.copyOf(list));
      boolean bf16 = random.nextBoolean() && device.refuses(DType.BF16) == null;
      int strideH = 1 + random.nextInt(3);
      int strideW = 1 + random.nextInt(3);
      Shape x =
          Shape.of(
              1 + random.nextInt(3),
              1 + random.nextInt(9),
              1 + random.nextInt(9),
              1 + random.nextInt(20));
      int filters = 1 + random.nextInt(20);
      if (meetImage(taps, strideH, strideW, x) != beyondTheImage) {
        DType type = bf16 ? DType.BF16 : DType.F32;
        check(taps, strideH, strideW, type, x, filters, random.nextBoolean());
      }
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3, 4, 5, 6, 7, 8})
  void randomTapsStridesAndSizes(long seed) {
    random(seed, false);
  }

  /**
   * Taps that read nothing but the zeros around the image: on small images every large kernel has
   * them. In a process of its own, since oneDNN has ended the JVM on such shapes.
   */
  @Test
  void tapsThatNeverMeetTheImage(@TempDir Path folder) throws Exception {
    Path log = folder.resolve("log");
    Process process =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                "--add-modules=jdk.incubator.vector",
                "-XX:ErrorFile=" + folder.resolve("crash"),
                "-cp",
                System.getProperty("java.class.path"),
                BeyondTheImage.class.getName())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    if (!process.waitFor(120, TimeUnit.SECONDS)) {
      process.destroyForcibly();
    }
    assertEquals(0, process.waitFor(), () -> read(log));
  }

  private static String read(Path log) {
    try {
      return Files.readString(log);
    } catch (IOException e) {
      return e.toString();
    }
  }

  static final class BeyondTheImage {
    public static void main(String[] arguments) {
      int failed = 0;
      open();
      for (long seed = 1; seed <= 8; seed++) {
        try {
          random(seed, true);
        } catch (AssertionError e) {
          System.out.println(e.getMessage());
          failed++;
        }
      }
      System.exit(failed == 0 ? 0 : 3);
    }
  }

  /** Kernels wider than the image, taps that never meet it, causal ones over even strides. */
  @Test
  void edges() {
    check(Taps.rectangle(-3, 0, -3, 3), 1, 1, DType.F32, Shape.of(1, 2, 2, 2), 4, true);
    check(Taps.rectangle(-9, -9, 0, 0), 1, 1, DType.F32, Shape.of(1, 4, 4, 3), 5, true);
    check(Taps.rectangle(0, 0, 7, 8), 1, 1, DType.F32, Shape.of(2, 3, 5, 2), 3, false);
    check(Taps.rectangle(-1, 0, -1, 0), 2, 2, DType.F32, Shape.of(1, 8, 8, 4), 8, true);
    check(Taps.rectangle(-2, -1, 0, 0), 3, 3, DType.F32, Shape.of(1, 8, 7, 4), 8, true);
    check(Taps.point(), 4, 4, DType.F32, Shape.of(1, 3, 3, 4), 8, true);
    check(Taps.point(), 1, 1, DType.F32, Shape.of(1, 1, 1, 1), 1, true);
    // the same taps in another order have their weights in that order
    check(
        new Taps(List.of(new Taps.Tap(1, 1), new Taps.Tap(-1, 0), new Taps.Tap(0, 0))),
        1,
        1,
        DType.F32,
        Shape.of(2, 5, 6, 3),
        4,
        true);
  }

  /** The order of taps names the weights: a kernel that sorted them would pass a symmetric test. */
  @Test
  void weightsFollowTheOrderOfTheTaps() {
    try (Tensor x = Tensor.allocate(device, DType.F32, 1, 1, 3, 1).write(1f, 10f, 100f);
        Tensor w = Tensor.allocate(device, DType.F32, 3, 1, 1).write(2f, 3f, 5f)) {
      Taps taps = new Taps(List.of(new Taps.Tap(0, 1), new Taps.Tap(0, -1), new Taps.Tap(0, 0)));
      List<Tensor> y = device.apply(new Conv2d(taps), x, w);
      float[] values = y.getFirst().toFloats();
      assertEquals(2 * 10 + 3 * 0 + 5 * 1, values[0]);
      assertEquals(2 * 100 + 3 * 1 + 5 * 10, values[1]);
      assertEquals(2 * 0 + 3 * 10 + 5 * 100, values[2]);
      y.forEach(Tensor::close);
      assertTrue(device.allocatedBytes() > 0);
    }
  }
}
