package dev.gatun.engine.cpu;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

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
import dev.gatun.ffi.HostMemory;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.BiConsumer;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** 3x3 convolutions with fewer products: where, and that they owe what plain sums owe. */
class WinogradTest {
  private static CpuDevice device;
  private static CpuDevice lane;

  @BeforeAll
  static void open() {
    device = new CpuDevice();
    lane = device.lane(1);
    assumeTrue(device.usesWinograd(), "no Vector API");
  }

  @AfterAll
  static void close() {
    lane.close();
    device.close();
    assertEquals(0, device.allocatedBytes());
  }

  /** Of which size tiles are chosen, and how many images for a block's side: 5x2; or none. */
  private static String tiling(Conv2d op, DType type, Shape x, int filters) {
    return name(Winograd.choose(device, op, type, x, filters));
  }

  private static String tilingForWeights(DType type, Shape x, int filters) {
    Conv2d op = new Conv2d(Taps.square(3));
    return name(Winograd.chooseForWeights(device, op, type, x, filters));
  }

  private static String name(Winograd.Tiling tiling) {
    return tiling == null ? "none" : tiling.loops().tile() + "x" + tiling.stack();
  }

  private static void run(Op op, List<TensorSpec> inputs, int terms) {
    run(op, inputs, terms, DType.F32);
  }

  private static void run(Op op, List<TensorSpec> inputs, int terms, DType type) {
    List<OpCase.Draw> draws = new ArrayList<>();
    inputs.forEach(spec -> draws.add(new OpCase.Draw.Normal(0, 1)));
    for (CpuDevice each : List.of(device, lane)) {
      Contract.Outcome outcome =
          Contract.check(each, new OpCase(op, inputs, terms, type, draws, inputs.hashCode()));
      assertNull(outcome.failure());
      // more would be a sum of other terms
      assertTrue(outcome.share() < 0.2, op + ": " + outcome.share() + " of the tolerance");
    }
  }

  private static void runNarrow(Op op, List<TensorSpec> inputs, int terms) {
    List<OpCase.Draw> draws = new ArrayList<>();
    inputs.forEach(spec -> draws.add(new OpCase.Draw.Normal(0, 1)));
    for (CpuDevice each : List.of(device, lane)) {
      OpCase opCase = new OpCase(op, inputs, terms, DType.BF16, draws, inputs.hashCode());
      assertNull(Contract.check(each, opCase).failure());
    }
  }

  /** Tensors in bf16, and outputs in f32 of them, where a core is slow at bf16's products. */
  @ParameterizedTest
  @CsvSource({
    "4x1, 3, 28, 28, 32, 48",
    "4x1, 17, 12, 16, 64, 80",
    "4x1, 9, 8, 31, 48, 32",
    "4x1, 5, 31, 28, 32, 32",
    "5x1, 9, 14, 15, 32, 48",
    "5x2, 35, 7, 7, 64, 80",
    "4x2, 16, 13, 13, 48, 32"
  })
  void tensorsInBf16AreWidenedByRows(
      String tiling, int n, int h, int w, int channels, int filters) {
    assumeTrue(device.refuses(DType.BF16) == null && device.multipliesBf16Slowly(), "AMX");
    Conv2d op = new Conv2d(Taps.square(3));
    TensorSpec x = TensorSpec.of(DType.BF16, n, h, w, channels);
    TensorSpec weights = TensorSpec.of(DType.F32, 9, channels, filters);
    TensorSpec bias = TensorSpec.of(DType.F32, filters);
    TensorSpec y = TensorSpec.of(DType.BF16, n, h, w, filters);
    TensorSpec ofImages = TensorSpec.of(DType.BF16, n, 1, 1, filters);
    assertEquals(tiling, tiling(op, DType.BF16, x.shape(), filters));
    runNarrow(op, List.of(x, weights, bias), 9 * channels + 2);
    runNarrow(op, List.of(x, weights, bias, y), 9 * channels + 3);
    runNarrow(op, List.of(x, weights, ofImages), 9 * channels + 3);
    Conv2d toF32 = new Conv2d(Taps.square(3), 1, 1, DType.F32);
    TensorSpec yF32 = TensorSpec.of(DType.F32, n, h, w, filters);
    TensorSpec ofImagesF32 = TensorSpec.of(DType.F32, n, 1, 1, filters);
    runNarrow(toF32, List.of(x, weights, bias, yF32), 9 * channels + 3);
    runNarrow(toF32, List.of(x, weights, bias, ofImagesF32), 9 * channels + 3);
    Conv2dBackwardData data = new Conv2dBackwardData(op, x.shape());
    runNarrow(data, List.of(weights, y), 9 * filters + 2);
    runNarrow(data, List.of(weights, y, x), 9 * filters + 3);
    runNarrow(new Conv2dBackwardWeights(op, true), List.of(x, y), n * h * w + 2);
  }

  /** By tiles of 7x7, and others. */
  @ParameterizedTest
  @CsvSource({
    "7x1, 35, 7, 7, 64, 80",
    "7x1, 19, 14, 14, 32, 32",
    "7x1, 3, 28, 28, 32, 48",
    "7x1, 45, 6, 7, 32, 32",
    "4x1, 9, 16, 15, 64, 80",
    "5x1, 51, 5, 10, 32, 32",
    "7x2, 190, 3, 3, 64, 32"
  })
  void weightsGradientsInBf16(String tiling, int n, int h, int w, int channels, int filters) {
    assumeTrue(device.refuses(DType.BF16) == null && device.multipliesBf16Slowly(), "AMX");
    Conv2d op = new Conv2d(Taps.square(3));
    TensorSpec x = TensorSpec.of(DType.BF16, n, h, w, channels);
    TensorSpec y = TensorSpec.of(DType.BF16, n, h, w, filters);
    assertEquals(tiling, tilingForWeights(DType.BF16, x.shape(), filters));
    run(new Conv2dBackwardWeights(op, true), List.of(x, y), n * h * w + 2, DType.BF16);
  }

  /** An image's outputs do not depend on how many there are, but for the order of sums. */
  @Test
  void weightsAreRoundedToBf16HoweverManyImagesThereAre() {
    assumeTrue(device.refuses(DType.BF16) == null && device.multipliesBf16Slowly(), "AMX");
    Conv2d op = new Conv2d(Taps.square(3), 1, 1, DType.F32);
    Random random = new Random(5);
    float[] image = new float[28 * 28 * 32];
    float[] weights = new float[9 * 32 * 32];
    for (float[] values : List.of(image, weights)) {
      for (int i = 0; i < values.length; i++) {
        values[i] = random.nextFloat();
      }
    }
    float[][] results = new float[2][];
    for (int k = 0; k < 2; k++) {
      int n = k == 0 ? 1 : 4;
      float[] images = new float[n * image.length];
      for (int i = 0; i < n; i++) {
        System.arraycopy(image, 0, images, i * image.length, image.length);
      }
      assertEquals(k == 1 ? "4x1" : "none", tiling(op, DType.BF16, Shape.of(n, 28, 28, 32), 32));
      try (Tensor x = Tensor.allocate(device, DType.BF16, n, 28, 28, 32).write(images);
          Tensor w = Tensor.allocate(device, DType.F32, 9, 32, 32).write(weights)) {
        List<Tensor> out = device.apply(op, x, w);
        results[k] = Arrays.copyOf(out.getFirst().toFloats(), image.length);
        out.forEach(Tensor::close);
      }
    }
    // sums of 288 products of up to 1; weights that are not rounded change them by 0.007
    assertArrayEquals(results[0], results[1], 2e-3f);
  }

  /** Whole tiles and parts of them, one to a row and several, chunks that do not come out even. */
  @ParameterizedTest
  @CsvSource({
    "4x1, 3, 28, 28, 32, 48",
    "5x2, 33, 7, 7, 48, 32",
    "5x1, 8, 14, 14, 48, 32",
    "4x1, 129, 3, 4, 32, 32",
    "5x1, 2, 32, 33, 32, 48",
    "5x1, 5, 17, 21, 64, 32",
    "5x1, 64, 5, 6, 32, 32",
    "4x2, 16, 13, 13, 32, 48"
  })
  void theContractHolds(String tiling, int n, int h, int w, int channels, int filters) {
    Conv2d op = new Conv2d(Taps.square(3));
    TensorSpec x = TensorSpec.of(DType.F32, n, h, w, channels);
    TensorSpec weights = TensorSpec.of(DType.F32, 9, channels, filters);
    TensorSpec bias = TensorSpec.of(DType.F32, filters);
    TensorSpec y = TensorSpec.of(DType.F32, n, h, w, filters);
    TensorSpec ofImages = TensorSpec.of(DType.F32, n, 1, 1, filters);
    assertEquals(tiling, tiling(op, DType.F32, x.shape(), filters));
    run(op, List.of(x, weights), 9 * channels + 2);
    run(op, List.of(x, weights, bias), 9 * channels + 2);
    run(op, List.of(x, weights, bias, y), 9 * channels + 3);
    run(op, List.of(x, weights, bias, ofImages), 9 * channels + 3);
    run(op, List.of(x, weights, ofImages), 9 * channels + 3);
    Conv2dBackwardData data = new Conv2dBackwardData(op, x.shape());
    run(data, List.of(weights, y), 9 * filters + 2);
    run(data, List.of(weights, y, x), 9 * filters + 3);
    run(new Conv2dBackwardWeights(op, true), List.of(x, y), n * h * w + 2);
    run(new Conv2dBackwardWeights(op, false), List.of(x, y), n * h * w + 2);
  }

  @Test
  void otherConvolutionsAreLeftAlone() {
    Shape x = Shape.of(8, 28, 28, 64);
    Conv2d square = new Conv2d(Taps.square(3));
    assertEquals("4x1", tiling(square, DType.F32, x, 64));
    boolean slow = device.multipliesBf16Slowly();
    assertEquals(slow ? "4x1" : "none", tiling(square, DType.BF16, x, 64));
    assertEquals("4x1", tilingForWeights(DType.F32, x, 64));
    assertEquals(slow ? "7x1" : "none", tilingForWeights(DType.BF16, x, 64));
    assertEquals(slow ? "4x1" : "none", tilingForWeights(DType.BF16, Shape.of(9, 16, 15, 64), 64));
    assertEquals(slow ? "7x2" : "none", tilingForWeights(DType.BF16, Shape.of(16, 16, 16, 64), 64));
    Shape odd = Shape.of(160, 4, 3, 64);
    assertEquals("4x1", tiling(square, DType.F32, odd, 64));
    assertEquals(
        "none",
        tiling(square, DType.BF16, odd, 64),
        "a quarter of the tiles is empty, and they are small");
    assertEquals(slow ? "4x1" : "none", tilingForWeights(DType.BF16, odd, 64));
    assertEquals("none", tilingForWeights(DType.BF16, odd, 32), "few channels");
    Shape tiny = Shape.of(400, 2, 2, 64);
    assertEquals("none", tiling(square, DType.F32, tiny, 64), "taps outside");
    assertEquals(slow ? "7x2" : "none", tilingForWeights(DType.BF16, Shape.of(200, 3, 3, 64), 64));
    assertEquals("none", tiling(square, DType.F32, x, 40), "whole vectors only");
    assertEquals("none", tiling(square, DType.F32, x, 16), "too few channels");
    assertEquals("none", tiling(square, DType.F32, Shape.of(1, 28, 28, 64), 64), "pixels");
    assertEquals("none", tiling(new Conv2d(Taps.square(3), 2, 2, null), DType.F32, x, 64));
    assertEquals("none", tiling(new Conv2d(Taps.square(5)), DType.F32, x, 64));
    assertEquals("none", tiling(new Conv2d(Taps.masked(3, true)), DType.F32, x, 64));
    assertEquals("none", tiling(new Conv2d(Taps.rectangle(-2, 0, -1, 1)), DType.F32, x, 64));
  }

  /** By name. */
  @ParameterizedTest
  @CsvSource({
    "0, pixels", "0, outputs", "0, plus f32", "0, plus bf16", "0, slopes", "0, weights",
        "0, weightSlopes",
    "1, pixels", "1, outputs", "1, plus f32", "1, plus bf16", "1, slopes", "1, weights",
        "1, weightSlopes",
    "2, pixels", "2, outputs", "2, plus f32", "2, plus bf16", "2, slopes", "2, weights",
        "2, weightSlopes"
  })
  void transformsAreThoseOfTheirPoints(int which, String name) {
    BiConsumer<TileLoops, TileLoops.Streams> transform =
        switch (name) {
          case "pixels" -> TileLoops::pixels;
          case "outputs" -> TileLoops::outputs;
          case "plus f32" ->
              (loops, s) -> loops.plus(s.in[0], s.in[1], s.in[2], DType.F32, s.out[0], s.n);
          case "plus bf16" ->
              (loops, s) -> loops.plus(s.in[0], s.in[1], s.in[2], DType.BF16, s.out[0], s.n);
          case "slopes" -> TileLoops::slopes;
          case "weights" -> TileLoops::weights;
          default -> TileLoops::weightSlopes;
        };
    boolean grouped = List.of("pixels", "outputs", "slopes").contains(name);
    TileLoops[] both = {device.loops().tiles().get(which), ScalarTiles.ALL.get(which)};
    assertEquals(both[1].tile(), both[0].tile());
    int inputs = both[0].patch();
    int outputs = both[0].patch();
    int groups = grouped ? 3 : 1;
    int size = 512;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment in = arena.allocate(4L * inputs * size, 64);
      Random random = new Random(4);
      for (int i = 0; i < inputs * size; i++) {
        in.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) random.nextGaussian());
      }
      float[][] results = new float[2][];
      for (int k = 0; k < 2; k++) {
        MemorySegment out = arena.allocate(4L * outputs * size, 64);
        TileLoops.Streams s = new TileLoops.Streams().of(groups, 32, 48, 64);
        for (int i = 0; i < inputs; i++) {
          s.in[i] = in.address() + 4L * i * size;
        }
        for (int i = 0; i < outputs; i++) {
          s.out[i] = out.address() + 4L * i * size;
        }
        transform.accept(both[k], s);
        results[k] = HostMemory.at(out.address(), out.byteSize()).toArray(ValueLayout.JAVA_FLOAT);
      }
      double most = 0;
      for (float value : results[1]) {
        most = Math.max(most, Math.abs(value));
      }
      assertTrue(most > 1);
      double tolerance = which == 0 ? 4e-6 : 1e-6 * most; // the last outputs have 1.7^4, 2.25^6
      for (int i = 0; i < results[0].length; i++) {
        assertEquals(results[1][i], results[0][i], tolerance, name + " " + i);
      }
    }
  }
}
