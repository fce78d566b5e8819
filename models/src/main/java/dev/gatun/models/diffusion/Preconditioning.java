package dev.gatun.models.diffusion;

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
  /** The paper's. */
  public static final Preconditioning EDM = new Preconditioning(0.5, 0.002, 80, 7);

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

  /** From the largest to the smallest, and 0. */
  double[] sigmas(int steps) {
    if (steps < 1) {
      throw new IllegalArgumentException("sampling in " + steps + " steps: at least 1");
    }
    double[] all = new double[steps + 1];
    double most = Math.pow(sigmaMax, 1 / rho);
    double least = Math.pow(sigmaMin, 1 / rho);
    for (int i = 0; i < steps; i++) {
      double part = steps == 1 ? 0 : (double) i / (steps - 1);
      all[i] = Math.pow(most + part * (least - most), rho);
    }
    return all;
  }
}
