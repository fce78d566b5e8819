package dev.gatun.models.vae;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Cast;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.ScalePixels;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.models.Model;
import java.util.List;
import java.util.Locale;

/**
 * The encoder and the decoder of an autoencoder.
 *
 * <p>Letters: N images, H rows, W columns, C colours, F {@code filters}, D numbers of a latent, P
 * numbers that a likelihood takes for a colour.
 */
public final class VaeNetwork {
  static final int LEVELS = 256;

  /** What the layers are. */
  public enum Kind {
    /** All to all, with rectifiers: Kingma and Welling 2014, appendix C. */
    MLP,
    /** Residual blocks at a half and at a quarter of the resolution. */
    CONVOLUTIONAL;

    @Override
    public String toString() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /**
   * Sizes. Images of one pixel are points of a space, in f32; others are u8.
   *
   * @param channels colours of a pixel, or dimensions of a point
   * @param filters F: units of a hidden layer, or channels at half the resolution
   * @param depth hidden layers, none for a linear network; or residual blocks at each resolution
   */
  public record Config(int height, int width, int channels, Kind network, int filters, int depth) {
    public Config {
      require(height > 0 && width > 0 && channels > 0, "an image has " + height + "x" + width);
      require(
          height * width == 1 || channels == 1 || channels == 3,
          "channels must be 1 or 3, not " + channels);
      require(filters > 0, "filters must be positive");
      if (network == Kind.MLP) {
        require(depth >= 0, "depth must not be negative");
      } else {
        new ImageMaps(new Model.ImageShape(height, width, channels), filters, depth);
      }
    }

    private static void require(boolean condition, String message) {
      if (!condition) {
        throw new IllegalArgumentException(message);
      }
    }

    /** Whether it is for points in f32. */
    public boolean points() {
      return height * width == 1;
    }

    Model.ImageShape shape() {
      return new Model.ImageShape(height, width, channels);
    }
  }

  private final Config config;
  private final int headSize;
  private final int latentSize;
  private final int outputs; // P

  /**
   * A network.
   *
   * @param headSize numbers that the encoder gives for an image
   * @param latentSize D, numbers that the decoder takes
   * @param outputs P
   */
  VaeNetwork(Config config, int headSize, int latentSize, int outputs) {
    this.config = config;
    this.headSize = headSize;
    this.latentSize = latentSize;
    this.outputs = outputs;
  }

  Config config() {
    return config;
  }

  List<ParameterSpec> encoderParameters() {
    Layers layers = Layers.declared();
    encode(layers, null);
    return layers.parameters();
  }

  List<ParameterSpec> decoderParameters() {
    Layers layers = Layers.declared();
    decode(layers, null, DType.F32);
    return layers.parameters();
  }

  /**
   * Data as the encoder reads them.
   *
   * @param data [N,H,W,C] u8, or points in f32
   * @return like it in {@code type}; pixels in [-1,1]
   */
  Value scaled(Graph graph, Value data, DType type) {
    return config.points()
        ? graph.apply(new Cast(type), data)
        : graph.apply(new ScalePixels(LEVELS, type), data);
  }

  /**
   * What the encoder says.
   *
   * @param x [N,H,W,C], as {@link #scaled} returns it
   * @return [N,1,1,headSize] f32
   */
  Value encode(Graph graph, Model.Weights weights, Value x) {
    return encode(Layers.in(graph, weights), x);
  }

  /**
   * What the decoder says.
   *
   * @param z [M,1,1,D] f32
   * @param type of activations
   * @return [M,H,W,P*C] f32
   */
  Value decode(Graph graph, Model.Weights weights, Value z, DType type) {
    return decode(Layers.in(graph, weights), z, type);
  }

  private Value encode(Layers l, Value x) {
    return config.network == Kind.MLP ? encodeDense(l, x) : encodeImage(l, x);
  }

  private Value decode(Layers l, Value z, DType type) {
    Value x = l.apply(new Cast(type), z);
    return config.network == Kind.MLP ? decodeDense(l, x) : decodeImage(l, x);
  }

  private Value encodeDense(Layers l, Value x) {
    int size = config.height * config.width * config.channels;
    Value h = hidden(l, "encoder", l.reshape(x, 1, 1, size), size);
    return head(l, h, hiddenSize(size));
  }

  private Value decodeDense(Layers l, Value z) {
    int size = config.height * config.width * outputs * config.channels;
    Value h = hidden(l, "decoder", z, latentSize);
    h = l.dense("decoder.last", h, hiddenSize(latentSize), size, 0.1, DType.F32);
    return l.reshape(h, config.height, config.width, outputs * config.channels);
  }

  private int hiddenSize(int input) {
    return config.depth == 0 ? input : config.filters;
  }

  private Value hidden(Layers l, String part, Value x, int size) {
    Value h = x;
    for (int i = 0; i < config.depth; i++) {
      int in = i == 0 ? size : config.filters;
      h = l.apply(new Relu(), l.dense(part + ".layers." + i, h, in, config.filters, 2, null));
    }
    return h;
  }

  private Value encodeImage(Layers l, Value x) {
    Value h = maps().encode(l, x);
    int size = maps().bottom();
    return head(l, l.reshape(h, 1, 1, size), size);
  }

  /** In f32: densities of latents are made of it. */
  private Value head(Layers l, Value x, int size) {
    return l.dense("encoder.head", x, size, headSize, 0.1, DType.F32);
  }

  private Value decodeImage(Layers l, Value z) {
    ImageMaps maps = maps();
    Value h = l.dense("decoder.first", z, latentSize, maps.bottom(), 1, null);
    h = l.reshape(h, maps.bottomHeight(), maps.bottomWidth(), maps.bottomChannels());
    return maps.decode(l, h, outputs * config.channels);
  }

  private ImageMaps maps() {
    return new ImageMaps(config.shape(), config.filters, config.depth);
  }
}
