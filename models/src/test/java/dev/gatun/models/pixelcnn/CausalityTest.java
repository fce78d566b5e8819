package dev.gatun.models.pixelcnn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.WithDevice;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.pixelcnn.Nets.Kind;
import java.util.Arrays;
import java.util.BitSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** What each output of a network depends on: every input value is moved in turn. */
class CausalityTest extends WithDevice {
  /** The same image, with value i changed in image i. */
  private static byte[] moved(PixelModel model, byte[] base) {
    int size = base.length;
    byte[] images = repeated(base, size);
    for (int i = 0; i < size; i++) {
      images[i * size + i] = (byte) ((base[i] + 2) % model.levels());
    }
    return images;
  }

  private static byte[] repeated(byte[] base, int count) {
    byte[] images = new byte[count * base.length];
    for (int i = 0; i < count; i++) {
      System.arraycopy(base, 0, images, i * base.length, base.length);
    }
    return images;
  }

  private static byte[] same(PixelModel model, int count) {
    if (model.classes() == 0) {
      return null;
    }
    byte[] labels = new byte[count];
    Arrays.fill(labels, (byte) 1);
    return labels;
  }

  /**
   * Which outputs move with which input value, for any of several weights: a rectifier that is off
   * hides what the layers before it see.
   *
   * @param groups that the outputs of a pixel are divided into
   * @return for each value the groups [H*W*groups] that moved, in any bit
   */
  private BitSet[] moves(PixelModel model, int groups) {
    int size = model.imageShape().dimensions();
    byte[] base = Nets.images(model, 1, 5);
    byte[] labels = same(model, size);
    BitSet[] moves = new BitSet[size];
    Arrays.setAll(moves, i -> new BitSet());
    for (int seed = 1; seed <= 4; seed++) {
      try (Parameters weights = Nets.weights(device, model, seed)) {
        add(moves, model, groups, weights, base, labels);
      }
    }
    return moves;
  }

  private void add(
      BitSet[] moves,
      PixelModel model,
      int groups,
      Parameters weights,
      byte[] base,
      byte[] labels) {
    int size = base.length;
    float[] a = Nets.parameters(device, model, weights, repeated(base, size), labels);
    float[] b = Nets.parameters(device, model, weights, moved(model, base), labels);
    int each = model.likelihood().parameters() / groups;
    int outputs = a.length / size / each;
    for (int i = 0; i < size; i++) {
      for (int o = 0; o < outputs; o++) {
        int from = (i * outputs + o) * each;
        if (Arrays.mismatch(a, from, from + each, b, from, from + each) >= 0) {
          moves[i].set(o);
        }
      }
    }
  }

  private static Stream<Arguments> sizes() {
    return Nets.variants()
        .flatMap(v ->
            Stream.of(new int[] {5, 6}, new int[] {7, 5}, new int[] {1, 4}, new int[] {4, 1})
                .map(s -> Arguments.of(v.get()[0], v.get()[1], v.get()[2], s[0], s[1])));
  }

  /** Not a bit moves where nothing may; neighbours that came before do move it. */
  @ParameterizedTest
  @MethodSource("sizes")
  void outputsDependOnEarlierPixelsAndOnEarlierColours(
      Kind kind, int colours, int classes, int height, int width) {
    requireCausal(kind.small(height, width, colours, 5, classes));
  }

  @ParameterizedTest
  @CsvSource({"5,6,1,3", "7,5,3,3", "5,6,3,3", "9,7,1,3", "3,3,3,2", "1,1,3,2"})
  void halvedSizesThatDoNotDivideAreCausalToo(int height, int width, int colours, int resolutions) {
    requireCausal(Nets.plusPlus(height, width, colours, 5, 0, resolutions));
  }

  private void requireCausal(PixelModel model) {
    int width = model.imageShape().width();
    int colours = model.imageShape().channels();
    int passes = model.likelihood().passes();
    BitSet[] moves = moves(model, passes);
    for (int i = 0; i < moves.length; i++) {
      int p = i / colours;
      for (int o = 0; o < moves.length / colours * passes; o++) {
        int q = o / passes;
        boolean earlier = p < q || (p == q && i % colours < o % passes);
        String what = "value " + i + " of pixel " + p + " on group " + o + " of pixel " + q;
        if (!earlier) {
          assertFalse(moves[i].get(o), what);
        }
        boolean left = p == q - 1 && q % width > 0;
        boolean above = p == q - width;
        boolean aboveRight = p == q - width + 1 && q % width < width - 1;
        if (left || above || aboveRight || (p == q && earlier)) {
          assertTrue(moves[i].get(o), "no influence of " + what);
        }
      }
    }
  }

  /** Pixels that a stack of masked convolutions sees from (r,c), in plain sets. */
  private static boolean[] maskedField(PixelCnn.Config k, int r, int c) {
    int h = k.height();
    int w = k.width();
    boolean[] seen = new boolean[h * w];
    seen[r * w + c] = true;
    for (int layer = k.blocks(); layer >= 0; layer--) {
      Taps taps = Taps.masked(layer == 0 ? k.firstKernel() : k.kernel(), layer > 0);
      boolean[] next = new boolean[h * w];
      for (int p = 0; p < h * w; p++) {
        for (Taps.Tap tap : taps.list()) {
          int y = p / w + tap.dy();
          int x = p % w + tap.dx();
          if (seen[p] && y >= 0 && x >= 0 && x < w) {
            next[y * w + x] = true;
          }
        }
      }
      seen = next;
    }
    return seen;
  }

  /** However deep, one row up is one step to the right: the rest of that side stays unseen. */
  @ParameterizedTest
  @CsvSource({"2", "6"})
  void plainPixelCnnHasItsBlindSpot(int blocks) {
    PixelCnn model = new PixelCnn(new PixelCnn.Config(5, 9, 1, 5, 0, 12, blocks, 3, 3, 12));
    BitSet[] moves = moves(model, 1);
    int blind = 0;
    for (int q = 0; q < moves.length; q++) {
      boolean[] seen = maskedField(model.config(), q / 9, q % 9);
      for (int p = 0; p < moves.length; p++) {
        assertEquals(seen[p], moves[p].get(q), "pixel " + p + " on " + q);
        blind += p < q && !seen[p] ? 1 : 0;
        if (p / 9 < q / 9 && p % 9 - q % 9 > q / 9 - p / 9) {
          assertFalse(seen[p], "to the upper right of the diagonal");
        }
      }
    }
    assertTrue(blind > 0);
  }

  /**
   * Whether pixel (y,x) is in the receptive field of (r,c): the vertical stack reaches a rectangle
   * above, growing with depth, and from any depth on the horizontal stack carries it to the right.
   */
  private static boolean visible(GatedPixelCnn.Config k, int r, int c, int y, int x) {
    int first = k.firstKernel() / 2;
    int each = k.kernel() / 2;
    if (y == r) {
      return x < c && x >= c - first - (k.layers() - 1) * each;
    }
    for (int layer = 0; layer < k.layers(); layer++) {
      int reach = first + layer * each;
      int carried = (k.layers() - 1 - layer) * each;
      if (y < r && r - y <= reach && x <= c + reach && x >= c - reach - carried) {
        return true;
      }
    }
    return false;
  }

  @ParameterizedTest
  @CsvSource({"7,7,6,7", "7,7,1,3", "6,8,2,3", "8,7,3,5", "1,5,2,3", "5,1,2,3"})
  void gatedPixelCnnSeesItsWholeReach(int height, int width, int layers, int firstKernel) {
    GatedPixelCnn model = Nets.gated(height, width, 4, layers, firstKernel, 12);
    BitSet[] moves = moves(model, 1);
    int pixels = height * width;
    int all = 0;
    for (int p = 0; p < pixels; p++) {
      for (int q = 0; q < pixels; q++) {
        boolean may = visible(model.config(), q / width, q % width, p / width, p % width);
        all += may ? 1 : 0;
        assertEquals(may, moves[p].get(q), "pixel " + p + " on the logits of " + q);
      }
    }
    if (layers == 6) {
      assertEquals(pixels * (pixels - 1) / 2, all, "all later pixels see all earlier ones");
    }
  }

  /** In images no wider than what the blocks of full size reach in the row above. */
  @ParameterizedTest
  @CsvSource({"5,6,1,2", "7,5,1,2", "7,5,3,3", "9,6,1,3"})
  void pixelCnnPlusPlusHasNoBlindSpot(int height, int width, int colours, int resolutions) {
    PixelCnnPlusPlus model = Nets.plusPlus(height, width, colours, 5, 0, resolutions);
    BitSet[] moves = moves(model, 1);
    for (int i = 0; i < moves.length; i++) {
      int p = i / colours;
      for (int q = 0; q < height * width; q++) {
        assertEquals(p < q, moves[i].get(q), "value " + i + " on pixel " + q);
      }
    }
  }

  /**
   * A later pixel's value does not change what an earlier one is scored at, nor its own colours.
   */
  @ParameterizedTest
  @MethodSource("dev.gatun.models.pixelcnn.Nets#variants")
  void scoresOfEarlierPixelsStay(Kind kind, int colours, int classes) {
    PixelModel model = kind.small(4, 5, colours, 5, classes);
    byte[] base = Nets.images(model, 1, 6);
    int size = base.length;
    byte[] labels = same(model, size);
    try (Parameters weights = Nets.weights(device, model, 8)) {
      float[] a = Nets.terms(device, model, weights, repeated(base, size), labels);
      float[] b = Nets.terms(device, model, weights, moved(model, base), labels);
      int terms = a.length / size;
      int each = terms / (4 * 5);
      for (int i = 0; i < size; i++) {
        int first = each == 1 ? i / colours : i; // the first term that may move
        for (int t = 0; t < first; t++) {
          assertEquals(a[i * terms + t], b[i * terms + t], "value " + i + " on term " + t);
        }
        assertNotEquals(a[i * terms + first], b[i * terms + first], "its own term " + i);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("dev.gatun.models.pixelcnn.Nets#variants")
  void labelsReachEveryPixelOfTheirOwnImageOnly(Kind kind, int colours, int classes) {
    if (classes == 0) {
      return;
    }
    PixelModel model = kind.small(4, 5, colours, 5, classes);
    byte[] images = repeated(Nets.images(model, 1, 6), 4);
    try (Parameters weights = Nets.weights(device, model, 8)) {
      float[] a = Nets.parameters(device, model, weights, images, new byte[] {1, 1, 2, 1});
      float[] b = Nets.parameters(device, model, weights, images, new byte[] {1, 0, 2, 1});
      int pixels = 4 * 5;
      int each = model.likelihood().parameters();
      for (int p = 0; p < 4 * pixels; p++) {
        boolean same = Arrays.equals(a, p * each, (p + 1) * each, b, p * each, (p + 1) * each);
        assertEquals(p / pixels != 1, same, "image " + p / pixels + " pixel " + p % pixels);
      }
    }
  }

  @Test
  void theReceptiveFieldsDifferWhereTheyShould() {
    // one row up and four to the right: within the reach of both, seen by one
    PixelCnn plain = new PixelCnn(new PixelCnn.Config(3, 9, 1, 5, 0, 12, 4, 3, 3, 12));
    GatedPixelCnn gated = Nets.gated(3, 9, 5, 5, 3, 12);
    int p = 9 + 7;
    int q = 2 * 9 + 3;
    assertFalse(moves(plain, 1)[p].get(q));
    assertTrue(moves(gated, 1)[p].get(q));
  }
}
