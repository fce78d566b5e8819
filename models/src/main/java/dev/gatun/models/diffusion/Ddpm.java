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
  private static final String BOUND = "bound";

  /**
   * Hyper-parameters.
   *
   * @param timesteps T
   * @param schedule how noise is added
   * @param prediction what the network says
   * @param learnedVariance whether the network says how large the steps' variance is, too, and the
   *     bound is a part of the loss
   * @param minSnr the most that an image's signal-to-noise ratio counts in the loss; 0 for the
   *     plain error of what is predicted
   * @param labelDropout share of training images whose class is withheld, so that samplers can be
   *     guided
   * @param condition what the network is shown of the image
   */
  public record Config(
      UNet.Config unet,
      int timesteps,
      NoiseSchedule.Kind schedule,
      Prediction prediction,
      boolean learnedVariance,
      double minSnr,
      double labelDropout,
      Condition condition) {
    public Config {
      if (!(minSnr >= 0)) {
        throw new IllegalArgumentException("minSnr must be positive, or 0 for none");
      }
    }
  }

  /** Of the bound in bits, T terms large, beside the error. */
  private static final double BOUND_SHARE = 1e-3;

  private final Config config;
  private final NoiseSchedule schedule;
  private final DenoisingLoss loss;

  public Ddpm(Config config) {
    super(NAME, config.unet, config.labelDropout, config.condition, config.learnedVariance ? 2 : 1);
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
  public int mostSteps() {
    return config.timesteps;
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
    Constant times = new Constant(TIMES, loss.tableShape(), loss.table());
    Constant bound = new Constant(BOUND, BoundTable.shape(schedule), boundTable());
    return config.learnedVariance ? List.of(times, bound) : List.of(times);
  }

  @Override
  public boolean learnedVariance() {
    return config.learnedVariance;
  }

  /** What {@link dev.gatun.engine.op.VariationalBound} is told of each time. */
  float[] boundTable() {
    return BoundTable.of(schedule, config.prediction, config.learnedVariance);
  }

  /** Ho et al. 2020, algorithm 1; Nichol and Dhariwal 2021, equation 16. */
  @Override
  public Value loss(Graph graph, Weights weights, Input input) {
    DenoisingLoss.Bound bound =
        config.learnedVariance
            ? new DenoisingLoss.Bound(
                weights.get(BOUND), config.timesteps * BOUND_SHARE / Math.log(2))
            : null;
    return DenoisingLoss.apply(
        graph,
        weights.get(TIMES),
        input,
        bound,
        (x, times) -> network(graph, weights, x, times, input));
  }
}
