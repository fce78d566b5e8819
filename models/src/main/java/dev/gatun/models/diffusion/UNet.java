package dev.gatun.models.diffusion;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.Attention;
import dev.gatun.engine.op.Concat;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Dropout;
import dev.gatun.engine.op.FoldUpsampling;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.Resample;
import dev.gatun.engine.op.Silu;
import dev.gatun.engine.op.SinusoidalEmbedding;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.models.Model;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The denoising U-Net: residual blocks at several resolutions, each half the one before, with
 * short-cuts between the way down and the way up; the time shifts the features of each block, or
 * scales and shifts what it has normalized, and where the image is small each pixel attends to all
 * others. Parameters have the names of diffusers' UNet2DModel, whose blocks are DownBlock2D and
 * UpBlock2D or, where they resample, ResnetDownsampleBlock2D and ResnetUpsampleBlock2D; convolution
 * weights are [T,C,K] here and [K,C,R,S] there.
 *
 * <p>Letters: N images, H rows, W columns, C colours, F {@code filters}.
 *
 * @see "Ho et al. 2020, Denoising Diffusion Probabilistic Models, appendix B"
 * @see "Dhariwal and Nichol 2021, Diffusion Models Beat GANs, section 3"
 */
public final class UNet {
  private static final float EPSILON = 1e-5f;
  private static final double LONGEST_PERIOD = 10_000;

  /**
   * Hyper-parameters.
   *
   * @param channels colours of a pixel
   * @param classes labels the network is given; 0 for none
   * @param filters of the first resolution
   * @param multipliers of filters, a resolution each: {@code 1,2,2}
   * @param blocks at each resolution on the way down, one more on the way up
   * @param attention resolutions that have attention, as the image's height there: {@code 16,8};
   *     empty for none but the one in the middle, {@code none} for none at all
   * @param headChannels of a head of attention
   * @param groups of channels that are normalized together
   * @param dropout share of features that training drops inside a block
   * @param scaleShift whether the time scales and shifts what a block's second normalization gives
   *     (Dhariwal and Nichol); else it shifts what its first convolution gives (Ho et al.)
   * @param resnetResampling whether resolutions change inside a residual block, in whose both ways
   *     the image is resampled (Dhariwal and Nichol); else by a convolution (Ho et al.)
   */
  public record Config(
      int height,
      int width,
      int channels,
      int classes,
      int filters,
      String multipliers,
      int blocks,
      String attention,
      int headChannels,
      int groups,
      double dropout,
      boolean scaleShift,
      boolean resnetResampling) {
    /**
     * Checks that they fit together.
     *
     * @throws IllegalArgumentException in one line if they do not
     */
    public Config {
      require(height > 0 && width > 0 && channels > 0, "images must have pixels");
      require(
          classes >= 0 && classes <= 256 && classes != 1,
          "classes must be 0 to 256, and one class tells nothing");
      require(filters > 0 && filters % 2 == 0, "filters must be even and positive");
      require(
          multipliers.matches("[1-9]\\d?(,[1-9]\\d?)*"),
          "multipliers must be whole numbers such as 1,2,2, not '" + multipliers + "'");
      int last = 1 << (multipliers.split(",").length - 1);
      require(
          height % last == 0 && width % last == 0,
          "height and width must be multiples of "
              + last
              + ", since the last resolution is that much smaller: use fewer multipliers");
      require(blocks > 0, "blocks must be positive");
      require(
          attention.matches("(none|\\d{1,4}(,\\d{1,4})*)?"),
          "attention must be heights such as 16,8, or none, not '" + attention + "'");
      for (String at : attention.matches("|none") ? new String[0] : attention.split(",")) {
        require(
            heights(height, last).contains(Integer.valueOf(at)),
            "attention at height " + at + ": there are " + heights(height, last));
      }
      require(
          headChannels > 0
              && headChannels <= 128
              && (attention.equals("none") || filters % headChannels == 0),
          "filters must be a multiple of headChannels, 1 to 128");
      require(groups > 0 && filters % groups == 0, "filters must be a multiple of groups");
      require(dropout >= 0 && dropout < 1, "dropout must be in [0,1)");
    }

    private static List<Integer> heights(int height, int last) {
      return IntStream.iterate(1, f -> f <= last, f -> 2 * f).mapToObj(f -> height / f).toList();
    }

    private static void require(boolean condition, String message) {
      if (!condition) {
        throw new IllegalArgumentException("unet: " + message);
      }
    }

    private boolean attends(int level) {
      return List.of(attention.split(",")).contains(Integer.toString(height >> level));
    }

    /** Channels of each resolution. */
    public int[] widths() {
      return Arrays.stream(multipliers.split(","))
          .mapToInt(m -> filters * Integer.parseInt(m))
          .toArray();
    }
  }

  /**
   * What goes in and what comes out.
   *
   * @param inputs channels the network is shown
   * @param outputs channels it says
   * @param labels classes and whatever else there is an embedding of; 0 for none
   */
  public record Ends(int inputs, int outputs, int labels) {}

  private final Config config;
  private final Ends ends;

  /** A network that is shown an image and says one. */
  public UNet(Config config) {
    this(config, new Ends(config.channels, config.channels, config.classes));
  }

  public UNet(Config config, Ends ends) {
    this.config = config;
    this.ends = ends;
  }

  public Config config() {
    return config;
  }

  /** In the order in which they are applied. */
  public List<ParameterSpec> parameters() {
    Layers layers = new Layers(null, null, null);
    new Network(layers, null).output(null, null);
    return layers.specs;
  }

  /**
   * What is applied to what.
   *
   * @param labels [N] u8, below {@link Ends#labels}; null where there are none
   * @param type dtype of activations
   * @param training null outside of training
   */
  public record Input(Value labels, DType type, Model.Training training) {}

  /**
   * The network's output.
   *
   * @param x [N,H,W,{@link Ends#inputs}] in the input's dtype
   * @param times [N] f32
   * @return [N,H,W,{@link Ends#outputs}] in x's dtype
   */
  public Value apply(Graph graph, Model.Weights weights, Value x, Value times, Input input) {
    return new Network(new Layers(graph, weights, input), input).output(x, times);
  }

  /** Features and how many channels they have; no value where parameters are only listed. */
  private record Feature(Value value, int channels) {}

  // ------------------------------------------------------------------ layers

  /** What the network is written in: lists the parameters where there is no graph, else applies. */
  private static final class Layers {
    final List<ParameterSpec> specs = new ArrayList<>();
    private final Graph graph; // or null
    private final Model.Weights weights;
    private final Input input;
    private int dropouts;

    Layers(Graph graph, Model.Weights weights, Input input) {
      this.graph = graph;
      this.weights = weights;
      this.input = input;
    }

    private Value parameter(ParameterSpec spec) {
      if (graph == null) {
        specs.add(spec);
        return null;
      }
      return weights.get(spec.name());
    }

    Value apply(Op op, Value... inputs) {
      return graph == null ? null : graph.apply(op, inputs);
    }

    /**
     * A convolution with bias, plus the addend where there is one.
     *
     * @param gain of the weights' variance; 0 for a layer that starts as nothing
     */
    Feature conv(
        String name, Taps taps, int stride, double gain, Feature x, int out, Value addend) {
      Value w =
          parameter(ParameterSpec.weights(name + ".weight", taps.count(), x.channels, out, gain));
      Value bias = parameter(ParameterSpec.bias(name + ".bias", out));
      Conv2d conv = new Conv2d(taps, stride, stride, null);
      return new Feature(
          addend == null ? apply(conv, x.value, w, bias) : apply(conv, x.value, w, bias, addend),
          out);
    }

    Feature linear(String name, Feature x, int out) {
      return conv(name, Taps.point(), 1, 1, x, out, null);
    }

    /**
     * Nearest up-sampling by 2 and a 3x3 convolution, in one.
     *
     * @param shift [N,1,1,C], or null
     */
    Feature upsample(String name, Feature x, Feature shift) {
      int c = x.channels;
      Value w = parameter(ParameterSpec.weights(name + ".weight", 9, c, c, 1));
      Value bias =
          parameter(
              new ParameterSpec(
                  name + ".bias", Shape.of(1, c), new ParameterSpec.Init.Constant(0)));
      if (graph == null) {
        return x;
      }
      Shape s = x.value.shape();
      Shape large = Shape.of(s.dim(0), 2 * s.dim(1), 2 * s.dim(2), c);
      Conv2dBackwardData conv = FoldUpsampling.convolution(large);
      Value folded = apply(new FoldUpsampling(), w);
      return new Feature(
          shift == null
              ? apply(new AddBias(), apply(conv, folded, x.value), bias)
              : apply(conv, folded, x.value, apply(new AddBias(), shift.value, bias)),
          c);
    }

    /** As it is where there is nothing to do. */
    Feature resample(Resample op, Feature x) {
      return op == null ? x : new Feature(apply(op, x.value), x.channels);
    }

    /**
     * Group normalization, and SiLU.
     *
     * @param modulation [N,1,1,2C], or null
     */
    Feature norm(String name, int groups, Feature x, Feature modulation, boolean silu) {
      Value gamma =
          parameter(
              new ParameterSpec(
                  name + ".weight", Shape.of(x.channels), new ParameterSpec.Init.Constant(1)));
      Value beta = parameter(ParameterSpec.bias(name + ".bias", x.channels));
      GroupNorm norm = new GroupNorm(groups, EPSILON, silu);
      return new Feature(
          modulation == null
              ? apply(norm, x.value, gamma, beta)
              : apply(norm, x.value, gamma, beta, modulation.value),
          x.channels);
    }

    /** Each pixel sees all of its image's. */
    Feature attention(String name, int groups, int headChannels, Feature x) {
      int c = x.channels;
      Feature h = norm(name + ".group_norm", groups, x, null, false);
      Value[] qkv = new Value[3];
      for (int i = 0; i < 3; i++) {
        qkv[i] = linear(name + List.of(".to_q", ".to_k", ".to_v").get(i), h, c).value;
      }
      Feature o = new Feature(apply(new Attention(c / headChannels), qkv), c);
      return conv(name + ".to_out.0", Taps.point(), 1, 0, o, c, x.value);
    }

    Feature silu(Feature x) {
      return new Feature(apply(new Silu(), x.value), x.channels);
    }

    Feature concat(Feature a, Feature b) {
      return new Feature(apply(new Concat(), a.value, b.value), a.channels + b.channels);
    }

    Feature drop(double rate, Feature x) {
      if (graph == null || input.training == null || rate == 0) {
        return x;
      }
      Dropout dropout = new Dropout(rate, input.training.dropoutSeed(), dropouts++);
      return new Feature(apply(dropout, x.value, input.training.step()), x.channels);
    }

    Feature given(String name, int classes, Feature x) {
      if (classes == 0) {
        return x;
      }
      Value table = parameter(ParameterSpec.table(name + ".weight", classes, x.channels, 1));
      return new Feature(
          graph == null ? null : apply(new AddBias(), x.value, table, input.labels), x.channels);
    }
  }

  // ------------------------------------------------------------------ the network

  private final class Network {
    private static final Taps THREE = Taps.square(3);
    private static final String TIME = ".time_emb_proj";

    private final Layers layers;
    private final Input input;
    private final int[] widths = config.widths();
    private Feature embedding;

    Network(Layers layers, Input input) {
      this.layers = layers;
      this.input = input;
    }

    /** What each block is told of the time and of the class, [N,1,1,4F]. */
    private Feature embedding(Value times) {
      int f = config.filters;
      DType type = input == null ? DType.F32 : input.type;
      SinusoidalEmbedding waves = new SinusoidalEmbedding(f, LONGEST_PERIOD, 0, true, type);
      Feature e = new Feature(layers.apply(waves, times), f);
      e = layers.silu(layers.linear("time_embedding.linear_1", e, 4 * f));
      e = layers.linear("time_embedding.linear_2", e, 4 * f);
      return layers.silu(layers.given("class_embedding", ends.labels, e));
    }

    /**
     * A residual block.
     *
     * @param resample what happens to the image in both of its ways, or null
     */
    private Feature resnet(String name, Feature x, int out, Resample resample) {
      Feature h = layers.norm(name + ".norm1", config.groups, x, null, true);
      Feature shift = config.scaleShift ? null : layers.linear(name + TIME, embedding, out);
      if (resample != null && resample.direction() == Resample.Direction.UP) {
        h = layers.upsample(name + ".conv1", h, shift);
      } else {
        h = layers.resample(resample, h);
        h = layers.conv(name + ".conv1", THREE, 1, 1, h, out, shift == null ? null : shift.value);
      }
      Feature modulation =
          config.scaleShift ? layers.linear(name + TIME, embedding, 2 * out) : null;
      h = layers.norm(name + ".norm2", config.groups, h, modulation, true);
      h = layers.drop(config.dropout, h);
      Feature shortcut = layers.resample(resample, x);
      if (x.channels != out) {
        shortcut = layers.linear(name + ".conv_shortcut", shortcut, out);
      }
      return layers.conv(name + ".conv2", THREE, 1, 0, h, out, shortcut.value);
    }

    private Feature downsample(String name, Feature x) {
      return config.resnetResampling
          ? resnet(name, x, x.channels, Resample.averagePool())
          : layers.conv(name + ".conv", THREE, 2, 1, x, x.channels, null);
    }

    private Feature upsample(String name, Feature x) {
      return config.resnetResampling
          ? resnet(name, x, x.channels, Resample.nearest())
          : layers.upsample(name + ".conv", x, null);
    }

    private Feature attended(String name, boolean there, Feature x) {
      return there ? layers.attention(name, config.groups, config.headChannels, x) : x;
    }

    Feature x(Value value) {
      return new Feature(value, ends.inputs);
    }

    Value output(Value noisy, Value times) {
      embedding = embedding(times);
      Feature x = layers.conv("conv_in", THREE, 1, 1, x(noisy), config.filters, null);
      List<Feature> shortcuts = new ArrayList<>(List.of(x));
      for (int level = 0; level < widths.length; level++) {
        String block = "down_blocks." + level;
        for (int i = 0; i < config.blocks; i++) {
          x = resnet(block + ".resnets." + i, x, widths[level], null);
          x = attended(block + ".attentions." + i, config.attends(level), x);
          shortcuts.add(x);
        }
        if (level < widths.length - 1) {
          x = downsample(block + ".downsamplers.0", x);
          shortcuts.add(x);
        }
      }
      x = resnet("mid_block.resnets.0", x, x.channels, null);
      x = attended("mid_block.attentions.0", !config.attention.equals("none"), x);
      x = resnet("mid_block.resnets.1", x, x.channels, null);
      for (int level = widths.length - 1; level >= 0; level--) {
        String block = "up_blocks." + (widths.length - 1 - level);
        for (int i = 0; i <= config.blocks; i++) {
          x = layers.concat(x, shortcuts.removeLast());
          x = resnet(block + ".resnets." + i, x, widths[level], null);
          x = attended(block + ".attentions." + i, config.attends(level), x);
        }
        if (level > 0) {
          x = upsample(block + ".upsamplers.0", x);
        }
      }
      x = layers.norm("conv_norm_out", config.groups, x, null, true);
      return layers.conv("conv_out", THREE, 1, 0, x, ends.outputs, null).value;
    }
  }
}
