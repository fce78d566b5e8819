package dev.gatun.models.pixelcnn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.CausalProgram;
import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.Graph;
import dev.gatun.engine.GraphReference;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Models;
import dev.gatun.models.Sampler;
import dev.gatun.models.Sampler.Request;
import dev.gatun.models.pixelcnn.Nets.Kind;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

class SamplerTest extends WithDevice {
  private static final int H = 5;
  private static final int W = 3;
  private static final int K = 8;

  /** Both samplers of a net with the same weights. */
  private final class Pair implements AutoCloseable {
    final PixelModel model;
    final Parameters weights;
    final CachedSampler cached;
    final FullSampler full;
    final int size;

    Pair(PixelModel model, DType type) {
      this.model = model;
      weights = Nets.weights(device, model, 11);
      cached = new CachedSampler(device, model, weights, type);
      full = new FullSampler(device, model, weights, type);
      size = model.imageShape().dimensions();
    }

    byte[] draw(int count, long seed) {
      return cached.sample(count, seed, 1, r -> {});
    }

    @Override
    public void close() {
      cached.close();
      full.close();
      weights.close();
    }
  }

  private Pair pair(Kind kind, int colours, int classes) {
    return new Pair(kind.small(H, W, colours, K, classes), DType.F32);
  }

  /**
   * How far two devices may be apart, for each kind of number: twice what rounding led astray in
   * three trials, each op off by all that the contract allows.
   */
  private static double tolerance(Pair pair, byte[] images, DType type) {
    PixelModel model = pair.model;
    int count = 2;
    Graph g = new Graph();
    try (Tensor input =
            Tensor.allocate(
                pair.weights.flat().device(),
                DType.U8,
                count,
                H,
                W,
                model.imageShape().channels());
        Tensor labels = Tensor.allocate(pair.weights.flat().device(), DType.U8, count)) {
      input.write(Arrays.copyOf(images, count * pair.size));
      if (model.classes() > 0) {
        labels.write(Nets.labels(model, count));
      }
      Model.Input in = new Model.Input(g.bind(input), g.bind(labels), type, null);
      Value out = model.parameters(g, name -> g.bind(pair.weights.get(name)), in);
      double[] exact = new GraphReference().evaluate(out);
      Random random = new Random(1);
      double worst = 0;
      for (int trial = 0; trial < 3; trial++) {
        double[] astray = new GraphReference().astray(out, random);
        for (int i = 0; i < exact.length; i++) {
          worst = Math.max(worst, Math.abs(astray[i] - exact[i]));
        }
      }
      return 2 * worst;
    }
  }

  /** The cached network's outputs [N,H,W,P] along given images. */
  private static float[] forced(Pair pair, byte[] images, int count) {
    PixelModel model = pair.model;
    CausalProgram program = pair.cached.program(count);
    int size = program.laneImages();
    int lanes = Math.ceilDiv(count, size);
    assertTrue(lanes <= program.lanes());
    int passes = model.likelihood().passes();
    int all = model.likelihood().parameters();
    int each = all / passes;
    int channels = model.imageShape().channels();
    float[] outputs = new float[count * H * W * all];
    byte[][] labels = null;
    if (model.classes() > 0) {
      labels = new byte[lanes][size];
      for (int n = 0; n < lanes * size; n++) {
        labels[n / size][n % size] = (byte) (n % model.classes());
      }
    }
    program.run(
        lanes,
        labels,
        (lane, row, column, pass, parameters, pixel) -> {
          for (int n = 0; n < size; n++) {
            int image = lane * size + n;
            if (image < count) {
              int at = (image * H + row) * W + column;
              System.arraycopy(parameters, n * each, outputs, at * all + pass * each, each);
              if (pass == passes - 1) {
                System.arraycopy(images, at * channels, pixel, n * channels, channels);
              } else {
                pixel[n * channels + pass] = images[at * channels + pass];
              }
            }
          }
        });
    return outputs;
  }

  private void requireAgreement(Kind kind, int colours, int classes, DType type) {
    int count = 20;
    try (Pair pair = new Pair(kind.small(H, W, colours, K, classes), type)) {
      byte[] images = Nets.images(pair.model, FullSampler.BATCH, 21);
      double tolerance = tolerance(pair, images, type);
      if (type == DType.F32) {
        assertTrue(tolerance < 2e-3, "tolerance " + tolerance);
      }
      float[] cached = forced(pair, images, count);
      // leaves the labels of each class in turn behind
      byte[] byFull = pair.full.sample(FullSampler.BATCH, 5, 1, r -> {});
      float[] full = pair.full.run(images);
      double largest = 0;
      for (int i = 0; i < cached.length; i++) {
        largest = Math.max(largest, Math.abs(cached[i] - full[i]));
      }
      String what = kind + " " + colours + " colours, " + classes + " classes: ";
      System.out.println(what + largest + " apart, of " + tolerance);
      assertTrue(largest <= tolerance, what + largest + " apart, tolerance " + tolerance);
      byte[] byCached = pair.cached.sample(FullSampler.BATCH, 5, 1, r -> {});
      int edges = edges(pair, byCached, 5, tolerance);
      System.out.println(what + edges + " draws at an edge");
      if (type == DType.F32) {
        assertTrue(edges <= 2, what + edges + " draws at an edge");
        if (edges == 0) {
          assertArrayEquals(byFull, byCached);
        }
      }
      int[] seen = new int[K];
      for (byte b : byCached) {
        seen[b]++;
      }
      assertTrue(Arrays.stream(seen).filter(n -> n > 0).count() >= K - 2, "all alike");
    }
  }

  /**
   * Draws each value again with the full network's outputs at what the cached sampler drew before.
   *
   * @return how many values differ, each of which must be at an edge of its distribution
   */
  private static int edges(Pair pair, byte[] images, long seed, double tolerance) {
    Likelihood likelihood = pair.model.likelihood();
    int channels = pair.model.imageShape().channels();
    int passes = likelihood.passes();
    int all = likelihood.parameters();
    float[] outputs = pair.full.run(images);
    Philox philox = new Philox(seed);
    int edges = 0;
    for (int at = 0; at < images.length / channels; at++) {
      int image = at / (H * W);
      long first = (long) (at % (H * W)) * likelihood.uniforms();
      for (int pass = 0; pass < passes; pass++) {
        byte[] pixel = Arrays.copyOfRange(images, at * channels, (at + 1) * channels);
        byte[] drawn = pixel.clone();
        int offset = at * all + pass * (all / passes);
        Likelihood.Uniforms uniforms = k -> philox.uniform(Philox.Stream.SAMPLE, image, first + k);
        likelihood.draw(outputs, offset, pass, 1, uniforms, drawn, 0);
        if (!Arrays.equals(drawn, pixel)) {
          edges++;
          assertTrue(
              mayDiffer(likelihood, outputs, offset, pass, uniforms, pixel, tolerance),
              "image "
                  + image
                  + " pixel "
                  + at % (H * W)
                  + ": "
                  + Arrays.toString(pixel)
                  + " and not "
                  + Arrays.toString(drawn));
        }
      }
    }
    return edges;
  }

  /** Whether outputs that far off explain a pixel: some of the corners of what is possible does. */
  private static boolean mayDiffer(
      Likelihood likelihood,
      float[] outputs,
      int offset,
      int pass,
      Likelihood.Uniforms uniforms,
      byte[] pixel,
      double tolerance) {
    int each = likelihood.parameters() / likelihood.passes();
    Random random = new Random(1);
    for (int trial = 0; trial < 4096; trial++) {
      float[] moved = Arrays.copyOfRange(outputs, offset, offset + each);
      for (int i = 0; i < each; i++) {
        moved[i] += (float) (random.nextBoolean() ? tolerance : -tolerance);
      }
      byte[] drawn = pixel.clone();
      likelihood.draw(moved, 0, pass, 1, uniforms, drawn, 0);
      if (Arrays.equals(drawn, pixel)) {
        return true;
      }
    }
    return false;
  }

  @ParameterizedTest
  @MethodSource("dev.gatun.models.pixelcnn.Nets#variants")
  void bothSamplersAgreeAlongWholeImages(Kind kind, int colours, int classes) {
    requireAgreement(kind, colours, classes, DType.F32);
  }

  @ParameterizedTest
  @EnumSource(Kind.class)
  void bothSamplersAgreeInBf16(Kind kind) {
    Assumptions.assumeTrue(device.refuses(DType.BF16) == null, () -> device.refuses(DType.BF16));
    requireAgreement(kind, 1, 0, DType.BF16);
    requireAgreement(kind, 3, 3, DType.BF16);
  }

  @ParameterizedTest
  @EnumSource(Kind.class)
  void imageKOfASeedIsTheSameWhateverTheCount(Kind kind) {
    try (Pair pair = pair(kind, 3, 3)) {
      int size = pair.size;
      byte[] many = pair.draw(70, 3);
      assertEquals(70 * size, many.length);
      for (int count : new int[] {0, 1, 2, 5, 16, 33, 64, 65}) {
        assertArrayEquals(Arrays.copyOf(many, count * size), pair.draw(count, 3), "of " + count);
      }
      assertFalse(Arrays.equals(Arrays.copyOf(many, size), pair.draw(1, 4)));
      assertFalse(
          Arrays.equals(
              Arrays.copyOfRange(many, 3 * size, 4 * size),
              Arrays.copyOfRange(many, 66 * size, 67 * size)),
          "images 3 and 66 are drawn with the same uniforms");
      // more than a batch of the full sampler
      assertArrayEquals(many, pair.full.sample(70, 3, 1, r -> {}));
    }
  }

  @ParameterizedTest
  @EnumSource(Kind.class)
  void theSameBitsTwiceAndOnTwoDevicesAtOnce(Kind kind) throws Exception {
    byte[] first;
    try (Pair pair = pair(kind, 3, 0)) {
      first = pair.draw(64, 9);
      assertArrayEquals(first, pair.draw(64, 9));
    }
    Callable<byte[]> task =
        () -> {
          PixelModel model = kind.small(H, W, 3, K, 0);
          try (Device own = Devices.open(device.name());
              Parameters weights = Nets.weights(own, model, 11);
              CachedSampler sampler = new CachedSampler(own, model, weights, DType.F32)) {
            return sampler.sample(64, 9, 1, r -> {});
          }
        };
    try (ExecutorService threads = Executors.newFixedThreadPool(2)) {
      for (Future<byte[]> drawn : threads.invokeAll(List.of(task, task))) {
        assertArrayEquals(first, drawn.get());
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Kind.class)
  void givenRowsAreKeptAndTheRestFollowsFromThem(Kind kind) {
    try (Pair pair = pair(kind, 3, 3)) {
      int count = 18;
      int row = W * 3;
      byte[] drawn = pair.draw(count, 4);
      for (int rows : new int[] {0, 2, H}) {
        // what is below the given rows is not looked at
        byte[] given = drawn.clone();
        for (int n = 0; n < count; n++) {
          Arrays.fill(given, n * pair.size + rows * row, (n + 1) * pair.size, (byte) 1);
        }
        Request request = new Request(count, 4, 1, null, given, rows);
        assertArrayEquals(drawn, pair.cached.sample(request, r -> {}), rows + " rows");
        assertArrayEquals(drawn, pair.full.sample(request, r -> {}), rows + " rows");
      }
      byte[] other = Nets.images(pair.model, count, 77);
      byte[] after = pair.cached.sample(new Request(count, 4, 1, null, other, 2), r -> {});
      boolean differs = false;
      for (int n = 0; n < count; n++) {
        int at = n * pair.size;
        int rest = at + 2 * row;
        assertArrayEquals(Arrays.copyOfRange(other, at, rest), Arrays.copyOfRange(after, at, rest));
        differs |= Arrays.mismatch(drawn, rest, at + pair.size, after, rest, at + pair.size) >= 0;
      }
      assertTrue(differs, "the rest does not follow from what is given");
    }
  }

  @ParameterizedTest
  @EnumSource(Kind.class)
  void labelsAreEachInTurnOrTheOneAskedFor(Kind kind) {
    try (Pair pair = pair(kind, 1, 3)) {
      int count = 18;
      byte[] turns = pair.draw(count, 6);
      byte[][] one = new byte[3][];
      for (int label = 0; label < 3; label++) {
        Request request = new Request(count, 6, 1, label, null, 0);
        one[label] = pair.cached.sample(request, r -> {});
        assertArrayEquals(one[label], pair.full.sample(request, r -> {}));
      }
      for (int n = 0; n < count; n++) {
        int at = n * pair.size;
        assertArrayEquals(
            Arrays.copyOfRange(one[n % 3], at, at + pair.size),
            Arrays.copyOfRange(turns, at, at + pair.size),
            "image " + n);
      }
      assertFalse(Arrays.equals(one[0], one[1]) || Arrays.equals(one[1], one[2]));
    }
  }

  private static String refusal(org.junit.jupiter.api.function.Executable executable) {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, executable);
    assertEquals(1, e.getMessage().lines().count(), e.getMessage());
    return e.getMessage();
  }

  @Test
  void whatCannotBeDrawnIsRefusedInOneLine() {
    try (Pair with = pair(Kind.PLUS_PLUS, 1, 3);
        Pair without = pair(Kind.GATED, 1, 0)) {
      for (Sampler sampler : List.of(with.cached, with.full)) {
        for (int label : new int[] {-1, 3}) {
          Request request = new Request(1, 1, 1, label, null, 0);
          String message = refusal(() -> sampler.sample(request, r -> {}));
          assertTrue(message.contains("0 to 2") && message.contains("" + label), message);
        }
        byte[] two = new byte[2 * H * W];
        for (int rows : new int[] {-1, H + 1}) {
          Request request = new Request(2, 1, 1, null, two, rows);
          assertTrue(refusal(() -> sampler.sample(request, r -> {})).contains("0 to " + H));
        }
        Request few = new Request(3, 1, 1, null, two, 1);
        assertTrue(refusal(() -> sampler.sample(few, r -> {})).contains("3 of 5x3x1"));
        Request none = new Request(3, 1, 1, null, null, 1);
        refusal(() -> sampler.sample(none, r -> {}));
      }
      Request request = new Request(1, 1, 1, 0, null, 0);
      String message = refusal(() -> without.cached.sample(request, r -> {}));
      assertTrue(message.contains("without classes"), message);
      message =
          refusal(() ->
              Models.sampler("rows", device, without.model, without.weights, DType.F32).close());
      assertTrue(message.contains("cached or full"), message);
    }
    refusal(() -> new Request(-1, 1, 1));
    for (double t : new double[] {0, -1, Double.NaN, Double.POSITIVE_INFINITY}) {
      assertTrue(refusal(() -> new Request(1, 1, t)).contains("temperature"));
    }
  }

  @ParameterizedTest
  @EnumSource(Kind.class)
  void progressCountsRowsOfAllImages(Kind kind) {
    try (Pair pair = pair(kind, 1, 0)) {
      for (Sampler sampler : List.of(pair.cached, pair.full)) {
        List<Integer> told = new ArrayList<>();
        sampler.sample(70, 1, 1, told::add);
        for (int i = 1; i < told.size(); i++) {
          assertTrue(told.get(i) >= told.get(i - 1), told.toString());
        }
        assertEquals(70 * H, told.getLast(), "rows done at the end, of count * H");
      }
    }
  }

  @ParameterizedTest
  @EnumSource(Kind.class)
  void withoutChanceAllImagesAreAlike(Kind kind) {
    try (Pair pair = pair(kind, 3, 0)) {
      byte[] cold = pair.cached.sample(FullSampler.BATCH, 1, 1e-6, r -> {});
      for (int n = 1; n < FullSampler.BATCH; n++) {
        assertArrayEquals(
            Arrays.copyOf(cold, pair.size),
            Arrays.copyOfRange(cold, n * pair.size, (n + 1) * pair.size));
      }
      assertArrayEquals(cold, pair.full.sample(FullSampler.BATCH, 1, 1e-6, r -> {}));
      assertFalse(Arrays.equals(cold, pair.draw(FullSampler.BATCH, 1)));
      if (kind == Kind.PLUS_PLUS) {
        return;
      }
      float[] logits = pair.full.run(cold);
      for (int v = 0; v < pair.size; v++) {
        for (int k = 0; k < K; k++) {
          assertTrue(
              logits[v * K + k] <= logits[v * K + cold[v]] + 1e-4, "value " + v + " level " + k);
        }
      }
    }
  }

  /** The frequencies of images are their probabilities, within five sigma. */
  @ParameterizedTest
  @EnumSource(Kind.class)
  void imagesFollowTheirDistribution(Kind kind) {
    int count = 1024;
    // two pixels: all there is are K * K images
    PixelModel model = kind.small(1, 2, 1, K, 0);
    byte[] all = new byte[2 * K * K];
    for (int i = 0; i < K * K; i++) {
      all[2 * i] = (byte) (i / K);
      all[2 * i + 1] = (byte) (i % K);
    }
    try (Parameters weights = Nets.weights(device, model, 11);
        CachedSampler sampler = new CachedSampler(device, model, weights, DType.F32)) {
      double[] nats = Nets.nats(device, model, weights, all, null);
      int[] seen = new int[K * K];
      byte[] drawn = sampler.sample(count, 8, 1, r -> {});
      for (int n = 0; n < count; n++) {
        seen[drawn[2 * n] * K + drawn[2 * n + 1]]++;
      }
      for (int i = 0; i < K * K; i++) {
        double p = Math.exp(-nats[i]);
        assertEquals(count * p, seen[i], 5 * Math.sqrt(count * p * (1 - p)) + 1, "image " + i);
      }
    }
  }

  /** Where taps miss the image altogether, or a whole row is known before its first pixel. */
  @Test
  void imagesOfAFewPixelsAreDrawnAlikeToo() {
    for (String name : List.of("pixelcnn", "gated-pixelcnn", "pixelcnn++")) {
      for (int size = 0; size < 18; size++) {
        int height = new int[] {1, 2, 4}[size % 3];
        int width = new int[] {1, 2, 5}[size / 3 % 3];
        Model.ImageShape shape = new Model.ImageShape(height, width, size < 9 ? 1 : 3);
        PixelModel model =
            (PixelModel)
                Models.setup(name, Models.Preset.TINY, shape, DType.F32, 0, Map.of()).model();
        try (Parameters weights = new Parameters(device, model.parameters());
            Sampler cached = new CachedSampler(device, model, weights, DType.F32);
            Sampler full = new FullSampler(device, model, weights, DType.F32)) {
          weights.initialize(7);
          assertArrayEquals(
              full.sample(4, 1, 1, rows -> {}),
              cached.sample(4, 1, 1, rows -> {}),
              name + " " + shape);
        }
      }
    }
  }
}
