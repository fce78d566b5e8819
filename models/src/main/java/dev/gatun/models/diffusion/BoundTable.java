package dev.gatun.models.diffusion;

import dev.gatun.engine.Shape;
import dev.gatun.engine.op.VariationalBound;

/**
 * What the variational bound needs to know of each time of a process.
 *
 * @see "Ho et al. 2020, Denoising Diffusion Probabilistic Models, equations 5 to 8"
 */
final class BoundTable {
  private BoundTable() {}

  /** [T,8]. */
  static Shape shape(NoiseSchedule schedule) {
    return Shape.of(schedule.steps(), VariationalBound.COLUMNS);
  }

  /**
   * The rows of {@link VariationalBound}'s table.
   *
   * @param learned whether the model's variance lies between the posterior's and beta; else it is
   *     the posterior's, and beta at the last step, where the posterior has none
   */
  static float[] of(NoiseSchedule schedule, Prediction prediction, boolean learned) {
    float[] table = new float[schedule.steps() * VariationalBound.COLUMNS];
    for (int t = 1; t <= schedule.steps(); t++) {
      double all = 1 - schedule.alphaBar(t);
      double left = 1 - schedule.alphaBar(t - 1);
      double beta = 1 - schedule.alphaBar(t) / schedule.alphaBar(t - 1);
      double alpha = schedule.alpha(t);
      double sigma = schedule.sigma(t);
      // the posterior's variance is 0 where there is no noise left: that of the step before, then
      double posterior =
          t > 1 ? left / all * beta : schedule.steps() > 1 ? posterior(schedule, 2) : beta;
      double most = learned || t == 1 ? beta : posterior;
      double[] row = {
        prediction.fromNoisy(alpha, sigma),
        prediction.fromTarget(alpha, sigma),
        schedule.alpha(t - 1) * beta / all,
        Math.log(posterior),
        Math.log(Math.min(posterior, most)),
        Math.log(most),
        t == 1 ? 1 : 0,
        0
      };
      for (int i = 0; i < row.length; i++) {
        table[(t - 1) * row.length + i] = (float) row[i];
      }
    }
    return table;
  }

  private static double posterior(NoiseSchedule schedule, int t) {
    double beta = 1 - schedule.alphaBar(t) / schedule.alphaBar(t - 1);
    return (1 - schedule.alphaBar(t - 1)) / (1 - schedule.alphaBar(t)) * beta;
  }
}
