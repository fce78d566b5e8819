package dev.gatun.models.pixelcnn;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.train.ParameterSpec;
import java.util.ArrayList;
import java.util.List;

/**
 * Gated PixelCNN: a vertical stack that sees the rows above, a horizontal stack that sees the row
 * to the left, no blind spot between them, and a softmax over the levels of each colour.
 *
 * <p>Letters: N images, H rows, W columns, F {@code filters}.
 *
 * @see "van den Oord et al. 2016, Conditional Image Generation with PixelCNN Decoders, section 2,
 *     figure 2"
 */
public final class GatedPixelCnn implements PixelModel {
  private static final String NAME = "gated-pixelcnn";

  /**
   * Hyper-parameters.
   *
   * @param channels colours of a pixel, 1 or 3
   * @param levels values a colour can take
   * @param classes labels the model is given; 0 for none
   * @param filters channels of each stack after its gate
   * @param layers gated layers, the first one included
   * @param firstKernel width of the first layer's kernel, odd
   * @param kernel width of the others' kernels, odd
   * @param headFilters channels between the stacks and the softmax
   */
  public record Config(
      int height,
      int width,
      int channels,
      int levels,
      int classes,
      int filters,
      int layers,
      int firstKernel,
      int kernel,
      int headFilters)
      implements PixelConfig {
    public Config {
      Require.images(NAME, height, width, channels, levels, classes);
      Require.divisible(NAME, "filters", filters, channels);
      Require.divisible(NAME, "headFilters", headFilters, channels);
      Require.that(layers > 0, NAME, "layers must be positive");
      Require.that(firstKernel % 2 == 1 && firstKernel >= 3, NAME, "firstKernel must be odd, 3 up");
      Require.that(kernel % 2 == 1 && kernel >= 3, NAME, "kernel must be odd, 3 up");
    }
  }

  private final Config config;
  private final ColourMasks masks;

  public GatedPixelCnn(Config config) {
    this.config = config;
    masks = new ColourMasks(config.channels);
  }

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public Config config() {
    return config;
  }

  @Override
  public PixelConfig images() {
    return config;
  }

  @Override
  public Categorical likelihood() {
    return new Categorical(config.levels, config.channels);
  }

  private int kernel(int layer) {
    return layer == 0 ? config.firstKernel : config.kernel;
  }

  /**
   * The rows above the pixel's own. The first layer leaves that out, so the features of every layer
   * are those of the rows above, and reach the horizontal stack unshifted.
   */
  private Taps vertical(int layer) {
    int reach = kernel(layer) / 2;
    return Taps.rectangle(-reach, layer == 0 ? -1 : 0, -reach, reach);
  }

  /**
   * To the left on the pixel's row. The first layer (mask A) leaves the pixel itself out, but for
   * its earlier colours, where there are several.
   */
  private Taps horizontal(int layer) {
    boolean centre = layer > 0 || config.channels > 1;
    return Taps.rectangle(0, 0, -(kernel(layer) / 2), centre ? 0 : -1);
  }

  @Override
  public List<ParameterSpec> parameters() {
    List<ParameterSpec> p = new ArrayList<>();
    int f = config.filters;
    for (int l = 0; l < config.layers; l++) {
      int in = l == 0 ? config.channels + 1 : f; // the pixel and a channel of ones
      String layer = "layers." + l + ".";
      p.add(ParameterSpec.weights(layer + "vertical.weight", vertical(l).count(), in, 2 * f, 1));
      p.add(ParameterSpec.bias(layer + "vertical.bias", 2 * f));
      p.add(ParameterSpec.weights(layer + "link.weight", 1, 2 * f, 2 * f, 0.5));
      p.add(
          ParameterSpec.weights(layer + "horizontal.weight", horizontal(l).count(), in, 2 * f, 1));
      p.add(ParameterSpec.bias(layer + "horizontal.bias", 2 * f));
      if (config.classes > 0) {
        int k = config.classes;
        p.add(ParameterSpec.table(layer + "vertical.class", k, 2 * f, 0.1));
        p.add(ParameterSpec.table(layer + "horizontal.class", k, 2 * f, 0.1));
      }
      p.add(ParameterSpec.weights(layer + "out.weight", 1, f, f, 1));
      p.add(ParameterSpec.bias(layer + "out.bias", f));
    }
    p.add(ParameterSpec.weights("head.0.weight", 1, f, config.headFilters, 2));
    p.add(ParameterSpec.bias("head.0.bias", config.headFilters));
    p.add(
        ParameterSpec.weights(
            "head.1.weight", 1, config.headFilters, likelihood().parameters(), 0.1));
    p.add(ParameterSpec.bias("head.1.bias", likelihood().parameters()));
    return p;
  }

  private Value input(Graph g, Input in) {
    return g.apply(new NormalizePixels(config.levels, in.type()), in.images());
  }

  /** The part of a layer's bias that the label decides. */
  private Value given(Graph g, Weights w, Input in, String table, Value features) {
    return config.classes == 0
        ? features
        : g.apply(new AddBias(), features, w.get(table), in.labels());
  }

  /**
   * The vertical stack.
   *
   * @return for each layer what it hands to the horizontal stack, [N,H,W,2F]: at row i a function
   *     of the rows above i
   */
  private List<Value> links(Graph g, Weights w, Input in) {
    List<Value> links = new ArrayList<>();
    Value v = input(g, in);
    for (int l = 0; l < config.layers; l++) {
      String layer = "layers." + l + ".";
      Value features = // (N, H, W, 2F)
          g.apply(
              new Conv2d(vertical(l)),
              v,
              w.get(layer + "vertical.weight"),
              w.get(layer + "vertical.bias"));
      features = given(g, w, in, layer + "vertical.class", features);
      // linked before the gate
      links.add(g.apply(new Conv2d(Taps.point()), features, w.get(layer + "link.weight")));
      v = g.apply(new Gate(Gate.Kind.TANH, 1), features); // (N, H, W, F)
    }
    return links;
  }

  @Override
  public Value parameters(Graph g, Weights w, Input in) {
    List<Value> links = links(g, w, in);
    Value h = input(g, in);
    for (int l = 0; l < config.layers; l++) {
      String layer = "layers." + l + ".";
      Value weights = w.get(layer + "horizontal.weight");
      int centre = horizontal(l).count() - 1;
      Value features = // (N, H, W, 2F)
          g.apply(
              new Conv2d(horizontal(l)),
              h,
              l == 0 ? masks.a(g, weights, centre) : masks.b(g, weights, centre),
              w.get(layer + "horizontal.bias"),
              links.get(l));
      features = given(g, w, in, layer + "horizontal.class", features);
      Value gated = // (N, H, W, F), the halves of each colour's channels gating each other
          g.apply(new Gate(Gate.Kind.TANH, config.channels), features);
      List<Value> out =
          new ArrayList<>(
              List.of(
                  gated, masks.b(g, w.get(layer + "out.weight"), 0), w.get(layer + "out.bias")));
      if (l > 0) {
        out.add(h); // no residual on the mask-A layer: its input is what is to be predicted
      }
      h = g.apply(new Conv2d(Taps.point()), out).getFirst();
    }
    Value head = head(g, w, "head.0", g.apply(new Relu(), h), null);
    return head(g, w, "head.1", g.apply(new Relu(), head), DType.F32);
  }

  private Value head(Graph g, Weights w, String name, Value x, DType outputType) {
    return g.apply(
        new Conv2d(Taps.point(), 1, 1, outputType),
        x,
        masks.b(g, w.get(name + ".weight"), 0),
        w.get(name + ".bias"));
  }
}
