package dev.gatun.models.vae;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Program;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.Cast;
import dev.gatun.engine.op.CodeVectors;
import dev.gatun.engine.op.Codebook;
import dev.gatun.engine.op.CodebookSums;
import dev.gatun.engine.op.Fill;
import dev.gatun.engine.op.Reshape;
import dev.gatun.engine.op.ScalePixels;
import dev.gatun.engine.op.SquaredError;
import dev.gatun.engine.op.SumPixels;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.op.VectorQuantize;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.BoundedModel;
import dev.gatun.models.WeightedNats;
import dev.gatun.models.pixelcnn.GatedPixelCnn;
import java.util.ArrayList;
import java.util.List;

/**
 * An image as a small map of codes out of a codebook, and a PixelCNN that knows how such maps are
 * distributed. The codebook follows the encoder by moving averages; the encoder is told of the
 * decoder's wishes straight through the quantization. The prior learns beside them, from the codes
 * as they are at each step: no gradient of it reaches the encoder.
 *
 * <p>Letters: N images, h x w codes an image, a quarter of its height and width; D numbers of a
 * code, K codes.
 *
 * @see "van den Oord et al. 2017, Neural Discrete Representation Learning, section 3 and appendix
 *     A.1"
 */
public final class VqVae implements CodingModel, BoundedModel {
  private static final String NAME = "vq-vae";
  private static final String STATE =
      "codebook.state"; // moving sums, and counts in the last column
  private static final String PRIOR = "prior.";
  private static final double EPSILON = 1e-5;

  /**
   * Hyper-parameters.
   *
   * @param filters channels at half the resolution
   * @param depth residual blocks at each resolution
   * @param likelihood of a pixel
   * @param codes K, 2 to 256
   * @param codeChannels D
   * @param commitment weight of the distance between what the encoder says and its code
   * @param codebookDecay of the moving averages
   * @param priorFilters of the prior's stacks
   * @param priorLayers of the prior
   */
  public record Config(
      int height,
      int width,
      int channels,
      int filters,
      int depth,
      Pixels likelihood,
      int codes,
      int codeChannels,
      double commitment,
      double codebookDecay,
      int priorFilters,
      int priorLayers) {
    public Config {
      new ImageMaps(new ImageShape(height, width, channels), filters, depth); // or refuses
      require(
          likelihood != Pixels.SQUARED,
          "squared is for autoencoders: the likelihood is bernoulli, gaussian or logistic");
      require(codes >= 2 && codes <= 256, "codes must be 2 to 256, not " + codes);
      require(codeChannels > 0, "codeChannels must be positive");
      require(commitment >= 0, "commitment must not be negative");
      require(codebookDecay >= 0 && codebookDecay < 1, "codebookDecay must be in [0,1)");
    }

    private ImageMaps maps() {
      return new ImageMaps(new ImageShape(height, width, channels), filters, depth);
    }

    private static void require(boolean condition, String message) {
      if (!condition) {
        throw new IllegalArgumentException(message);
      }
    }

    int codeHeight() {
      return maps().bottomHeight();
    }

    int codeWidth() {
      return maps().bottomWidth();
    }

    int places() {
      return codeHeight() * codeWidth();
    }
  }

  private final Config config;
  private final GatedPixelCnn prior;

  public VqVae(Config config) {
    this.config = config;
    prior =
        new GatedPixelCnn(
            new GatedPixelCnn.Config(
                config.codeHeight(),
                config.codeWidth(),
                1,
                config.codes,
                0,
                config.priorFilters,
                config.priorLayers,
                5,
                3,
                2 * config.priorFilters));
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
  public Pixels pixels() {
    return config.likelihood;
  }

  /** What draws the codes. */
  public GatedPixelCnn prior() {
    return prior;
  }

  /** The prior's part of the weights; the caller closes it. */
  public Parameters priorWeights(Device device, Parameters weights) {
    Parameters own = new Parameters(device, prior.parameters());
    try {
      for (ParameterSpec spec : prior.parameters()) {
        own.get(spec.name()).write(weights.get(PRIOR + spec.name()).toFloats());
      }
      return own;
    } catch (RuntimeException | Error e) {
      own.close();
      throw e;
    }
  }

  @Override
  public List<ParameterSpec> encoderParameters() {
    Layers layers = Layers.declared();
    encode(layers, null);
    return layers.parameters();
  }

  @Override
  public List<ParameterSpec> parameters() {
    Layers layers = Layers.declared();
    encode(layers, null);
    decode(layers, null);
    List<ParameterSpec> all = new ArrayList<>(layers.parameters());
    all.add(
        new ParameterSpec(
            STATE,
            Shape.of(config.codes, config.codeChannels + 1),
            new ParameterSpec.Init.Constant(1)));
    for (ParameterSpec spec : prior.parameters()) {
      all.add(new ParameterSpec(PRIOR + spec.name(), spec.shape(), spec.init()));
    }
    return all;
  }

  @Override
  public List<Statistic> statistics() {
    return List.of(new Statistic(STATE, config.codebookDecay));
  }

  @Override
  public ImageShape imageShape() {
    return new ImageShape(config.height, config.width, config.channels);
  }

  @Override
  public int levels() {
    return VaeNetwork.LEVELS;
  }

  @Override
  public int classes() {
    return 0;
  }

  @Override
  public Objective objective() {
    return config.likelihood == Pixels.LOGISTIC ? Objective.BITS_PER_DIM : Objective.NATS;
  }

  /** The bound and what is not of it: the commitment. */
  @Override
  public double reported(double loss) {
    return loss / natsOfUnit();
  }

  private ImageMaps maps() {
    return config.maps();
  }

  private Value encode(Layers l, Value x) {
    int channels = maps().bottomChannels();
    Value h = maps().encode(l, x);
    // in f32: gradients of what is made of it are, too
    h = l.apply(new Cast(DType.F32), h);
    return l.conv("encoder.head", Taps.point(), 1, h, channels, config.codeChannels, 1, null, null);
  }

  private Value decode(Layers l, Value z) {
    Value h = l.conv3("decoder.first", z, config.codeChannels, maps().bottomChannels());
    return maps().decode(l, h, config.likelihood.parameters() * config.channels);
  }

  /**
   * An image's codes.
   *
   * @param said what the encoder says, [N,h,w,D] f32
   * @param quantized like it: for each place the code's numbers
   * @param indices [N,h,w,1] u8
   */
  private record Codes(Value said, Value quantized, Value indices) {}

  private Codes codes(Graph g, Weights w, Value images, DType type) {
    Value said = encode(Layers.in(g, w), g.apply(new ScalePixels(VaeNetwork.LEVELS, type), images));
    List<Value> quantized = g.apply(new VectorQuantize(), List.of(said, codebook(g, w)));
    return new Codes(said, quantized.get(0), quantized.get(1));
  }

  private Value codebook(Graph g, Weights w) {
    return g.apply(new Codebook(EPSILON), w.get(STATE));
  }

  private Value decoded(Graph g, Weights w, Value quantized, DType type) {
    return decode(Layers.in(g, w), g.apply(new Cast(type), quantized));
  }

  /** Nats of each place's code, the mean over all of them, and for each. */
  private Nats priorNats(Graph g, Weights w, Value indices, DType type) {
    return prior.nats(g, name -> w.get(PRIOR + name), new Input(indices, null, type, null));
  }

  /** Equation 3 with appendix A.1's codebook, and the prior's loss: nats of an image. */
  @Override
  public Value loss(Graph g, Weights w, Input input) {
    Codes codes = codes(g, w, input.images(), input.type());
    int images = input.images().shape().dim(0);
    Value said = decoded(g, w, codes.quantized, input.type());
    Value nats = g.apply(config.likelihood.nats(input.type()), said, input.images());
    Value mean = WeightedNats.of(nats, 1).mean(g);
    // the error is a mean over an image's numbers: made a sum
    float weight = (float) (config.commitment * config.places() * config.codeChannels);
    Value commitment =
        g.apply(
            new SquaredError(),
            codes.said,
            codes.quantized,
            g.apply(new Fill(TensorSpec.of(DType.F32, images), weight)));
    input
        .training()
        .observe(STATE, g.apply(new CodebookSums(config.codes), codes.said, codes.indices));
    Value ofCodes = // a mean over all places: made that of an image
        WeightedNats.of(priorNats(g, w, codes.indices, input.type()).mean(), config.places())
            .mean(g);
    return g.apply(new Add(), g.apply(new Add(), mean, commitment), ofCodes);
  }

  @Override
  public int mostSamples() {
    return 1;
  }

  @Override
  public WeightedNats weighted(
      Graph g, Weights w, Input input, Value step, long seed, int samples) {
    int images = input.images().shape().dim(0);
    Codes codes = codes(g, w, input.images(), input.type());
    Value said = decoded(g, w, codes.quantized, input.type());
    Value nats = g.apply(config.likelihood.nats(input.type()), said, input.images());
    Value places = priorNats(g, w, codes.indices, input.type()).terms();
    Value map = g.apply(new Reshape(images, config.codeHeight(), config.codeWidth(), 1), places);
    Value ofCodes = g.apply(new Reshape(images), g.apply(new SumPixels(), map));
    return WeightedNats.of(nats, 1).plus(WeightedNats.of(ofCodes, 1));
  }

  /** The codebook begins as what the encoder says of places of images. */
  @Override
  public void initialize(Device device, Parameters weights, byte[] images, byte[] labels) {
    int count = images.length / imageShape().dimensions();
    float[] said;
    try (Tensor batch =
        Tensor.allocate(device, DType.U8, count, config.height, config.width, config.channels)) {
      batch.write(images);
      Graph g = new Graph();
      Weights w = name -> g.bind(weights.get(name));
      Value x = g.apply(new ScalePixels(VaeNetwork.LEVELS, DType.F32), g.bind(batch));
      Value head = encode(Layers.in(g, w), x);
      try (Program program = g.compile(device, head)) {
        program.run();
        said = program.tensor(head).toFloats();
      }
    }
    int d = config.codeChannels;
    int places = said.length / d;
    float[] state = new float[config.codes * (d + 1)];
    Philox philox = new Philox(0);
    int[] order = philox.permutation(places, Philox.Stream.INIT, 0);
    for (int k = 0; k < config.codes; k++) {
      for (int i = 0; i < d; i++) {
        // more codes than places: those that would be alike are moved apart
        double apart = k < places ? 0 : 0.1 * philox.normal(Philox.Stream.INIT, 1, k * d + i);
        state[k * (d + 1) + i] = said[order[k % places] * d + i] + (float) apart;
      }
      state[k * (d + 1) + d] = 1;
    }
    weights.get(STATE).write(state);
  }

  @Override
  public int features() {
    return config.places() * config.codeChannels;
  }

  @Override
  public int latentSize() {
    return features();
  }

  @Override
  public Value encode(Graph g, Weights w, Input input) {
    Codes codes = codes(g, w, input.images(), input.type());
    return g.apply(new Reshape(codes.said.shape().dim(0), features()), codes.quantized);
  }

  @Override
  public Value code(Graph g, Weights w, Input input, Value step) {
    Codes codes = codes(g, w, input.images(), input.type());
    return g.apply(new Reshape(codes.said.shape().dim(0), 1, 1, features()), codes.quantized);
  }

  @Override
  public Value decode(Graph g, Weights w, Value z, DType type) {
    Value map =
        g.apply(
            new Reshape(
                z.shape().dim(0), config.codeHeight(), config.codeWidth(), config.codeChannels),
            z);
    return decoded(g, w, map, type);
  }

  /**
   * What the decoder says of codes.
   *
   * @param indices [M,h,w,1] u8
   * @return [M,H,W,P*C] f32
   */
  public Value decodeIndices(Graph g, Weights w, Value indices, DType type) {
    return decode(Layers.in(g, w), g.apply(new CodeVectors(type), indices, codebook(g, w)));
  }
}
