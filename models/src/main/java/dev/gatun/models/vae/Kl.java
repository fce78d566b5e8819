package dev.gatun.models.vae;

import dev.gatun.engine.op.KlObjective;

/**
 * What a VAE pays for its latents in training.
 *
 * @param beta of the KL divergence; 1 for the evidence lower bound: Higgins et al. 2017, beta-VAE
 * @param klWarmupSteps over which beta rises from 0: Sonderby et al. 2016, Ladder Variational
 *     Autoencoders, section 2.3
 * @param freeNats that a latent may cost for nothing, in the mean of a batch, or of the part of it
 *     that a lane has; where a prior or a flow leaves no closed form, that all latents may cost
 *     together: Kingma et al. 2016, Inverse Autoregressive Flow, appendix C.8
 * @param capacity nats that the latents are held to, in the mean of a batch or a lane's part, too;
 *     0 for as few as they need: Burgess et al. 2018, Understanding disentangling in beta-VAE,
 *     section 5
 * @param capacitySteps over which the capacity rises from 0
 */
public record Kl(
    double beta, long klWarmupSteps, double freeNats, double capacity, long capacitySteps) {
  /** The evidence lower bound. */
  public static final Kl PLAIN = new Kl(1, 0, 0, 0, 0);

  public Kl {
    require(beta >= 0 && Double.isFinite(beta), "beta must not be negative");
    require(klWarmupSteps >= 0, "klWarmupSteps must not be negative");
    require(freeNats >= 0 && Double.isFinite(freeNats), "freeNats must not be negative");
    require(capacity >= 0 && Double.isFinite(capacity), "capacity must not be negative");
    require(
        capacity == 0 ? capacitySteps == 0 : capacitySteps > 0,
        "capacitySteps must be positive where there is a capacity, else 0");
  }

  private static void require(boolean condition, String message) {
    if (!condition) {
      throw new IllegalArgumentException(message);
    }
  }

  KlObjective objective() {
    // an estimate may be negative, and has a slope then, too
    double least = freeNats == 0 ? Double.NEGATIVE_INFINITY : freeNats;
    return new KlObjective(beta, klWarmupSteps, least, capacity, capacitySteps);
  }
}
