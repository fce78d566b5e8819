package dev.gatun.models.diffusion;

import java.util.ArrayList;
import java.util.List;

/**
 * The noise levels that a sampler visits, from as good as nothing but noise down to none.
 *
 * @param start standard deviation of what is begun with
 * @param levels the last has no noise
 */
public record NoisePath(double start, List<Level> levels) {
  /**
   * A level of noise, x = alpha p + sigma e, and how the network is asked there: it is shown {@code
   * input} x and {@code time}, and the denoised image is D = fromNoisy x + fromOutput f of what it
   * says.
   */
  public record Level(
      double alpha, double sigma, double fromNoisy, double fromOutput, double input, double time) {}

  public NoisePath {
    levels = List.copyOf(levels);
    if (levels.size() < 2 || levels.getLast().sigma != 0) {
      throw new IllegalArgumentException("a path of noise levels must end without noise");
    }
  }

  /** Steps between the levels. */
  public int steps() {
    return levels.size() - 1;
  }

  /** Throws unless a number of steps is positive and at most {@code most}. */
  static void requireSteps(int steps, int most) {
    if (steps < 1 || steps > most) {
      throw new IllegalArgumentException(
          "sampling in " + steps + " steps: 1 to the " + most + " that the model has");
    }
  }

  /**
   * Of a discrete-time process: times from T down to 0, evenly apart.
   *
   * @throws IllegalArgumentException if there are more steps than times
   */
  public static NoisePath of(NoiseSchedule schedule, Prediction prediction, int steps) {
    requireSteps(steps, schedule.steps());
    List<Level> levels = new ArrayList<>();
    for (int i = 0; i <= steps; i++) {
      int t = (int) Math.round((double) schedule.steps() * (steps - i) / steps);
      levels.add(level(schedule, prediction, t));
    }
    return new NoisePath(1, levels);
  }

  private static Level level(NoiseSchedule schedule, Prediction prediction, int t) {
    double alpha = schedule.alpha(t);
    double sigma = schedule.sigma(t);
    return new Level(
        alpha,
        sigma,
        prediction.fromNoisy(alpha, sigma),
        prediction.fromTarget(alpha, sigma),
        1,
        t);
  }

  /**
   * Of a discrete-time process, by its times that are nearest to a path in sigma / alpha: what is a
   * straight line there needs short steps where there is little noise, and none where there is much
   * more than image. Steps that fall on one time are one.
   *
   * @see "Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models,
   *     section 3 and appendix C.3.4"
   */
  public static NoisePath near(
      NoiseSchedule schedule, Prediction prediction, Preconditioning edm, int steps) {
    requireSteps(steps, schedule.steps());
    List<Level> levels = new ArrayList<>();
    int t = schedule.steps();
    int last = schedule.steps() + 1;
    for (Level wanted : edm.path(steps).levels()) {
      while (t > 1 && ratio(schedule, t) > wanted.sigma()) {
        t--;
      }
      // t is the first below; the one above may be nearer
      boolean above =
          t < schedule.steps()
              && ratio(schedule, t + 1) - wanted.sigma() < wanted.sigma() - ratio(schedule, t);
      int nearest = wanted.sigma() == 0 ? 0 : above ? t + 1 : t;
      if (nearest < last) {
        levels.add(level(schedule, prediction, nearest));
        last = nearest;
      }
    }
    return new NoisePath(1, levels);
  }

  private static double ratio(NoiseSchedule schedule, int t) {
    return schedule.sigma(t) / schedule.alpha(t);
  }
}
