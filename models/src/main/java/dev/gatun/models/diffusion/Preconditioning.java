package dev.gatun.models.diffusion;

import java.util.ArrayList;
import java.util.List;

/**
 * How EDM wraps a network: the noisy image is x = p + sigma e, and the denoised one D = skip x +
 * output F(input x, time), so that what the network is shown and is to say have variance 1 at every
 * sigma.
 *
 * @param sigmaData standard deviation of the images
 * @param sigmaMin of the last noisy image
 * @param sigmaMax of the first one
 * @param rho how sigmas lie between: evenly in sigma^(1/rho)
 * @see "Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models,
 *     table 1"
 */
public record Preconditioning(double sigmaData, double sigmaMin, double sigmaMax, double rho) {
  static final int MOST_STEPS = 10_000;

  /** The paper's. */
  public static final Preconditioning EDM = new Preconditioning(0.5, 0.002, 80, 7);

  public Preconditioning {
    if (!(sigmaData > 0 && sigmaMin > 0 && sigmaMax > sigmaMin && rho > 0)) {
      throw new IllegalArgumentException(
          "sigmaData, sigmaMin and rho must be positive, sigmaMax above sigmaMin");
    }
  }

  private double total(double sigma) {
    return sigma * sigma + sigmaData * sigmaData;
  }

  double skip(double sigma) {
    return sigmaData * sigmaData / total(sigma);
  }

  double output(double sigma) {
    return sigma * sigmaData / Math.sqrt(total(sigma));
  }

  double ofInput(double sigma) {
    return 1 / Math.sqrt(total(sigma));
  }

  /** What the network is told of sigma; of 0, after the last step, anything will do. */
  double time(double sigma) {
    return sigma == 0 ? 0 : Math.log(sigma) / 4;
  }

  /** A level of noise, as the network is asked there. */
  NoisePath.Level level(double sigma) {
    return new NoisePath.Level(1, sigma, skip(sigma), output(sigma), ofInput(sigma), time(sigma));
  }

  /** From the largest sigma to the smallest, and 0. */
  public NoisePath path(int steps) {
    NoisePath.requireSteps(steps, MOST_STEPS);
    List<NoisePath.Level> levels = new ArrayList<>();
    double most = Math.pow(sigmaMax, 1 / rho);
    double least = Math.pow(sigmaMin, 1 / rho);
    for (int i = 0; i < steps; i++) {
      double part = steps == 1 ? 0 : (double) i / (steps - 1);
      levels.add(level(Math.pow(most + part * (least - most), rho)));
    }
    levels.add(level(0));
    return new NoisePath(sigmaMax, levels);
  }
}
