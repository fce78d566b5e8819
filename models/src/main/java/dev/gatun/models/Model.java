package dev.gatun.models;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import java.util.List;

/** A generative model of images: its configuration, its parameters, its loss. It owns no memory. */
public interface Model {
  /** Looks up a parameter's value in the graph being built. */
  @FunctionalInterface
  interface Weights {
    Value get(String name);
  }

  /** As on the command line and in config.json: {@code gated-pixelcnn}. */
  String name();

  /** A record of the hyper-parameters, as config.json holds them. */
  Record config();

  List<ParameterSpec> parameters();

  /** The images it models: [height, width, channels], u8 below {@link #levels}. */
  ImageShape imageShape();

  int levels();

  /** Classes whose labels the model is given; 0 where it is given none. */
  int classes();

  /**
   * What a network is applied to.
   *
   * @param images [N,H,W,C] u8
   * @param labels [N] u8, below {@link Model#classes}; null where there are none
   * @param type dtype of activations
   * @param training null outside of training
   */
  record Input(Value images, Value labels, DType type, Training training) {}

  /**
   * What differs in training.
   *
   * @param step [1] f64, how many steps were done: dropout draws anew at each
   * @param seed of dropout
   */
  record Training(Value step, long seed) {}

  /**
   * The negative log-likelihood.
   *
   * @return nats
   */
  Nats nats(Graph graph, Weights weights, Input input);

  /**
   * Fits freshly drawn parameters to data, before the first step; most models have nothing to do.
   *
   * @param images [N,H,W,C]
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
