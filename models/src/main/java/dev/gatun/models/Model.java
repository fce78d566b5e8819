package dev.gatun.models;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Value;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A model of images: its configuration, its parameters, its loss. It owns no memory. */
public interface Model {
  /** Looks up a parameter's value, or a constant's, in the graph being built. */
  @FunctionalInterface
  interface Weights {
    Value get(String name);
  }

  /** As on the command line and in config.json: {@code gated-pixelcnn}. */
  String name();

  /** A record of the hyper-parameters, as config.json holds them. */
  Record config();

  List<ParameterSpec> parameters();

  /** The images it models: [height, width, channels], below {@link #levels} where they are u8. */
  ImageShape imageShape();

  int levels();

  /** Of what it models: u8 for images; f32 for points of a plane or a space. */
  default DType dataType() {
    return DType.U8;
  }

  /** Classes whose labels the model is given; 0 where it is given none. */
  int classes();

  /**
   * The share of training images whose label is withheld; they have the label {@link #classes}.
   *
   * @see "Ho and Salimans 2021, Classifier-Free Diffusion Guidance, algorithm 1"
   */
  default double labelDropout() {
    return 0;
  }

  /** What the model is shown of the image that it is to make. */
  default Condition condition() {
    return Condition.NONE;
  }

  /** Tables that the loss reads and no training changes. */
  default List<Constant> constants() {
    return List.of();
  }

  /** A table [..] f32 that is looked up by name as parameters are. */
  record Constant(String name, Shape shape, float[] values) {}

  /**
   * Those of {@link #parameters} that no gradient moves: they follow, step by step, what {@link
   * Training#observe} is told of the batch.
   */
  default List<Statistic> statistics() {
    return List.of();
  }

  /**
   * A moving average of something that is a sum over a batch.
   *
   * @param name of the parameter
   * @param decay what is kept of it at each step
   */
  record Statistic(String name, double decay) {}

  /**
   * What a network is applied to.
   *
   * @param images [N,H,W,C] u8, or {@link Model#dataType}
   * @param labels [N] u8, up to {@link Model#classes}; null where there are none
   * @param condition [N,H,W,D] u8, as {@link Model#condition} says; null where there is none
   * @param type dtype of activations
   * @param training null outside of training
   */
  record Input(Value images, Value labels, Value condition, DType type, Training training) {
    /** Without a condition. */
    public Input(Value images, Value labels, DType type, Training training) {
      this(images, labels, null, type, training);
    }
  }

  /**
   * What differs in training.
   *
   * @param step [1] f64, how many steps were done: what is random is drawn anew at each
   * @param seed of what is random
   * @param first number of the first image in its batch, which a lane may have a part of
   * @param observed what was observed of the batch by the names of {@link Model#statistics}
   */
  record Training(Value step, long seed, int first, Map<String, Value> observed) {
    /** For a model that observes nothing. */
    public Training(Value step, long seed, int first) {
      this(step, seed, first, new HashMap<>());
    }

    /**
     * Says what a statistic is of these images.
     *
     * @param sum over these images, of the parameter's shape, f32
     */
    public void observe(String statistic, Value sum) {
      observed.put(statistic, sum);
    }

    /** A seed of dropout: what is dropped of one part has nothing to do with another's. */
    public long dropoutSeed() {
      return seed + first * 0x9E3779B97F4A7C15L;
    }
  }

  /** What training minimizes, and how people read it. */
  Objective objective();

  /** What people are told of a {@link #loss}. */
  default double reported(double loss) {
    return objective().of(loss);
  }

  /** What a loss is a measure of. */
  enum Objective {
    /** A negative log-likelihood, the mean of all dimensions. */
    BITS_PER_DIM("bitsPerDim", "bits/dim", 1 / Math.log(2)),
    /** A negative log-likelihood of an image or a point, or a bound of it. */
    NATS("nats", "nats", 1),
    /** A number that falls, to be compared with that of the same model alone. */
    LOSS("loss", "loss", 1);

    private final String key;
    private final String unit;
    private final double scale;

    Objective(String key, String unit, double scale) {
      this.key = key;
      this.unit = unit;
      this.scale = scale;
    }

    /** As in JSON. */
    public String key() {
      return key;
    }

    /** As people read it. */
    public String unit() {
      return unit;
    }

    /** What is reported, of what {@link Model#loss} is. */
    public double of(double loss) {
      return scale * loss;
    }
  }

  /**
   * What training minimizes.
   *
   * @param input with {@link Training}
   * @return [1] f32, the mean over the images; nats a dimension where it is a likelihood
   */
  Value loss(Graph graph, Weights weights, Input input);

  /**
   * Fits freshly drawn parameters to data, before the first step; most models have nothing to do.
   *
   * @param images [N,H,W,C], the bytes of a batch
   * @param labels [N]; null where the model has no classes
   */
  default void initialize(Device device, Parameters weights, byte[] images, byte[] labels) {}

  /**
   * A negative log-likelihood in nats.
   *
   * @param mean over all dimensions of all images, [1] f32: what training minimizes
   * @param terms any shape, f32, as many for each image: they sum to the whole
   */
  record Nats(Value mean, Value terms) {}

  /** Extents of one image. */
  record ImageShape(int height, int width, int channels) {
    public int dimensions() {
      return height * width * channels;
    }

    @Override
    public String toString() {
      return height + "x" + width + "x" + channels;
    }
  }
}
