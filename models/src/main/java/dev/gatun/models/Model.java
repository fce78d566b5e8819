package dev.gatun.models;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.engine.train.ParameterSpec;
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

  /**
   * The negative log-likelihood.
   *
   * @param images [N,H,W,C] u8
   * @param type dtype of activations
   * @return nats
   */
  Nats nats(Graph graph, Weights weights, Value images, DType type);

  /**
   * A negative log-likelihood in nats.
   *
   * @param mean over all dimensions of all images, [1] f32: what training minimizes
   * @param perDimension [N*H*W*C] f32
   */
  record Nats(Value mean, Value perDimension) {}

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
