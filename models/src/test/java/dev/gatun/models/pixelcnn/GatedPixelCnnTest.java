package dev.gatun.models.pixelcnn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.WithDevice;
import dev.gatun.engine.train.Parameters;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class GatedPixelCnnTest extends WithDevice {
  /** The paper's two stacks in plain loops, f64, one image: nothing shared but the weights. */
  private static final class Plain {
    final GatedPixelCnn.Config k;
    final Parameters weights;

    final int label;

    Plain(GatedPixelCnn model, Parameters weights, int label) {
      this.k = model.config();
      this.weights = weights;
      this.label = label;
    }

    /** Adds what the label says, [H][W][2F]. */
    void given(double[][][] x, String table) {
      if (k.classes() > 0) {
        double[] rows = weights.get(table).toDoubles();
        for (double[][] row : x) {
          for (double[] features : row) {
            for (int f = 0; f < features.length; f++) {
              features[f] += rows[label * features.length + f];
            }
          }
        }
      }
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
        double[][][] vertical = conv(v, layer + "vertical", true, -n, l == 0 ? -1 : 0, -n, n);
        given(vertical, layer + "vertical.class");
        // the rows above, before the gate
        double[][][] link = conv(vertical, layer + "link", false, 0, 0, 0, 0);
        double[][][] horizontal = conv(h, layer + "horizontal", true, 0, 0, -n, l == 0 ? -1 : 0);
        double[][][] sum = each(2 * k.filters(), (r, c, f) -> horizontal[r][c][f] + link[r][c][f]);
        given(sum, layer + "horizontal.class");
        double[][][] out = conv(gate(sum), layer + "out", true, 0, 0, 0, 0);
        double[][][] before = h;
        h = l == 0 ? out : each(k.filters(), (r, c, f) -> before[r][c][f] + out[r][c][f]);
        v = gate(vertical);
      }
      double[][][] head = conv(relu(h), "head.0", true, 0, 0, 0, 0);
      return conv(relu(head), "head.1", true, 0, 0, 0, 0);
    }
  }

  @ParameterizedTest
  @CsvSource({"0,0", "3,2"})
  void logitsAreThoseOfThePaperInPlainLoops(int classes, int label) {
    GatedPixelCnn model =
        new GatedPixelCnn(new GatedPixelCnn.Config(6, 5, 1, 4, classes, 8, 3, 5, 3, 10));
    byte[] image = Nets.images(model, 1, 13);
    try (Parameters weights = Nets.weights(device, model, 14)) {
      byte[] labels = {(byte) label};
      float[] actual = Nets.parameters(device, model, weights, image, labels);
      double[][][] expected = new Plain(model, weights, label).logits(image);
      for (int i = 0; i < actual.length; i++) {
        double e = expected[i / 4 / 5][i / 4 % 5][i % 4];
        assertEquals(e, actual[i], 1e-4 * Math.max(1, Math.abs(e)), "element " + i);
      }
    }
  }

  @Test
  void configurationsThatMakeNoSenseAreRefusedInOneLine() {
    for (int[] c :
        new int[][] {
          {0, 4, 1, 4, 0, 4, 1, 3, 3, 4},
          {4, -1, 1, 4, 0, 4, 1, 3, 3, 4},
          {4, 4, 2, 4, 0, 4, 1, 3, 3, 4},
          {4, 4, 1, 1, 0, 4, 1, 3, 3, 4},
          {4, 4, 1, 257, 0, 4, 1, 3, 3, 4},
          {4, 4, 1, 4, -1, 4, 1, 3, 3, 4},
          {4, 4, 1, 4, 1, 4, 1, 3, 3, 4},
          {4, 4, 1, 4, 257, 4, 1, 3, 3, 4},
          {4, 4, 1, 4, 0, 0, 1, 3, 3, 4},
          {4, 4, 3, 4, 0, 4, 1, 3, 3, 3},
          {4, 4, 3, 4, 0, 3, 1, 3, 3, 4},
          {4, 4, 1, 4, 0, 4, 0, 3, 3, 4},
          {4, 4, 1, 4, 0, 4, 1, 4, 3, 4},
          {4, 4, 1, 4, 0, 4, 1, 1, 3, 4},
          {4, 4, 1, 4, 0, 4, 1, 3, 2, 4},
          {4, 4, 1, 4, 0, 4, 1, 3, -3, 4},
          {4, 4, 1, 4, 0, 4, 1, 3, 3, 0}
        }) {
      IllegalArgumentException e =
          assertThrows(
              IllegalArgumentException.class,
              () ->
                  new GatedPixelCnn.Config(
                      c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9]));
      assertEquals(1, e.getMessage().lines().count());
      assertTrue(e.getMessage().startsWith("gated-pixelcnn: "), e.getMessage());
      e =
          assertThrows(
              IllegalArgumentException.class,
              () ->
                  new PixelCnn.Config(c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8], c[9]));
      assertEquals(1, e.getMessage().lines().count());
      assertTrue(e.getMessage().startsWith("pixelcnn: "), e.getMessage());
    }
  }
}
