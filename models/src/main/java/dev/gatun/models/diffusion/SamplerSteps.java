package dev.gatun.models.diffusion;

import dev.gatun.engine.op.DenoiseStep;
import java.util.ArrayList;
import java.util.List;

/**
 * A sampler as rows of {@link DenoiseStep}'s table: the first draws the noise to begin with, each
 * of the others follows a run of the network.
 */
public final class SamplerSteps {
  private final List<double[]> rows = new ArrayList<>();

  private SamplerSteps() {}

  /** Runs of the network. */
  public int evaluations() {
    return rows.size() - 1;
  }

  /** [evaluations + 1, 8], row by row. */
  public double[] table() {
    double[] all = new double[rows.size() * DenoiseStep.COLUMNS];
    for (int i = 0; i < rows.size(); i++) {
      System.arraycopy(rows.get(i), 0, all, i * DenoiseStep.COLUMNS, DenoiseStep.COLUMNS);
    }
    return all;
  }

  /** x = cX x + cD D + cP P + cN e, after D = pX x + pF f; then the network is shown it. */
  private void add(
      double pX, double pF, double cX, double cD, double cP, double cN, double input, double time) {
    rows.add(new double[] {pX, pF, cX, cD, cP, cN, input, time});
  }

  /** Times from T down to 0, evenly apart, as many steps between them. */
  static int[] times(NoiseSchedule schedule, int steps) {
    int all = schedule.steps();
    if (steps < 1 || steps > all) {
      throw new IllegalArgumentException(
          "sampling in " + steps + " steps: 1 to the " + all + " that the model has");
    }
    int[] times = new int[steps + 1];
    for (int i = 0; i <= steps; i++) {
      times[i] = (int) Math.round((double) all * (steps - i) / steps);
    }
    return times;
  }

  /**
   * Denoising diffusion implicit models: from t to s, x_s = alpha_s D + sqrt(sigma_s^2 - v) e_t +
   * sqrt(v) e, where e_t is the noise that x_t has by D, and v = eta^2 (1 - abar_s) / (1 - abar_t)
   * (1 - abar_t / abar_s). eta 0 is deterministic; 1 is ancestral sampling of the process with
   * those times.
   *
   * @param steps of the process that are visited
   * @see "Song et al. 2021, Denoising Diffusion Implicit Models, equations 12 and 16"
   */
  public static SamplerSteps ddim(
      NoiseSchedule schedule, Prediction prediction, int steps, double eta) {
    if (!(eta >= 0 && eta <= 1)) {
      throw new IllegalArgumentException("eta is " + eta + ": 0 to 1");
    }
    int[] times = times(schedule, steps);
    SamplerSteps sampler = new SamplerSteps();
    sampler.add(0, 0, 0, 0, 0, 1, 1, times[0]);
    for (int i = 0; i < steps; i++) {
      int t = times[i];
      int s = times[i + 1];
      double alpha = schedule.alpha(t);
      double sigma = schedule.sigma(t);
      double ratio = schedule.alphaBar(t) / schedule.alphaBar(s);
      double left = 1 - schedule.alphaBar(s);
      double variance = eta * eta * left / (sigma * sigma) * (1 - ratio);
      // at the last step there is no noise left to be added
      double cX = Math.sqrt(Math.max(0, left - variance)) / sigma;
      sampler.add(
          prediction.fromNoisy(alpha, sigma),
          prediction.fromTarget(alpha, sigma),
          cX,
          schedule.alpha(s) - cX * alpha,
          0,
          Math.sqrt(variance),
          1,
          s);
    }
    return sampler;
  }

  /**
   * Ancestral sampling: each step of the process in turn, or those of fewer steps; the variance is
   * the posterior's.
   *
   * @see "Ho et al. 2020, Denoising Diffusion Probabilistic Models, algorithm 2"
   */
  public static SamplerSteps ddpm(NoiseSchedule schedule, Prediction prediction, int steps) {
    int[] times = times(schedule, steps);
    SamplerSteps sampler = new SamplerSteps();
    sampler.add(0, 0, 0, 0, 0, 1, 1, times[0]);
    for (int i = 0; i < steps; i++) {
      int t = times[i];
      int s = times[i + 1];
      double alpha = schedule.alpha(t);
      double sigma = schedule.sigma(t);
      double kept = schedule.alphaBar(t) / schedule.alphaBar(s); // 1 - beta of this step
      double left = 1 - schedule.alphaBar(s);
      double all = sigma * sigma;
      sampler.add(
          prediction.fromNoisy(alpha, sigma),
          prediction.fromTarget(alpha, sigma),
          Math.sqrt(kept) * left / all,
          schedule.alpha(s) * (1 - kept) / all,
          0,
          Math.sqrt(left / all * (1 - kept)),
          1,
          s);
    }
    return sampler;
  }

  /**
   * The multistep solver of second order, on the denoised image; its first and its last step are of
   * first order.
   *
   * @see "Lu et al. 2022, DPM-Solver++, algorithm 2"
   */
  public static SamplerSteps dpmSolver(NoiseSchedule schedule, Prediction prediction, int steps) {
    int[] times = times(schedule, steps);
    SamplerSteps sampler = new SamplerSteps();
    sampler.add(0, 0, 0, 0, 0, 1, 1, times[0]);
    double before = 0; // the last step's h
    for (int i = 0; i < steps; i++) {
      int t = times[i];
      int s = times[i + 1];
      double alpha = schedule.alpha(t);
      double sigma = schedule.sigma(t);
      double h = s == 0 ? Double.POSITIVE_INFINITY : schedule.lambda(s) - schedule.lambda(t);
      double ofDenoised = -schedule.alpha(s) * Math.expm1(-h);
      double further = i == 0 || s == 0 ? 0 : h / before / 2; // 1 / (2 r)
      sampler.add(
          prediction.fromNoisy(alpha, sigma),
          prediction.fromTarget(alpha, sigma),
          schedule.sigma(s) / sigma,
          ofDenoised * (1 + further),
          -ofDenoised * further,
          0,
          1,
          s);
      before = h;
    }
    return sampler;
  }

  /**
   * EDM's sampler: Heun's method on dx/dsigma = (x - D) / sigma, from sigma_max to 0 along a power;
   * two runs of the network a step but for the last, which is Euler's. Without churn.
   *
   * @see "Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models,
   *     algorithm 1 and table 1"
   */
  public static SamplerSteps heun(Preconditioning edm, int steps) {
    double[] sigmas = edm.sigmas(steps);
    SamplerSteps sampler = new SamplerSteps();
    sampler.add(0, 0, 0, 0, 0, sigmas[0], edm.ofInput(sigmas[0]), edm.time(sigmas[0]));
    for (int i = 0; i < steps; i++) {
      double from = sigmas[i];
      double to = sigmas[i + 1];
      double ratio = to / from;
      sampler.add(
          edm.skip(from), edm.output(from), ratio, 1 - ratio, 0, 0, edm.ofInput(to), edm.time(to));
      if (to > 0) {
        // x before the step, from x after it and P; then half of each end's slope
        double half = (to - from) / 2;
        double back = 1 / ratio;
        double ofPrevious = -(1 - ratio) / ratio;
        sampler.add(
            edm.skip(to),
            edm.output(to),
            back * (1 + half / from) + half / to,
            -half / to,
            ofPrevious * (1 + half / from) - half / from,
            0,
            edm.ofInput(to),
            edm.time(to));
      }
    }
    return sampler;
  }
}
