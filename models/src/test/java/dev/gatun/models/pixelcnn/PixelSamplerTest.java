package dev.gatun.models.pixelcnn;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.Philox;
import dev.gatun.engine.train.Parameters;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class PixelSamplerTest {
  private static final int H = 9;
  private static final int W = 7;
  private static final int K = 8;
  private static final int LAYERS = 3;
  private static final int FILTERS = 12;

  private final GatedPixelCnn model = Nets.net(H, W, K, LAYERS, 5, FILTERS);
  private Device device;
  private Parameters weights;
  private PixelSampler rows;
  private PixelSampler full;

  @BeforeEach
  void open() {
    device = Devices.open("cpu");
    weights = Nets.weights(device, model, 11);
    rows = PixelSampler.rows(device, model, weights, DType.F32);
    full = PixelSampler.full(device, model, weights, DType.F32);
  }

  @AfterEach
  void close() {
    rows.close();
    full.close();
    weights.close();
    device.close();
    assertEquals(0, device.allocatedBytes());
  }

  /**
   * Both samplers sum in f32 in some order of their own. A layer sums at most n terms, so each has
   * a relative error of n u; the layers' errors add up, and the gates and sums between them have
   * slopes of order one. Four times that covers both samplers and the constants.
   */
  private static double tolerance(float[] logits) {
    int terms = LAYERS * (3 * 5 * FILTERS + 2 * FILTERS + FILTERS) + FILTERS + 10;
    double size = 0;
    for (float v : logits) {
      size = Math.max(size, Math.abs(v));
    }
    return 4 * terms * 0x1p-24 * size;
  }

  @Test
  void teacherForcedLogitsOfBothSamplersAgreeAlongAWholeImage() {
    byte[] images = Nets.images(model, PixelSampler.BATCH, 21);
    full.begin(0, images);
    float[] whole = full.pixelLogits(0, images);
    assertEquals(PixelSampler.BATCH * H * W * K, whole.length);
    double tolerance = tolerance(whole);
    assertTrue(tolerance < 1e-2, "tolerance " + tolerance);
    double largest = 0;
    for (int r = 0; r < H; r++) {
      rows.begin(r, images);
      float[] row = rows.pixelLogits(r, images);
      for (int n = 0; n < PixelSampler.BATCH; n++) {
        for (int i = 0; i < W * K; i++) {
          double error = Math.abs(row[n * W * K + i] - whole[(n * H + r) * W * K + i]);
          largest = Math.max(largest, error);
          assertTrue(error <= tolerance, "image " + n + " row " + r + ": " + error);
        }
      }
    }
    assertTrue(Double.isFinite(largest));
  }

  /** The vertical stack is run when a row begins: only rows above may matter then. */
  @Test
  void whatIsBelowOrOnTheRowDoesNotMatterWhenItBegins() {
    byte[] images = Nets.images(model, PixelSampler.BATCH, 22);
    byte[] above = images.clone();
    for (int n = 0; n < PixelSampler.BATCH; n++) {
      Arrays.fill(above, (n * H + 4) * W, (n + 1) * H * W, (byte) 0);
    }
    rows.begin(4, images);
    float[] expected = rows.pixelLogits(4, images);
    rows.begin(4, above);
    assertArrayEquals(expected, rows.pixelLogits(4, images));
  }

  @Test
  void drawsOfBothSamplersAreTheSameButAtTheEdges() {
    long seed = 5;
    int count = PixelSampler.BATCH;
    byte[] byRows = rows.sample(count, seed, 1, r -> {});
    byte[] byFull = full.sample(count, seed, 1, r -> {});
    Philox philox = new Philox(seed);
    int same = 0;
    for (int n = 0; n < count; n++) {
      int at =
          Arrays.mismatch(
              Arrays.copyOfRange(byRows, n * H * W, (n + 1) * H * W),
              Arrays.copyOfRange(byFull, n * H * W, (n + 1) * H * W));
      if (at < 0) {
        same++;
        continue;
      }
      full.begin(0, byFull);
      float[] logits = full.pixelLogits(0, byFull);
      double u = philox.uniform(Philox.Stream.SAMPLE, n, at);
      double nearest = nearestEdge(logits, (n * H * W + at) * K, u);
      assertTrue(
          nearest <= 2 * tolerance(logits),
          "image " + n + " pixel " + at + " differs " + nearest + " away from an edge");
    }
    assertTrue(same >= count - 2, "only " + same + " images are the same");
    assertTrue(
        java.util.stream.IntStream.range(0, byRows.length).map(i -> byRows[i]).distinct().count()
            >= K - 1,
        "the samples are all alike");
  }

  private static double nearestEdge(float[] logits, int offset, double u) {
    double total = 0;
    for (int k = 0; k < K; k++) {
      total += Math.exp(logits[offset + k]);
    }
    double sum = 0;
    double nearest = 1;
    for (int k = 0; k < K; k++) {
      sum += Math.exp(logits[offset + k]);
      nearest = Math.min(nearest, Math.abs(sum / total - u));
    }
    return nearest;
  }

  @Test
  void imageKOfASeedIsTheSameWhateverTheCount() {
    byte[] many = rows.sample(70, 3, 1, r -> {});
    assertEquals(70 * H * W, many.length);
    for (int count : new int[] {1, 2, 64, 65}) {
      assertArrayEquals(
          Arrays.copyOf(many, count * H * W), rows.sample(count, 3, 1, r -> {}), "of " + count);
    }
    assertArrayEquals(
        Arrays.copyOf(many, 3 * H * W), Arrays.copyOf(rows.sample(3, 3, 1, r -> {}), 3 * H * W));
    assertFalse(Arrays.equals(Arrays.copyOf(many, H * W), rows.sample(1, 4, 1, r -> {})));
    assertFalse(
        Arrays.equals(Arrays.copyOf(many, H * W), Arrays.copyOfRange(many, 64 * H * W, 65 * H * W)),
        "images 0 and 64 are drawn with the same uniforms");
  }

  @Test
  void progressCountsRowsOfAllImages() {
    List<Integer> told = new ArrayList<>();
    rows.sample(70, 1, 1, told::add);
    for (int i = 1; i < told.size(); i++) {
      assertTrue(told.get(i) >= told.get(i - 1), told.toString());
    }
    assertEquals(70 * H, told.getLast(), "rows done at the end, of count * H");
  }

  @Test
  void aLowTemperatureTakesTheLikeliestLevel() {
    byte[] cold = rows.sample(2, 1, 1e-6, r -> {});
    assertArrayEquals(
        Arrays.copyOf(cold, H * W),
        Arrays.copyOfRange(cold, H * W, 2 * H * W),
        "without chance all images are alike");
    byte[] batch = new byte[PixelSampler.BATCH * H * W];
    System.arraycopy(cold, 0, batch, 0, cold.length);
    full.begin(0, batch);
    float[] logits = full.pixelLogits(0, batch);
    for (int p = 0; p < H * W; p++) {
      for (int k = 0; k < K; k++) {
        assertTrue(
            logits[p * K + k] <= logits[p * K + cold[p]] + 1e-4, "pixel " + p + " level " + k);
      }
    }
  }

  /** The frequencies of a pixel's levels are its probabilities, within five sigma. */
  @Test
  void firstPixelsFollowTheirDistribution() {
    int count = 1024;
    byte[] drawn = rows.sample(count, 8, 1, r -> {});
    byte[] blank = new byte[PixelSampler.BATCH * H * W];
    full.begin(0, blank);
    float[] logits = full.pixelLogits(0, blank);
    double total = 0;
    for (int k = 0; k < K; k++) {
      total += Math.exp(logits[k]);
    }
    for (int k = 0; k < K; k++) {
      int seen = 0;
      for (int n = 0; n < count; n++) {
        seen += drawn[n * H * W] == k ? 1 : 0;
      }
      double p = Math.exp(logits[k]) / total;
      assertEquals(count * p, seen, 5 * Math.sqrt(count * p * (1 - p)) + 1, "level " + k);
    }
  }
}
