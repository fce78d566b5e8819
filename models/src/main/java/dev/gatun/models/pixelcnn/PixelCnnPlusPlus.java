package dev.gatun.models.pixelcnn;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.ConcatElu;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Conv2dBackwardData;
import dev.gatun.engine.op.Dropout;
import dev.gatun.engine.op.Elu;
import dev.gatun.engine.op.Gate;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Shift;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.op.WeightNorm;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * PixelCNN++: two streams of gated residual blocks, one that sees the rows above and one that sees
 * the row to the left too, at several resolutions with short-cuts between the way down and the way
 * up, and a discretized mixture of logistics for each pixel.
 *
 * <p>Where the paper concatenates two short-cuts before a 1x1 convolution, here each has a 1x1
 * convolution of its own and they are added: the same functions, without the copy.
 *
 * <p>Letters: N images, H rows, W columns, F {@code filters}.
 *
 * @see "Salimans et al. 2017, PixelCNN++, section 2, figure 2, and its reference code"
 */
public final class PixelCnnPlusPlus implements PixelModel {
  private static final String NAME = "pixelcnn++";

  /** Of the second convolution of a block: blocks start close to the identity. */
  private static final double BLOCK_SCALE = 0.1;

  /**
   * Hyper-parameters.
   *
   * @param channels colours of a pixel, 1 or 3
   * @param levels values a colour can take
   * @param classes labels the model is given; 0 for none
   * @param filters channels of each stream
   * @param resnets blocks at each resolution on the way down, one more on the way up
   * @param mixtures logistic distributions a pixel
   * @param resolutions each half the one before
   * @param dropout share of features that training drops inside a block
   */
  public record Config(
      int height,
      int width,
      int channels,
      int levels,
      int classes,
      int filters,
      int resnets,
      int mixtures,
      int resolutions,
      double dropout)
      implements PixelConfig {
    public Config {
      Require.images(NAME, height, width, channels, levels, classes);
      Require.that(filters > 0, NAME, "filters must be positive");
      Require.that(resnets > 0, NAME, "resnets must be positive");
      Require.that(mixtures > 0 && mixtures <= 256, NAME, "mixtures must be 1 to 256");
      Require.that(resolutions > 0 && resolutions <= 8, NAME, "resolutions must be 1 to 8");
      Require.that(dropout >= 0 && dropout < 1, NAME, "dropout must be in [0,1)");
    }
  }

  // down-shifted: nothing below; down-right-shifted: nothing to the right either
  private static final Taps DOWN = Taps.rectangle(-1, 0, -1, 1);
  private static final Taps DOWN_RIGHT = Taps.rectangle(-1, 0, -1, 0);
  // of transposed convolutions, seen from the larger image
  private static final Taps UP_DOWN = Taps.rectangle(0, 1, -1, 1);
  private static final Taps UP_DOWN_RIGHT = Taps.rectangle(0, 1, 0, 1);
  private static final Taps ROW = Taps.rectangle(0, 0, -1, 1);
  private static final Taps COLUMN = Taps.rectangle(-1, 0, 0, 0);

  private final Config config;

  public PixelCnnPlusPlus(Config config) {
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
  public PixelConfig images() {
    return config;
  }

  @Override
  public LogisticMixtures likelihood() {
    return new LogisticMixtures(config.mixtures, config.levels, config.channels);
  }

  @Override
  public List<ParameterSpec> parameters() {
    Declared declared = new Declared();
    new Network(declared, null).parameters();
    return declared.specs;
  }

  @Override
  public Value parameters(Graph graph, Weights weights, Input input) {
    return new Network(new Applied(graph, weights, input), input).parameters();
  }

  // ------------------------------------------------------------------ layers

  /** A layer's convolution: where its weights are, and how it starts. */
  private record Layer(
      String name, Taps taps, int stride, boolean transposed, int in, int out, double scale) {
    /** Weights of a transposed convolution are those of the convolution it transposes. */
    Shape weights() {
      return transposed ? Shape.of(taps.count(), out, in) : Shape.of(taps.count(), in, out);
    }
  }

  /** What a network is written in: once to list its parameters, once to apply them. */
  private interface Layers {
    /** A weight-normalized convolution of x, plus the addend where there is one. */
    Value conv(Layer layer, Value x, Value addend, DType outputType, Shape outputShape);

    /** Adds what the label says. */
    Value given(String name, int channels, Value x);

    /** The result of an op without parameters. */
    Value apply(Op op, Value... inputs);
  }

  /** Lists the parameters; values are null. */
  private final class Declared implements Layers {
    final List<ParameterSpec> specs = new ArrayList<>();

    @Override
    public Value conv(Layer layer, Value x, Value addend, DType outputType, Shape outputShape) {
      specs.add(
          new ParameterSpec(
              layer.name + ".v", layer.weights(), new ParameterSpec.Init.Normal(0.05)));
      specs.add(
          new ParameterSpec(
              layer.name + ".g",
              Shape.of(layer.out),
              new ParameterSpec.Init.Constant((float) layer.scale)));
      specs.add(
          layer.transposed
              ? new ParameterSpec(
                  layer.name + ".b", Shape.of(1, layer.out), new ParameterSpec.Init.Constant(0))
              : ParameterSpec.bias(layer.name + ".b", layer.out));
      return null;
    }

    @Override
    public Value given(String name, int channels, Value x) {
      if (config.classes > 0) {
        specs.add(ParameterSpec.table(name + ".class", config.classes, channels, 0.05));
      }
      return null;
    }

    @Override
    public Value apply(Op op, Value... inputs) {
      return null;
    }
  }

  /** Applies the layers in a graph. */
  private class Applied implements Layers {
    final Graph g;
    final Weights w;
    final Input in;

    Applied(Graph g, Weights w, Input in) {
      this.g = g;
      this.w = w;
      this.in = in;
    }

    @Override
    public Value apply(Op op, Value... inputs) {
      return g.apply(op, inputs);
    }

    @Override
    public Value conv(Layer layer, Value x, Value addend, DType outputType, Shape outputShape) {
      Value weights =
          apply(
              new WeightNorm(layer.transposed ? 1 : 2),
              w.get(layer.name + ".v"),
              w.get(layer.name + ".g"));
      Conv2d conv = new Conv2d(layer.taps, layer.stride, layer.stride, outputType);
      Value bias = w.get(layer.name + ".b");
      if (layer.transposed) {
        Value y = apply(new Conv2dBackwardData(conv, outputShape), weights, x);
        return apply(new AddBias(), y, bias);
      }
      return addend == null ? apply(conv, x, weights, bias) : apply(conv, x, weights, bias, addend);
    }

    @Override
    public Value given(String name, int channels, Value x) {
      return config.classes == 0 ? x : apply(new AddBias(), x, w.get(name + ".class"), in.labels());
    }
  }

  // ------------------------------------------------------------------ the network

  /** The network as figure 2 of the paper has it: u sees the rows above, ul the row too. */
  private final class Network {
    private final Layers layers;
    private final Input in;
    private final int f = config.filters;
    private final Map<Value, Value> activated = new IdentityHashMap<>();
    private int dropouts;

    /**
     * @param in null where only the parameters are asked for
     */
    Network(Layers layers, Input in) {
      this.layers = layers;
      this.in = in;
    }

    /** [N,H,W,C+1], with a channel of ones. */
    private Value pixels() {
      return in == null
          ? null
          : layers.apply(new NormalizePixels(config.levels, in.type()), in.images());
    }

    /** Several layers read the same features: they are activated once. */
    private Value concatElu(Value x) {
      return activated.computeIfAbsent(x, v -> layers.apply(new ConcatElu(), v));
    }

    private Value drop(Value x) {
      if (in == null || in.training() == null || config.dropout == 0) {
        return x;
      }
      Dropout dropout = new Dropout(config.dropout, in.training().dropoutSeed(), dropouts++);
      return layers.apply(dropout, x, in.training().step());
    }

    private Value shift(int rows, int columns, Value x) {
      return layers.apply(new Shift(rows, columns), x);
    }

    private Value conv(
        String name, Taps taps, int stride, int in, int out, double scale, Value x, Value addend) {
      Layer layer = new Layer(name, taps, stride, false, in, out, scale);
      return layers.conv(layer, x, addend, null, null);
    }

    /** x + a gated function of x and of other features at the same place, [N,h,w,F]. */
    private Value resnet(String name, Taps taps, Value x, Value... others) {
      Value c1 = conv(name + ".conv1", taps, 1, 2 * f, f, 1, concatElu(x), null);
      for (int i = 0; i < others.length; i++) {
        Value other = concatElu(others[i]);
        c1 = conv(name + ".skip" + i, Taps.point(), 1, 2 * f, f, 1, other, c1);
      }
      Value c2 = drop(concatElu(c1));
      c2 = conv(name + ".conv2", taps, 1, 2 * f, 2 * f, BLOCK_SCALE, c2, null);
      Gate gate = new Gate(Gate.Kind.LINEAR, 1);
      return layers.apply(gate, layers.given(name, 2 * f, c2), x);
    }

    private Value down(String name, Taps taps, Value x) {
      return conv(name, taps, 2, f, f, 1, x, null);
    }

    private Value up(String name, Taps taps, Value x, int resolution) {
      int images = in == null ? 1 : in.images().shape().dim(0);
      Shape shape =
          Shape.of(images, side(config.height, resolution), side(config.width, resolution), f);
      return layers.conv(new Layer(name, taps, 2, true, f, f, 1), x, null, null, shape);
    }

    private static int side(int side, int resolution) {
      for (int i = 0; i < resolution; i++) {
        side = (side + 1) / 2;
      }
      return side;
    }

    /** [N,H,W,P] f32. */
    Value parameters() {
      int c = config.channels + 1; // and a channel of ones
      // normalized twice: one copy is read by whole rows, the other pixel by pixel
      Value rows = pixels();
      Value pixels = pixels();
      List<Value> us = new ArrayList<>();
      List<Value> uls = new ArrayList<>();
      us.add(shift(1, 0, conv("first.u", DOWN, 1, c, f, 1, rows, null)));
      uls.add(
          layers.apply(
              new Add(),
              shift(1, 0, conv("first.above", ROW, 1, c, f, 1, rows, null)),
              shift(0, 1, conv("first.left", COLUMN, 1, c, f, 1, pixels, null))));
      for (int s = 0; s < config.resolutions; s++) {
        for (int r = 0; r < config.resnets; r++) {
          String block = "down." + s + "." + r;
          us.add(resnet(block + ".u", DOWN, us.getLast()));
          uls.add(resnet(block + ".ul", DOWN_RIGHT, uls.getLast(), us.getLast()));
        }
        if (s < config.resolutions - 1) {
          us.add(down("down." + s + ".u", DOWN, us.getLast()));
          uls.add(down("down." + s + ".ul", DOWN_RIGHT, uls.getLast()));
        }
      }
      Value u = us.removeLast();
      Value ul = uls.removeLast();
      for (int s = config.resolutions - 1; s >= 0; s--) {
        int blocks = s == config.resolutions - 1 ? config.resnets : config.resnets + 1;
        for (int r = 0; r < blocks; r++) {
          String block = "up." + s + "." + r;
          u = resnet(block + ".u", DOWN, u, us.removeLast());
          ul = resnet(block + ".ul", DOWN_RIGHT, ul, u, uls.removeLast());
        }
        if (s > 0) {
          u = up("up." + s + ".u", UP_DOWN, u, s - 1);
          ul = up("up." + s + ".ul", UP_DOWN_RIGHT, ul, s - 1);
        }
      }
      Layer last = new Layer("out", Taps.point(), 1, false, f, likelihood().parameters(), 1);
      return layers.conv(last, layers.apply(new Elu(), ul), null, DType.F32, null);
    }
  }

  // ------------------------------------------------------------------ data-dependent
  // initialization

  /** Runs each op at once, and fits each convolution to what it is then given. */
  private final class Fitted extends Applied implements AutoCloseable {
    private final Device device;
    private final Parameters parameters;
    private final List<Tensor> results = new ArrayList<>();

    Fitted(Device device, Parameters parameters, Graph g, Input in) {
      super(g, name -> g.bind(parameters.get(name)), in);
      this.device = device;
      this.parameters = parameters;
    }

    @Override
    public Value apply(Op op, Value... inputs) {
      Tensor[] tensors = Arrays.stream(inputs).map(Value::bound).toArray(Tensor[]::new);
      List<Tensor> outputs = device.apply(op, tensors);
      results.addAll(outputs);
      return g.bind(outputs.getFirst());
    }

    @Override
    public Value conv(Layer layer, Value x, Value addend, DType outputType, Shape outputShape) {
      // without the bias, which is zero still, and the addend, which is not this layer's
      Value alone = super.conv(layer, x, null, outputType, outputShape);
      fit(layer, parameters, alone.bound().toFloats());
      // what the next layers read is made with the gain and the bias just set
      return super.conv(layer, x, addend, outputType, outputShape);
    }

    @Override
    public void close() {
      results.forEach(Tensor::close);
    }
  }

  /**
   * Sets gains and biases so that each convolution's outputs over the given images have mean 0 and
   * standard deviation {@code scale}; layer by layer, each given what those before it now compute.
   *
   * @see "Salimans and Kingma 2016, Weight Normalization, section 3"
   */
  @Override
  public void initialize(Device device, Parameters weights, byte[] images, byte[] labels) {
    int count = images.length / imageShape().dimensions();
    try (Tensor batch =
            Tensor.allocate(device, DType.U8, count, config.height, config.width, config.channels);
        Tensor classes = Tensor.allocate(device, DType.U8, count)) {
      batch.write(images);
      if (labels != null) {
        classes.write(labels);
      }
      Graph graph = new Graph();
      Input input = new Input(graph.bind(batch), graph.bind(classes), DType.F32, null);
      try (Fitted fitted = new Fitted(device, weights, graph, input)) {
        new Network(fitted, input).parameters();
      }
    }
  }

  private static void fit(Layer layer, Parameters weights, float[] outputs) {
    int n = layer.out;
    int rows = outputs.length / n;
    float[] gain = weights.get(layer.name + ".g").toFloats();
    float[] bias = new float[n];
    for (int k = 0; k < n; k++) {
      double mean = 0;
      double square = 0;
      for (int i = k; i < outputs.length; i += n) {
        mean += outputs[i];
        square += (double) outputs[i] * outputs[i];
      }
      mean /= rows;
      double variance = Math.max(0, square / rows - mean * mean);
      // features that see nothing, as in a corner of a small image, are constant: nothing to scale
      boolean constant = variance <= 1e-10 * square / rows;
      // outputs were made with the gain as it was drawn, so it is scaled and not replaced
      double factor = constant ? 1 : layer.scale / Math.sqrt(variance + 1e-10);
      gain[k] *= (float) factor;
      bias[k] = (float) (-mean * factor);
    }
    weights.get(layer.name + ".g").write(gain);
    weights.get(layer.name + ".b").write(bias);
  }
}
