package dev.gatun.models.metrics;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Silu;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.models.Model;
import java.util.ArrayList;
import java.util.List;

/**
 * A small residual network that tells the classes of images apart. What its last layer but one says
 * of an image are the features by which sets of images are compared.
 *
 * <p>A convolution to F channels; twice residual blocks, the first of which halves the map and
 * doubles the channels; a layer over the whole map that is left, to D features, normalized for each
 * image; from their SiLU the classes. Normalization and SiLU come before each convolution.
 *
 * <p>Letters: N images, H rows, W columns, C colours, F {@code filters}, D {@code features}, K
 * {@code classes}.
 *
 * @see "He et al. 2016, Identity Mappings in Deep Residual Networks, section 3"
 */
public final class FeatureNet implements Model {
  private static final String NAME = "feature-net";
  private static final Taps THREE = Taps.square(3);
  private static final int LEVELS = 2; // that halve the map
  private static final float EPSILON = 1e-5f;

  /**
   * Hyper-parameters.
   *
   * @param height a multiple of 4
   * @param width a multiple of 4
   * @param channels colours of a pixel, 1 or 3
   * @param classes 2 to 256
   * @param filters of the first convolution
   * @param blocks at each of the two smaller resolutions
   * @param features of an image
   * @param groups of channels that are normalized together
   */
  public record Config(
      int height,
      int width,
      int channels,
      int classes,
      int filters,
      int blocks,
      int features,
      int groups) {
    /**
     * Checks that they fit together.
     *
     * @throws IllegalArgumentException in one line if they do not
     */
    public Config {
      require(
          height > 0 && width > 0 && height % (1 << LEVELS) == 0 && width % (1 << LEVELS) == 0,
          "height and width must be multiples of 4, not " + height + "x" + width);
      require(channels == 1 || channels == 3, "channels must be 1 or 3, not " + channels);
      require(classes >= 2 && classes <= 256, "classes must be 2 to 256, not " + classes);
      require(groups > 0 && filters > 0 && filters % groups == 0, "groups must divide filters");
      require(blocks > 0 && features > 0, "blocks and features must be positive");
    }

    private static void require(boolean condition, String message) {
      if (!condition) {
        throw new IllegalArgumentException(NAME + ": " + message);
      }
    }
  }

  private final Config config;

  public FeatureNet(Config config) {
    this.config = config;
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
  public ImageShape imageShape() {
    return new ImageShape(config.height, config.width, config.channels);
  }

  @Override
  public int levels() {
    return 256;
  }

  @Override
  public int classes() {
    return config.classes;
  }

  /** All that is left of the map after it was halved. */
  private Taps wholeMap() {
    return Taps.rectangle(0, (config.height >> LEVELS) - 1, 0, (config.width >> LEVELS) - 1);
  }

  @Override
  public List<ParameterSpec> parameters() {
    List<ParameterSpec> p = new ArrayList<>();
    int channels = config.filters;
    conv(p, "first", 9, config.channels + 1, channels);
    for (int level = 0; level < LEVELS; level++) {
      int width = 2 * channels;
      for (int b = 0; b < config.blocks; b++) {
        String block = block(level, b);
        norm(p, block + "norm1", channels);
        conv(p, block + "conv1", 9, channels, width);
        norm(p, block + "norm2", width);
        conv(p, block + "conv2", 9, width, width);
        if (b == 0) {
          conv(p, block + "shortcut", 1, channels, width);
        }
        channels = width;
      }
    }
    norm(p, "norm", channels);
    conv(p, "features", wholeMap().count(), channels, config.features);
    norm(p, "features.norm", config.features);
    conv(p, "classes", 1, config.features, config.classes);
    return p;
  }

  private static String block(int level, int block) {
    return "levels." + level + ".blocks." + block + ".";
  }

  private static void conv(
      List<ParameterSpec> p, String name, int taps, int channels, int filters) {
    p.add(ParameterSpec.weights(name + ".weight", taps, channels, filters, 1));
    p.add(ParameterSpec.bias(name + ".bias", filters));
  }

  private static void norm(List<ParameterSpec> p, String name, int channels) {
    p.add(
        new ParameterSpec(
            name + ".weight", Shape.of(channels), new ParameterSpec.Init.Constant(1)));
    p.add(ParameterSpec.bias(name + ".bias", channels));
  }

  /**
   * What the network says of images.
   *
   * @param images [N,H,W,C] u8
   * @param type dtype of activations
   * @return [N,1,1,D] in {@code type}
   */
  public Value features(Graph g, Weights w, Value images, DType type) {
    Value x = g.apply(new NormalizePixels(levels(), type), images);
    x = conv(g, w, "first", THREE, 1, x); // (N, H, W, F)
    for (int level = 0; level < LEVELS; level++) {
      for (int b = 0; b < config.blocks; b++) {
        x = residual(g, w, block(level, b), b == 0, x);
      }
    }
    Value h = norm(g, w, "norm", x); // (N, H/4, W/4, 4F)
    // the map is as large as the step from one output to the next: there is one
    Conv2d whole = new Conv2d(wholeMap(), h.shape().dim(1), h.shape().dim(2), null);
    Value all = g.apply(whole, h, w.get("features.weight"), w.get("features.bias"));
    // squares of mean 1: the kernel distance would follow the few largest features alone
    return norm(g, w, "features.norm", 1, false, all);
  }

  private Value residual(Graph g, Weights w, String block, boolean halves, Value x) {
    Value h = norm(g, w, block + "norm1", x);
    Value shortcut = halves ? conv(g, w, block + "shortcut", Taps.point(), 2, h) : x;
    h = conv(g, w, block + "conv1", THREE, halves ? 2 : 1, h);
    h = norm(g, w, block + "norm2", h);
    return g.apply(
        new Conv2d(THREE), h, w.get(block + "conv2.weight"), w.get(block + "conv2.bias"), shortcut);
  }

  private static Value conv(Graph g, Weights w, String name, Taps taps, int stride, Value x) {
    return g.apply(
        new Conv2d(taps, stride, stride, null), x, w.get(name + ".weight"), w.get(name + ".bias"));
  }

  private Value norm(Graph g, Weights w, String name, Value x) {
    return norm(g, w, name, config.groups, true, x);
  }

  private static Value norm(Graph g, Weights w, String name, int groups, boolean silu, Value x) {
    return g.apply(
        new GroupNorm(groups, EPSILON, silu), x, w.get(name + ".weight"), w.get(name + ".bias"));
  }

  /**
   * The classes' logits.
   *
   * @param features [N,1,1,D], as {@link #features} returns them
   * @return [N,1,1,K] f32
   */
  public Value logits(Graph g, Weights w, Value features) {
    return g.apply(
        new Conv2d(Taps.point(), 1, 1, DType.F32),
        g.apply(new Silu(), features),
        w.get("classes.weight"),
        w.get("classes.bias"));
  }

  @Override
  public Objective objective() {
    return Objective.LOSS;
  }

  /** The cross-entropy of the labels, in nats. */
  @Override
  public Value loss(Graph g, Weights w, Input input) {
    Value logits = logits(g, w, features(g, w, input.images(), input.type()));
    return g.apply(new SoftmaxCrossEntropy(input.type()), List.of(logits, input.labels()))
        .getFirst();
  }
}
