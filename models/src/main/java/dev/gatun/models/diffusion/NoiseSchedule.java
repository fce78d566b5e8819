package dev.gatun.models.diffusion;

/**
 * The forward process of a discrete-time diffusion model: x_t = alpha(t) x_0 + sigma(t) e, with
 * alpha^2 + sigma^2 = 1; t = 0 is the image itself, t = T as good as noise.
 *
 * @see "Ho et al. 2020, Denoising Diffusion Probabilistic Models, equation 4"
 */
public final class NoiseSchedule {
  /** How noise is added. */
  public enum Kind {
    /** {@link NoiseSchedule#linear}. */
    LINEAR,
    /** {@link NoiseSchedule#cosine}. */
    COSINE
  }

  private static final double MOST_BETA = 0.999;
  private static final double COSINE_OFFSET = 0.008;

  private final double[] alphaBar; // by t, from 0 on

  private NoiseSchedule(double[] alphaBar) {
    this.alphaBar = alphaBar;
  }

  /** The schedule of a kind. */
  public static NoiseSchedule of(Kind kind, int steps) {
    return switch (kind) {
      case LINEAR -> linear(steps);
      case COSINE -> cosine(steps);
    };
  }

  /**
   * beta from 1e-4 to 0.02 in 1,000 steps; in another number of them those that make the same of an
   * image.
   *
   * @see "Ho et al. 2020, section 4"
   */
  public static NoiseSchedule linear(int steps) {
    requireSteps(steps);
    double scale = 1000.0 / steps;
    double[] beta = new double[steps];
    for (int i = 0; i < steps; i++) {
      double part = steps == 1 ? 0 : (double) i / (steps - 1);
      beta[i] = Math.min(MOST_BETA, scale * (1e-4 + part * (0.02 - 1e-4)));
    }
    return ofBetas(beta);
  }

  /**
   * alpha falls as a squared cosine; beta at most 0.999.
   *
   * @see "Nichol and Dhariwal 2021, Improved Denoising Diffusion Probabilistic Models, section 3.2"
   */
  public static NoiseSchedule cosine(int steps) {
    requireSteps(steps);
    double[] beta = new double[steps];
    for (int i = 0; i < steps; i++) {
      double next = cosine((i + 1.0) / steps);
      beta[i] = Math.min(MOST_BETA, 1 - next / cosine((double) i / steps));
    }
    return ofBetas(beta);
  }

  private static double cosine(double part) {
    double c = Math.cos((part + COSINE_OFFSET) / (1 + COSINE_OFFSET) * Math.PI / 2);
    return c * c;
  }

  private static void requireSteps(int steps) {
    if (steps < 1) {
      throw new IllegalArgumentException("a noise schedule of " + steps + " steps: at least 1");
    }
  }

  /** From what each step adds of noise. */
  static NoiseSchedule ofBetas(double[] beta) {
    double[] alphaBar = new double[beta.length + 1];
    alphaBar[0] = 1;
    for (int i = 0; i < beta.length; i++) {
      alphaBar[i + 1] = alphaBar[i] * (1 - beta[i]);
    }
    return new NoiseSchedule(alphaBar);
  }

  /** T. */
  public int steps() {
    return alphaBar.length - 1;
  }

  /** alpha(t)^2, t from 0 to T. */
  public double alphaBar(int t) {
    return alphaBar[t];
  }

  /** What is left of the image. */
  public double alpha(int t) {
    return Math.sqrt(alphaBar[t]);
  }

  /** The noise's standard deviation. */
  public double sigma(int t) {
    return Math.sqrt(1 - alphaBar[t]);
  }
}
