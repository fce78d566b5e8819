package dev.gatun.models.diffusion;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.models.Condition;
import java.util.List;

/**
 * A diffusion model in continuous noise levels, preconditioned.
 *
 * @see "Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models"
 */
public final class Edm extends DenoisingModel {
  private static final String NAME = "edm";
  private static final String SIGMAS = "sigmas";

  /**
   * Hyper-parameters.
   *
   * @param meanLogSigma P_mean, of the normal distribution of log sigma that training draws from
   * @param deviationLogSigma P_std, of the same
   * @param preconditioning of the network, and the sigmas that samplers visit
   * @param labelDropout share of training images whose class is withheld, so that samplers can be
   *     guided
   * @param condition what the network is shown of the image
   */
  public record Config(
      UNet.Config unet,
      double meanLogSigma,
      double deviationLogSigma,
      Preconditioning preconditioning,
      double labelDropout,
      Condition condition) {
    public Config {
      if (!(deviationLogSigma > 0)) {
        throw new IllegalArgumentException("deviationLogSigma must be positive");
      }
    }
  }

  private final Config config;
  private final DenoisingLoss loss;

  public Edm(Config config) {
    super(NAME, config.unet, config.labelDropout, config.condition, 1);
    this.config = config;
    loss =
        DenoisingLoss.preconditioned(
            config.preconditioning, config.meanLogSigma, config.deviationLogSigma);
  }

  @Override
  public Config config() {
    return config;
  }

  @Override
  public int mostSteps() {
    return Preconditioning.MOST_STEPS;
  }

  @Override
  public NoisePath path(int steps) {
    return config.preconditioning.path(steps);
  }

  @Override
  public NoisePath flowPath(int steps) {
    return path(steps);
  }

  @Override
  public List<Constant> constants() {
    return List.of(new Constant(SIGMAS, loss.tableShape(), loss.table()));
  }

  /** Table 1: the loss weight makes the network's own error count alike at every sigma. */
  @Override
  public Value loss(Graph graph, Weights weights, Input input) {
    return DenoisingLoss.apply(
        graph,
        weights.get(SIGMAS),
        input,
        null,
        (x, times) -> network(graph, weights, x, times, input));
  }
}
