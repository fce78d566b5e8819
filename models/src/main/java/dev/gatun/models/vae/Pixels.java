package dev.gatun.models.vae;

import dev.gatun.engine.DType;
import dev.gatun.engine.op.ImageLikelihood;
import java.util.Locale;

/**
 * How pixels are distributed, given what a decoder says of them: independently of each other.
 *
 * @see "Kingma and Welling 2014, Auto-Encoding Variational Bayes, appendix C"
 */
public enum Pixels {
  /**
   * Black or white, by a logit; of grey values the cross-entropy, which is no likelihood of them.
   */
  BERNOULLI(ImageLikelihood.Kind.BERNOULLI, 1),
  /** Around a mean, with a variance: a density, in [-1,1]. */
  GAUSSIAN(ImageLikelihood.Kind.GAUSSIAN, 2),
  /** Around a mean, by half the squared error, in [-1,1]: for autoencoders, not a likelihood. */
  SQUARED(ImageLikelihood.Kind.SQUARED, 1),
  /** One of 256 levels, by a discretized logistic distribution: a likelihood, in bits/dim. */
  LOGISTIC(ImageLikelihood.Kind.LOGISTIC, 2);

  private final ImageLikelihood.Kind kind;
  private final int parameters;

  Pixels(ImageLikelihood.Kind kind, int parameters) {
    this.kind = kind;
    this.parameters = parameters;
  }

  /** P: numbers for a colour of a pixel, in as many blocks of channels. */
  int parameters() {
    return parameters;
  }

  ImageLikelihood nats(DType gradientType) {
    return new ImageLikelihood(kind, VaeNetwork.LEVELS, gradientType);
  }

  /** What a colour most nearly is, in [-1,1], or as a point's coordinate. */
  double mean(double first, double second) {
    return switch (this) {
      case BERNOULLI -> 2 / (1 + Math.exp(-first)) - 1;
      case GAUSSIAN, SQUARED, LOGISTIC -> first;
    };
  }

  /**
   * A draw, by numbers that are uniform in (0,1) and normal.
   *
   * @param second log-variance or log-scale; not looked at where there is none
   */
  double draw(double first, double second, double uniform, double normal) {
    return switch (this) {
      case BERNOULLI -> uniform < 1 / (1 + Math.exp(-first)) ? 1 : -1;
      case GAUSSIAN -> first + Math.exp(second / 2) * normal;
      case SQUARED -> first;
      case LOGISTIC -> {
        double scale = Math.exp(Math.max(-7, second));
        yield first + scale * (Math.log(uniform) - Math.log1p(-uniform));
      }
    };
  }

  @Override
  public String toString() {
    return name().toLowerCase(Locale.ROOT);
  }
}
