package dev.gatun.models.pixelcnn;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.PixelDistribution;
import dev.gatun.engine.Value;
import dev.gatun.models.Model.Nats;

/** The distribution of a pixel's colours, given what the network says of it. */
public interface Likelihood {
  /** The same for devices that draw pixels themselves. */
  PixelDistribution distribution();

  /** How many numbers the network gives for a pixel: P. */
  int parameters();

  /** Passes of the network for a pixel: 1, or C where each colour is drawn before the next. */
  int passes();

  /** Uniform numbers that one image's pixel is drawn with. */
  int uniforms();

  /**
   * The negative log-likelihood.
   *
   * @param parameters [N,H,W,P] f32
   * @param images [N,H,W,C] u8
   * @param gradientType of the parameters' gradient
   */
  Nats nats(Graph graph, Value parameters, Value images, DType gradientType);

  /** The k-th uniform number in [0,1) of the image's pixel that is being drawn. */
  @FunctionalInterface
  interface Uniforms {
    float get(int k);
  }

  /**
   * Draws the colours of one pass of one image's pixel by inverting their cumulative distributions.
   *
   * @param parameters P / passes of them from {@code offset} on
   * @param temperature below 1 is tamer, above 1 wilder
   * @param pixel its C colours from {@code at} on; those of earlier passes are there
   */
  void draw(
      float[] parameters,
      int offset,
      int pass,
      double temperature,
      Uniforms uniforms,
      byte[] pixel,
      int at);

  /** Throws unless a temperature is positive and finite. */
  static void requireTemperature(double temperature) {
    if (!(temperature > 0 && Double.isFinite(temperature))) {
      throw new IllegalArgumentException("temperature must be positive, not " + temperature);
    }
  }
}
