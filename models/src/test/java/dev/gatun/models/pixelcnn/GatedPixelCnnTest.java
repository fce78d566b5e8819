package dev.gatun.models.pixelcnn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.Graph;
import dev.gatun.engine.GraphReference;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GatedPixelCnnTest {
  private Device device;

  @BeforeEach
  void open() {
    device = Devices.open("cpu");
  }

  @AfterEach
  void close() {
    device.close();
    assertEquals(0, device.allocatedBytes());
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
      if (y < r && r - 1 - y <= reach && x <= c + reach && x >= c - reach - carried) {
        return true;
      }
    }
    return false;
  }

  /**
   * Moves each input pixel in turn and sees which logits move: exactly those that may. The blind
   * spot of stacked masked convolutions, right above and further right, is among them.
   */
  @ParameterizedTest
  @CsvSource({"7,7,6,7", "7,7,1,3", "6,8,2,3", "8,7,3,5", "1,5,2,3", "5,1,2,3"})
  void aPixelMovesExactlyTheLogitsOfLaterPixelsThatSeeIt(
      int height, int width, int layers, int firstKernel) {
    GatedPixelCnn model = Nets.net(height, width, 4, layers, firstKernel, 12);
    int pixels = height * width;
    byte[] base = Nets.images(model, 1, 5);
    byte[] images = new byte[(pixels + 1) * pixels];
    for (int p = 0; p <= pixels; p++) {
      System.arraycopy(base, 0, images, p * pixels, pixels);
      if (p < pixels) {
        images[p * pixels + p] = (byte) ((base[p] + 2) % 4);
      }
    }
    try (Parameters weights = Nets.weights(device, model, 8)) {
      float[] logits = Nets.logits(device, model, weights, images);
      int all = 0;
      for (int p = 0; p < pixels; p++) {
        for (int q = 0; q < pixels; q++) {
          boolean moved = false;
          for (int k = 0; k < 4; k++) {
            moved |= logits[(p * pixels + q) * 4 + k] != logits[(pixels * pixels + q) * 4 + k];
          }
          boolean may = visible(model.config(), q / width, q % width, p / width, p % width);
          all += may ? 1 : 0;
          assertEquals(may, moved, "pixel " + at(p, width) + " on the logits of " + at(q, width));
        }
      }
      if (layers == 6) {
        assertEquals(pixels * (pixels - 1) / 2, all, "all later pixels see all earlier ones");
      }
    }
  }

  private static String at(int pixel, int width) {
    return "(" + pixel / width + "," + pixel % width + ")";
  }

  @Test
  void theVerticalStackTellsRowZeroNothingNotEvenItsBias() {
    GatedPixelCnn model = Nets.net(4, 5, 4, 3, 3, 8);
    Graph g = new Graph();
    try (Parameters weights = Nets.weights(device, model, 2);
        Tensor input = Tensor.allocate(device, DType.U8, 2, 4, 5, 1)) {
      input.write(Nets.images(model, 2, 3));
      List<Value> links =
          model.verticalLinks(g, name -> g.bind(weights.get(name)), g.bind(input), DType.F32);
      assertEquals(3, links.size());
      try (Program program = g.compile(device, links.toArray(Value[]::new))) {
        program.run();
        for (Value link : links) {
          float[] values = program.tensor(link).toFloats();
          int row = 5 * 16;
          for (int i = 0; i < values.length; i++) {
            if (i / row % 4 == 0) {
              assertEquals(0f, values[i], "row 0");
            } else {
              assertNotEquals(0f, values[i], "below row 0");
            }
          }
        }
      }
    }
  }

  /** All 81 images of 2x2 pixels and 3 levels: their probabilities are a distribution. */
  @Test
  void theProbabilitiesOfAllImagesSumToOne() {
    GatedPixelCnn model = Nets.net(2, 2, 3, 2, 3, 8);
    byte[] images = new byte[81 * 4];
    for (int i = 0; i < 81; i++) {
      for (int p = 0, rest = i; p < 4; p++, rest /= 3) {
        images[i * 4 + p] = (byte) (rest % 3);
      }
    }
    Graph g = new Graph();
    try (Parameters weights = Nets.weights(device, model, 4);
        Tensor input = Tensor.allocate(device, DType.U8, 81, 2, 2, 1)) {
      input.write(images);
      Model.Nats nats = model.nats(g, name -> g.bind(weights.get(name)), g.bind(input), DType.F32);
      try (Program program = g.compile(device, nats.perDimension(), nats.mean())) {
        program.run();
        float[] each = program.tensor(nats.perDimension()).toFloats();
        double total = 0;
        double all = 0;
        double largest = 0;
        for (int i = 0; i < 81; i++) {
          double image = 0;
          for (int p = 0; p < 4; p++) {
            image += each[i * 4 + p];
          }
          all += image;
          total += Math.exp(-image);
          largest = Math.max(largest, Math.exp(-image));
        }
        assertEquals(1, total, 1e-5);
        assertTrue(largest > 2.0 / 81, "no image stands out: the weights do nothing");
        assertEquals(all / (81 * 4), program.tensor(nats.mean()).item(), 1e-5);
      }
    }
  }

  /** The paper's two stacks in plain loops, f64, one image: nothing shared but the weights. */
  private static final class Plain {
    final GatedPixelCnn.Config k;
    final Parameters weights;

    Plain(GatedPixelCnn model, Parameters weights) {
      this.k = model.config();
      this.weights = weights;
    }

    /** y at (r,c) from x at rows r+top..r+bottom, columns c+left..c+right; [H][W][filters]. */
    double[][][] conv(
        double[][][] x, String name, boolean bias, int top, int bottom, int left, int right) {
      double[] w = weights.get(name + ".weight").toDoubles();
      int filters = weights.get(name + ".weight").shape().dim(2);
      double[][][] y = new double[k.height()][k.width()][filters];
      for (int r = 0; r < k.height(); r++) {
        for (int c = 0; c < k.width(); c++) {
          if (bias) {
            y[r][c] = weights.get(name + ".bias").toDoubles();
          }
          int at = 0;
          for (int dr = top; dr <= bottom; dr++) {
            for (int dc = left; dc <= right; dc++) {
              int row = r + dr;
              int column = c + dc;
              boolean inside = row >= 0 && row < k.height() && column >= 0 && column < k.width();
              for (int i = 0; i < x[0][0].length; i++) {
                for (int f = 0; f < filters; f++) {
                  y[r][c][f] += inside ? x[row][column][i] * w[at + f] : 0;
                }
                at += filters;
              }
            }
          }
        }
      }
      return y;
    }

    interface Element {
      double at(int r, int c, int f);
    }

    double[][][] each(int filters, Element element) {
      double[][][] y = new double[k.height()][k.width()][filters];
      for (int r = 0; r < k.height(); r++) {
        for (int c = 0; c < k.width(); c++) {
          for (int f = 0; f < filters; f++) {
            y[r][c][f] = element.at(r, c, f);
          }
        }
      }
      return y;
    }

    double[][][] gate(double[][][] x) {
      int n = k.filters();
      return each(n, (r, c, f) -> Math.tanh(x[r][c][f]) / (1 + Math.exp(-x[r][c][n + f])));
    }

    double[][][] relu(double[][][] x) {
      return each(x[0][0].length, (r, c, f) -> Math.max(0, x[r][c][f]));
    }

    double[][][] logits(byte[] image) {
      double[][][] v =
          each(2, (r, c, f) -> f == 1 ? 1 : 2.0 * image[r * k.width() + c] / (k.levels() - 1) - 1);
      double[][][] h = v;
      for (int l = 0; l < k.layers(); l++) {
        int n = (l == 0 ? k.firstKernel() : k.kernel()) / 2;
        String layer = "layers." + l + ".";
        double[][][] vertical = conv(v, layer + "vertical", true, -n, 0, -n, n);
        double[][][] link = conv(vertical, layer + "link", false, 0, 0, 0, 0);
        double[][][] horizontal = conv(h, layer + "horizontal", true, 0, 0, -n, l == 0 ? -1 : 0);
        // the vertical stack at the row above, before its gate
        double[][][] sum =
            each(
                2 * k.filters(),
                (r, c, f) -> horizontal[r][c][f] + (r == 0 ? 0 : link[r - 1][c][f]));
        double[][][] out = conv(gate(sum), layer + "out", true, 0, 0, 0, 0);
        double[][][] before = h;
        h = l == 0 ? out : each(k.filters(), (r, c, f) -> before[r][c][f] + out[r][c][f]);
        v = gate(vertical);
      }
      double[][][] head = conv(relu(h), "head.0", true, 0, 0, 0, 0);
      return conv(relu(head), "head.1", true, 0, 0, 0, 0);
    }
  }

  @Test
  void logitsAreThoseOfThePaperInPlainLoops() {
    GatedPixelCnn model = Nets.net(6, 5, 4, 3, 5, 8);
    byte[] image = Nets.images(model, 1, 13);
    try (Parameters weights = Nets.weights(device, model, 14)) {
      float[] actual = Nets.logits(device, model, weights, image);
      double[][][] expected = new Plain(model, weights).logits(image);
      for (int i = 0; i < actual.length; i++) {
        double e = expected[i / 4 / 5][i / 4 % 5][i % 4];
        assertEquals(e, actual[i], 1e-4 * Math.max(1, Math.abs(e)), "element " + i);
      }
    }
  }

  @Test
  void gradientsOfTheWholeNetworkAreThoseOfFiniteDifferences() {
    GatedPixelCnn model = new GatedPixelCnn(new GatedPixelCnn.Config(3, 4, 3, 2, 2, 3, 3, 3));
    Graph g = new Graph();
    Map<String, Value> bound = new LinkedHashMap<>();
    try (Parameters weights = Nets.weights(device, model, 6);
        Tensor input = Tensor.allocate(device, DType.U8, 2, 3, 4, 1)) {
      input.write(Nets.images(model, 2, 9));
      for (ParameterSpec spec : weights.specs()) {
        bound.put(spec.name(), g.bind(weights.get(spec.name())));
      }
      Value loss = model.nats(g, bound::get, g.bind(input), DType.F32).mean();
      List<Value> slopes = g.gradients(loss, List.copyOf(bound.values()));
      GraphReference reference = new GraphReference();
      List<double[]> expected = reference.evaluate(slopes);
      try (Program program =
          g.compile(
              device,
              java.util.stream.Stream.concat(java.util.stream.Stream.of(loss), slopes.stream())
                  .toArray(Value[]::new))) {
        program.run();
        assertEquals(
            reference.evaluate(loss)[0], program.tensor(loss).item(), 1e-5, "loss on the device");
        int i = 0;
        for (Map.Entry<String, Value> parameter : bound.entrySet()) {
          Value slope = slopes.get(i);
          assertNotNull(slope, parameter.getKey());
          double[] at = weights.get(parameter.getKey()).toDoubles();
          double error =
              reference.gradientError(loss, parameter.getValue(), at, expected.get(i), 1e-5);
          assertTrue(error <= 1e-6, parameter.getKey() + ": " + error);
          double[] actual = program.tensor(slope).toDoubles();
          for (int j = 0; j < actual.length; j++) {
            assertEquals(expected.get(i)[j], actual[j], 1e-5, parameter.getKey() + " " + j);
          }
          i++;
        }
      }
    }
  }

  @Test
  void parametersHaveDistinctNamesAndFitTheGraph() {
    GatedPixelCnn model = Nets.net(5, 5, 4, 3, 5, 6);
    List<ParameterSpec> specs = model.parameters();
    assertEquals(specs.size(), specs.stream().map(ParameterSpec::name).distinct().count());
    Graph g = new Graph();
    java.util.Set<String> read = new java.util.HashSet<>();
    try (Parameters weights = Nets.weights(device, model, 1);
        Tensor input = Tensor.allocate(device, DType.U8, 1, 5, 5, 1)) {
      model.nats(
          g,
          name -> {
            read.add(name);
            return g.bind(weights.get(name));
          },
          g.bind(input),
          DType.F32);
    }
    assertEquals(specs.size(), read.size());
  }

  @Test
  void configurationsThatMakeNoSenseAreRefusedInOneLine() {
    for (int[] c :
        new int[][] {
          {0, 4, 4, 4, 1, 3, 3, 4}, {4, -1, 4, 4, 1, 3, 3, 4}, {4, 4, 1, 4, 1, 3, 3, 4},
          {4, 4, 257, 4, 1, 3, 3, 4}, {4, 4, 4, 0, 1, 3, 3, 4}, {4, 4, 4, 4, 0, 3, 3, 4},
          {4, 4, 4, 4, 1, 4, 3, 4}, {4, 4, 4, 4, 1, 1, 3, 4}, {4, 4, 4, 4, 1, 3, 2, 4},
          {4, 4, 4, 4, 1, 3, -3, 4}, {4, 4, 4, 4, 1, 3, 3, 0}
        }) {
      IllegalArgumentException e =
          assertThrows(
              IllegalArgumentException.class,
              () -> new GatedPixelCnn.Config(c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]));
      assertEquals(1, e.getMessage().lines().count());
      assertTrue(e.getMessage().startsWith("gated-pixelcnn: "), e.getMessage());
    }
  }
}
