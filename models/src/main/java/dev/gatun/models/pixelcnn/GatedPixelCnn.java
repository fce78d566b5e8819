package dev.gatun.models.pixelcnn;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.ShiftRows;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.models.Model;
import java.util.ArrayList;
import java.util.List;

/**
 * Gated PixelCNN for grey images: a vertical stack that sees the rows above, a horizontal stack
 * that sees the row to the left, no blind spot between them, and a softmax over the levels of each
 * pixel.
 *
 * <p>Letters: N images, H rows, W columns, C {@code filters}, K {@code levels}.
 *
 * @see "van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders, section 2,
 *     figure 2"
 */
public final class GatedPixelCnn implements Model {
  /**
   * Hyper-parameters.
   *
   * @param levels values a pixel can take
   * @param filters channels of each stack after its gate
   * @param layers gated layers, the first one included
   * @param firstKernel width of the first layer's kernel, odd
   * @param kernel width of the others' kernels, odd
   * @param headFilters channels between the stacks and the softmax
   */
  public record Config(
      int height,
      int width,
      int levels,
      int filters,
      int layers,
      int firstKernel,
      int kernel,
      int headFilters) {
    public Config {
      require(height > 0 && width > 0, "height and width must be positive");
      require(levels >= 2 && levels <= 256, "levels must be 2 to 256");
      require(filters > 0 && headFilters > 0, "filters and headFilters must be positive");
      require(layers > 0, "layers must be positive");
      require(firstKernel % 2 == 1 && firstKernel >= 3, "firstKernel must be odd, 3 or more");
      require(kernel % 2 == 1 && kernel >= 3, "kernel must be odd, 3 or more");
    }

    private static void require(boolean condition, String message) {
      if (!condition) {
        throw new IllegalArgumentException("gated-pixelcnn: " + message);
      }
    }
  }

  private final Config config;

  public GatedPixelCnn(Config config) {
    this.config = config;
  }

  @Override
  public String name() {
    return "gated-pixelcnn";
  }

  @Override
  public Config config() {
    return config;
  }

  @Override
  public ImageShape imageShape() {
    return new ImageShape(config.height, config.width, 1);
  }

  @Override
  public int levels() {
    return config.levels;
  }

  /**
   * Rows up to and with the pixel's own: the stack's features are passed on one row further down.
   */
  private static Taps vertical(int kernel) {
    return Taps.rectangle(-(kernel / 2), 0, -(kernel / 2), kernel / 2);
  }

  /** To the left on the pixel's row; the first layer (mask A) leaves the pixel itself out. */
  private static Taps horizontal(int kernel, boolean first) {
    return Taps.rectangle(0, 0, -(kernel / 2), first ? -1 : 0);
  }

  private int kernel(int layer) {
    return layer == 0 ? config.firstKernel : config.kernel;
  }

  @Override
  public List<ParameterSpec> parameters() {
    List<ParameterSpec> p = new ArrayList<>();
    int c = config.filters;
    for (int l = 0; l < config.layers; l++) {
      int in = l == 0 ? 2 : c; // the pixel and a channel of ones
      String layer = "layers." + l + ".";
      int vTaps = vertical(kernel(l)).count();
      int hTaps = horizontal(kernel(l), l == 0).count();
      p.add(ParameterSpec.weights(layer + "vertical.weight", vTaps, in, 2 * c, 1));
      p.add(ParameterSpec.bias(layer + "vertical.bias", 2 * c));
      p.add(ParameterSpec.weights(layer + "link.weight", 1, 2 * c, 2 * c, 0.5));
      p.add(ParameterSpec.weights(layer + "horizontal.weight", hTaps, in, 2 * c, 1));
      p.add(ParameterSpec.bias(layer + "horizontal.bias", 2 * c));
      p.add(ParameterSpec.weights(layer + "out.weight", 1, c, c, 1));
      p.add(ParameterSpec.bias(layer + "out.bias", c));
    }
    p.add(ParameterSpec.weights("head.0.weight", 1, c, config.headFilters, 2));
    p.add(ParameterSpec.bias("head.0.bias", config.headFilters));
    p.add(ParameterSpec.weights("head.1.weight", 1, config.headFilters, config.levels, 0.1));
    p.add(ParameterSpec.bias("head.1.bias", config.levels));
    return p;
  }

  /** images [N,H,W,1] u8 to the network's input [N,H,W,2]. */
  private Value input(Graph g, Value images, DType type) {
    return g.apply(new NormalizePixels(config.levels, type), images);
  }

  /**
   * The vertical stack.
   *
   * @param images [N,H,W,1] u8
   * @return for each layer what it hands to the horizontal stack, [N,H,W,2C]: at row i a function
   *     of the rows above i
   */
  public List<Value> verticalLinks(Graph g, Weights w, Value images, DType type) {
    List<Value> links = new ArrayList<>();
    Value v = input(g, images, type);
    for (int l = 0; l < config.layers; l++) {
      String layer = "layers." + l + ".";
      Value features = // (N, H, W, 2C)
          g.apply(
              new Conv2d(vertical(kernel(l))),
              v,
              w.get(layer + "vertical.weight"),
              w.get(layer + "vertical.bias"));
      // linked before the gate, and without a bias: row 0 has nothing above it
      Value link = g.apply(new Conv2d(Taps.point()), features, w.get(layer + "link.weight"));
      // what v knows at row i - 1, h may know at row i
      links.add(g.apply(new ShiftRows(1), link));
      v = g.apply(new Gate(), features); // (N, H, W, C)
    }
    return links;
  }

  /**
   * The horizontal stack and the head; works on any number of rows, each a function of its own
   * row's pixels and links.
   *
   * @param images [N,R,W,1] u8
   * @param links for each layer [N,R,W,2C]
   * @return logits [N,R,W,K] f32
   */
  public Value horizontalLogits(Graph g, Weights w, Value images, List<Value> links, DType type) {
    Value x = input(g, images, type);
    Value h = null;
    for (int l = 0; l < config.layers; l++) {
      String layer = "layers." + l + ".";
      Value features = // (N, R, W, 2C)
          g.apply(
              new Conv2d(horizontal(kernel(l), l == 0)),
              l == 0 ? x : h,
              w.get(layer + "horizontal.weight"),
              w.get(layer + "horizontal.bias"));
      Value gated = g.apply(new Gate(), features, links.get(l)); // (N, R, W, C)
      Value out =
          g.apply(
              new Conv2d(Taps.point()),
              gated,
              w.get(layer + "out.weight"),
              w.get(layer + "out.bias"));
      // no residual on the mask-A layer: its input is the pixel that is to be predicted
      h = l == 0 ? out : g.apply(new Add(), h, out);
    }
    Value head =
        g.apply(
            new Conv2d(Taps.point()),
            g.apply(new Relu(), h),
            w.get("head.0.weight"),
            w.get("head.0.bias"));
    return g.apply(
        new Conv2d(Taps.point(), 1, 1, DType.F32),
        g.apply(new Relu(), head),
        w.get("head.1.weight"),
        w.get("head.1.bias"));
  }

  /** Logits [N,H,W,K] f32 of every pixel given those before it. */
  public Value logits(Graph g, Weights w, Value images, DType type) {
    return horizontalLogits(g, w, images, verticalLinks(g, w, images, type), type);
  }

  @Override
  public Nats nats(Graph g, Weights w, Value images, DType type) {
    Value logits = logits(g, w, images, type);
    List<Value> loss = g.apply(new SoftmaxCrossEntropy(type), List.of(logits, images));
    return new Nats(loss.get(0), loss.get(1));
  }
}
