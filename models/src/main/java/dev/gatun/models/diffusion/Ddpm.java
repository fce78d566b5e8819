package dev.gatun.models.diffusion;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.models.Condition;
import java.util.List;

/**
 * A diffusion model in discrete time.
 *
 * @see "Ho et al. 2020, Denoising Diffusion Probabilistic Models"
 * @see "Nichol and Dhariwal 2021, Improved Denoising Diffusion Probabilistic Models"
 */
public final class Ddpm extends DenoisingModel {
  private static final String NAME = "ddpm";
  private static final String TIMES = "times";

  /**
   * Hyper-parameters.
   *
   * @param timesteps T
   * @param schedule how noise is added
   * @param prediction what the network says
   * @param minSnr the most that an image's signal-to-noise ratio counts in the loss; 0 for the plain
   *     error of what is predicted
   * @param labelDropout share of training images whose class is withheld, so that samplers can be
   *     guided
   * @param condition what the network is shown of the image
   */
  public record Config(
      UNet.Config unet,
      int timesteps,
      NoiseSchedule.Kind schedule,
      Prediction prediction,
      double minSnr,
      double labelDropout,
      Condition condition) {
    public Config {
      if (!(minSnr >= 0)) {
        throw new IllegalArgumentException("minSnr must be positive, or 0 for none");
      }
    }
  }

  private final Config config;
  private final NoiseSchedule schedule;
  private final DenoisingLoss loss;

  public Ddpm(Config config) {
    super(NAME, config.unet, config.labelDropout, config.condition, 1);
    this.config = config;
    schedule = NoiseSchedule.of(config.schedule, config.timesteps);
    loss =
        DenoisingLoss.discrete(
            schedule,
            config.prediction,
            config.minSnr == 0 ? Double.POSITIVE_INFINITY : config.minSnr);
  }

  @Override
  public Config config() {
    return config;
  }

  public NoiseSchedule schedule() {
    return schedule;
  }

  @Override
  public NoisePath path(int steps) {
    return NoisePath.of(schedule, config.prediction, steps);
  }

  @Override
  public NoisePath flowPath(int steps) {
    return NoisePath.near(schedule, config.prediction, Preconditioning.EDM, steps);
  }

  @Override
  public List<Constant> constants() {
    return List.of(new Constant(TIMES, loss.tableShape(), loss.table()));
  }

  /** Ho et al. 2020, algorithm 1. */
  @Override
  public Value loss(Graph graph, Weights weights, Input input) {
    return DenoisingLoss.apply(
            graph,
            weights.get(TIMES),
            input,
            (x, times) -> network(graph, weights, x, times, input))
        .getFirst();
  }
}
