package dev.gatun.models.diffusion;

import java.util.Locale;

/**
 * What a network says of x = alpha p + sigma e, of which it does not know the image p nor the noise
 * e: target = c p + d e.
 */
public enum Prediction {
  /** e itself. Ho et al. 2020, section 3.2. */
  NOISE,
  /** p itself. */
  IMAGE,
  /** alpha e - sigma p. Salimans and Ho 2022, Progressive Distillation, appendix D. */
  VELOCITY;

  /** As in a configuration. */
  public String label() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** c: the target's part of the image. */
  public double ofImage(double alpha, double sigma) {
    return switch (this) {
      case NOISE -> 0;
      case IMAGE -> 1;
      case VELOCITY -> -sigma;
    };
  }

  /** d: the target's part of the noise. */
  public double ofNoise(double alpha, double sigma) {
    return switch (this) {
      case NOISE -> 1;
      case IMAGE -> 0;
      case VELOCITY -> alpha;
    };
  }

  /** pX of {@code p = pX x + pF target}. */
  double fromNoisy(double alpha, double sigma) {
    return switch (this) {
      case NOISE -> 1 / alpha;
      case IMAGE -> 0;
      case VELOCITY -> alpha;
    };
  }

  /** pF of {@code p = pX x + pF target}. */
  double fromTarget(double alpha, double sigma) {
    return switch (this) {
      case NOISE -> -sigma / alpha;
      case IMAGE -> 1;
      case VELOCITY -> -sigma;
    };
  }

  /**
   * The weight of the squared error with which the image's would have min(SNR, most).
   *
   * @see "Hang et al. 2023, Efficient Diffusion Training via Min-SNR Weighting Strategy, section
   *     3.4"
   */
  public double minSnrWeight(double alpha, double sigma, double most) {
    double snr = alpha * alpha / (sigma * sigma);
    double kept = Math.min(snr, most);
    return switch (this) {
      case NOISE -> kept / snr;
      case IMAGE -> kept;
      case VELOCITY -> kept / (snr + 1);
    };
  }
}
