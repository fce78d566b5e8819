package dev.gatun.engine.train;

import dev.gatun.engine.Shape;

/** A trainable tensor before there is memory: its name in checkpoints, its shape, how it starts. */
public record ParameterSpec(String name, Shape shape, Init init) {
  /** How a parameter starts. */
  public sealed interface Init {
    /** Normal with mean 0. */
    record Normal(double deviation) implements Init {}

    /** All elements the same. */
    record Constant(float value) implements Init {}
  }

  /** Convolution weights [T,C,K] with variance gain / (T*C), so that outputs keep their scale. */
  public static ParameterSpec weights(
      String name, int taps, int channels, int filters, double gain) {
    return new ParameterSpec(
        name,
        Shape.of(taps, channels, filters),
        new Init.Normal(Math.sqrt(gain / ((double) taps * channels))));
  }

  /**
   * A table [L,K], one row for each class.
   *
   * @param deviation of its normal distribution
   */
  public static ParameterSpec table(String name, int classes, int filters, double deviation) {
    return new ParameterSpec(name, Shape.of(classes, filters), new Init.Normal(deviation));
  }

  /** A vector [K] of zeros. */
  public static ParameterSpec bias(String name, int filters) {
    return new ParameterSpec(name, Shape.of(filters), new Init.Constant(0));
  }
}
