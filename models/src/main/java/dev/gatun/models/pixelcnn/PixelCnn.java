package dev.gatun.models.pixelcnn;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.train.ParameterSpec;
import java.util.ArrayList;
import java.util.List;

/**
 * PixelCNN: one stack of masked convolutions with residual blocks, and a softmax over the levels of
 * each colour. Its masks leave a blind spot to the upper right, which {@link GatedPixelCnn} has
 * not.
 *
 * <p>Letters: N images, H rows, W columns, F {@code filters}.
 *
 * @see "van den Oord et al. 2016, Pixel Recurrent Neural Networks, sections 3.3 to 3.5, table 1"
 */
public final class PixelCnn implements PixelModel {
  private static final String NAME = "pixelcnn";

  /**
   * Hyper-parameters.
   *
   * @param channels colours of a pixel, 1 or 3
   * @param levels values a colour can take
   * @param classes labels the model is given; 0 for none
   * @param filters channels inside a residual block; between blocks there are twice as many
   * @param blocks residual blocks
   * @param firstKernel width of the first kernel, mask A, odd
   * @param kernel width of the blocks' kernels, mask B, odd
   * @param headFilters channels of the two layers before the softmax
   */
  public record Config(
      int height,
      int width,
      int channels,
      int levels,
      int classes,
      int filters,
      int blocks,
      int firstKernel,
      int kernel,
      int headFilters)
      implements PixelConfig {
    public Config {
      Require.images(NAME, height, width, channels, levels, classes);
      Require.divisible(NAME, "filters", filters, channels);
      Require.divisible(NAME, "headFilters", headFilters, channels);
      Require.that(blocks > 0, NAME, "blocks must be positive");
      Require.that(firstKernel % 2 == 1 && firstKernel >= 3, NAME, "firstKernel must be odd, 3 up");
      Require.that(kernel % 2 == 1 && kernel >= 3, NAME, "kernel must be odd, 3 up");
    }
  }

  private final Config config;
  private final ColourMasks masks;

  public PixelCnn(Config config) {
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

  /** What comes before the pixel; with its own earlier colours, where there are several. */
  private Taps firstTaps() {
    return Taps.masked(config.firstKernel, config.channels > 1);
  }

  private Taps taps() {
    return Taps.masked(config.kernel, true);
  }

  @Override
  public List<ParameterSpec> parameters() {
    List<ParameterSpec> p = new ArrayList<>();
    int f = config.filters;
    add(p, "first", firstTaps().count(), config.channels + 1, 2 * f, 1);
    for (int b = 0; b < config.blocks; b++) {
      String block = "blocks." + b + ".";
      add(p, block + "reduce", 1, 2 * f, f, 2);
      add(p, block + "masked", taps().count(), f, f, 2);
      if (config.classes > 0) {
        p.add(ParameterSpec.table(block + "class.weight", config.classes, f, 0.1));
      }
      add(p, block + "expand", 1, f, 2 * f, 1);
    }
    add(p, "head.0", 1, 2 * f, config.headFilters, 2);
    add(p, "head.1", 1, config.headFilters, config.headFilters, 2);
    add(p, "head.2", 1, config.headFilters, likelihood().parameters(), 0.1);
    return p;
  }

  private static void add(
      List<ParameterSpec> p, String name, int taps, int channels, int filters, double gain) {
    p.add(ParameterSpec.weights(name + ".weight", taps, channels, filters, gain));
    p.add(ParameterSpec.bias(name + ".bias", filters));
  }

  @Override
  public Value parameters(Graph g, Weights w, Input in) {
    Value x = g.apply(new NormalizePixels(config.levels, in.type()), in.images());
    // the centre is the last tap: no residual here, the input is what is to be predicted
    int first = firstTaps().count() - 1;
    Value h = // (N, H, W, 2F)
        g.apply(
            new Conv2d(firstTaps()),
            x,
            masks.a(g, w.get("first.weight"), first),
            w.get("first.bias"));
    for (int b = 0; b < config.blocks; b++) {
      h = block(g, w, in, "blocks." + b + ".", h);
    }
    Value head = point(g, w, "head.0", g.apply(new Relu(), h), null, null);
    head = point(g, w, "head.1", g.apply(new Relu(), head), null, null);
    return point(g, w, "head.2", g.apply(new Relu(), head), null, DType.F32);
  }

  /** h + expand(relu(masked(relu(reduce(relu(h)))))), [N,H,W,2F]. */
  private Value block(Graph g, Weights w, Input in, String block, Value h) {
    Value reduced = point(g, w, block + "reduce", g.apply(new Relu(), h), null, null);
    Value masked = // (N, H, W, F)
        g.apply(
            new Conv2d(taps()),
            g.apply(new Relu(), reduced),
            masks.b(g, w.get(block + "masked.weight"), taps().count() - 1),
            w.get(block + "masked.bias"));
    if (config.classes > 0) {
      masked = g.apply(new AddBias(), masked, w.get(block + "class.weight"), in.labels());
    }
    return point(g, w, block + "expand", g.apply(new Relu(), masked), h, null);
  }

  private Value point(Graph g, Weights w, String name, Value x, Value addend, DType outputType) {
    List<Value> inputs =
        new ArrayList<>(List.of(x, masks.b(g, w.get(name + ".weight"), 0), w.get(name + ".bias")));
    if (addend != null) {
      inputs.add(addend);
    }
    return g.apply(new Conv2d(Taps.point(), 1, 1, outputType), inputs).getFirst();
  }
}
