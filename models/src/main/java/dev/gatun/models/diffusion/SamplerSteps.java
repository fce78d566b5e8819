package dev.gatun.models.diffusion;

import dev.gatun.engine.op.DenoiseStep;
import dev.gatun.models.diffusion.NoisePath.Level;
import java.util.ArrayList;
import java.util.List;

/**
 * A sampler as rows of {@link DenoiseStep}'s table: the first makes the noisy image to begin with,
 * each of the others follows a run of the network. In what follows x_t = alpha_t p + sigma_t e goes
 * to x_s, which is less noisy, and D is the denoised image.
 */
public final class SamplerSteps {
  private final List<double[]> rows = new ArrayList<>();
  private final List<Double> spreads = new ArrayList<>();

  private SamplerSteps() {}

  /** Runs of the network. */
  public int evaluations() {
    return rows.size() - 1;
  }

  /**
   * How far x spreads after a row, in units of pixels' own range: alpha and sigma together.
   *
   * @param row 0 for what is begun with
   */
  double spread(int row) {
    return spreads.get(row);
  }

  /** [evaluations + 1, {@link DenoiseStep#COLUMNS}], row by row. */
  public double[] table() {
    double[] all = new double[rows.size() * DenoiseStep.COLUMNS];
    for (int i = 0; i < rows.size(); i++) {
      System.arraycopy(rows.get(i), 0, all, i * DenoiseStep.COLUMNS, rows.get(i).length);
    }
    return all;
  }

  /**
   * What x becomes: x = cX x + cD D + cP P + cN s e, with P the D of the step before; s^2 is the
   * variance that the network has learned, between two logarithms, or 1.
   */
  private record Update(
      double cX, double cD, double cP, double cN, double logLeast, double logMost) {
    Update(double cX, double cD, double cP, double cN) {
      this(cX, cD, cP, cN, 0, 0);
    }

    /** The same, and then k times that and noise of some variance more; s is 1. */
    Update then(double k, double variance) {
      return new Update(k * cX, k * cD, k * cP, Math.sqrt(k * k * cN * cN + variance));
    }
  }

  /** Begins with noise, or with k times what x holds. */
  private void begin(double k, double noise, Level next) {
    rows.add(new double[] {0, 0, k, 0, 0, noise, next.input(), next.time(), 0, 0});
    spreads.add(Math.hypot(next.alpha(), next.sigma()));
  }

  /** After the network was run at a level; it is run at the next one then. */
  private void add(Level at, Update u, Level next) {
    rows.add(
        new double[] {
          at.fromNoisy(),
          at.fromOutput(),
          u.cX,
          u.cD,
          u.cP,
          u.cN,
          next.input(),
          next.time(),
          u.logLeast,
          u.logMost
        });
    spreads.add(Math.hypot(next.alpha(), next.sigma()));
  }

  /** A step that follows from its two levels. */
  private interface Rule {
    Update step(Level t, Level s);
  }

  private static SamplerSteps of(NoisePath path, Rule rule) {
    SamplerSteps sampler = new SamplerSteps();
    List<Level> levels = path.levels();
    sampler.begin(0, path.start(), levels.getFirst());
    for (int i = 0; i < path.steps(); i++) {
      sampler.add(levels.get(i), rule.step(levels.get(i), levels.get(i + 1)), levels.get(i + 1));
    }
    return sampler;
  }

  /** The variance of x_t given x_s: sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2. */
  private static double added(Level t, Level s) {
    double kept = t.alpha() / s.alpha();
    return t.sigma() * t.sigma() - kept * kept * s.sigma() * s.sigma();
  }

  /** The variance of x_s given x_t and the image; 0 where s has no noise. */
  static double posterior(Level t, Level s) {
    double left = s.sigma() / t.sigma();
    return left * left * added(t, s);
  }

  /**
   * Denoising diffusion implicit models: x_s = alpha_s D + sqrt(sigma_s^2 - v) e_t + sqrt(v) e,
   * where e_t is the noise that x_t has by D, and v = eta^2 times the posterior's variance, (1 -
   * abar_s) / (1 - abar_t) (1 - abar_t / abar_s). eta 0 is deterministic, Euler's method on the
   * probability flow; 1 is ancestral sampling of the process with those times.
   *
   * @see "Song et al. 2021, Denoising Diffusion Implicit Models, equations 12 and 16"
   */
  public static SamplerSteps ddim(NoisePath path, double eta) {
    if (!(eta >= 0 && eta <= 1)) {
      throw new IllegalArgumentException("eta is " + eta + ": 0 to 1");
    }
    return of(path, (t, s) -> implicit(t, s, eta * eta * posterior(t, s)));
  }

  private static Update implicit(Level t, Level s, double variance) {
    double cX = Math.sqrt(Math.max(0, s.sigma() * s.sigma() - variance)) / t.sigma();
    return new Update(cX, s.alpha() - cX * t.alpha(), 0, Math.sqrt(variance));
  }

  /**
   * Ancestral sampling: each step of the process in turn, or those of fewer steps; the variance is
   * the posterior's.
   *
   * @see "Ho et al. 2020, Denoising Diffusion Probabilistic Models, algorithm 2"
   */
  public static SamplerSteps ddpm(NoisePath path) {
    return of(path, SamplerSteps::ancestral);
  }

  private static Update ancestral(Level t, Level s) {
    double all = t.sigma() * t.sigma();
    return new Update(
        t.alpha() / s.alpha() * s.sigma() * s.sigma() / all,
        s.alpha() * added(t, s) / all,
        0,
        Math.sqrt(posterior(t, s)));
  }

  /**
   * Ancestral sampling with the variance that the network has learned, which lies between the
   * posterior's and that of the noise which a step of the process adds.
   *
   * @see "Nichol and Dhariwal 2021, Improved Denoising Diffusion Probabilistic Models, equation 15"
   */
  public static SamplerSteps learned(NoisePath path) {
    return of(
        path,
        (t, s) -> {
          Update u = ancestral(t, s);
          return s.sigma() == 0
              ? u
              : new Update(u.cX, u.cD, 0, 1, Math.log(posterior(t, s)), Math.log(added(t, s)));
        });
  }

  /**
   * Ancestral sampling where part of the image is known: each step is taken, undone by fresh noise
   * and taken again, so that what is drawn agrees with what is known.
   *
   * @param times how often each step is taken; 1 is {@link #ddpm}
   * @see "Lugmayr et al. 2022, RePaint, algorithm 1"
   */
  public static SamplerSteps repaint(NoisePath path, int times) {
    if (times < 1) {
      throw new IllegalArgumentException("each step is taken " + times + " times: at least once");
    }
    SamplerSteps sampler = new SamplerSteps();
    List<Level> levels = path.levels();
    sampler.begin(0, path.start(), levels.getFirst());
    for (int i = 0; i < path.steps(); i++) {
      Level t = levels.get(i);
      Level s = levels.get(i + 1);
      Update step = ancestral(t, s);
      for (int again = 1; again < times && s.sigma() > 0; again++) {
        sampler.add(t, step.then(t.alpha() / s.alpha(), added(t, s)), t);
      }
      sampler.add(t, step, s);
    }
    return sampler;
  }

  /**
   * The multistep solver of second order, on the denoised image; its first and its last step are of
   * first order.
   *
   * @see "Lu et al. 2022, DPM-Solver++, algorithm 2"
   */
  public static SamplerSteps dpmSolver(NoisePath path) {
    double[] before = {0}; // the last step's h
    return of(
        path,
        (t, s) -> {
          double h =
              Math.log(s.alpha() / t.alpha()) + Math.log(t.sigma() / s.sigma()); // lambda_s - _t
          double ofDenoised = -s.alpha() * Math.expm1(-h);
          double further = before[0] == 0 || s.sigma() == 0 ? 0 : h / before[0] / 2; // 1 / (2 r)
          before[0] = h;
          return new Update(
              s.sigma() / t.sigma(), ofDenoised * (1 + further), -ofDenoised * further, 0);
        });
  }

  /**
   * EDM's stochastic sampler.
   *
   * @param churn S_churn: 0 for none
   * @param least S_tmin
   * @param most S_tmax
   * @param noise S_noise
   */
  public record Churn(double churn, double least, double most, double noise) {
    /** A deterministic sampler. */
    public static final Churn NONE = new Churn(0, 0, Double.POSITIVE_INFINITY, 1);

    /** Between the sigmas, and with the noise, that the paper chose for ImageNet (table 5). */
    public static Churn of(double churn) {
      return new Churn(churn, 0.05, 50, 1.003);
    }

    public Churn {
      if (!(churn >= 0 && noise >= 0)) {
        throw new IllegalArgumentException("churn is " + churn + " and " + noise + ": from 0 on");
      }
    }

    /** By what part sigma grows before a step. */
    private double gamma(double sigma, int steps) {
      return sigma >= least && sigma <= most ? Math.min(churn / steps, Math.sqrt(2) - 1) : 0;
    }
  }

  /** Without churn. */
  public static SamplerSteps heun(NoisePath path) {
    return heun(path, t -> t, Churn.NONE);
  }

  /**
   * EDM's sampler, with churn.
   *
   * @see #heun(NoisePath)
   */
  public static SamplerSteps heun(Preconditioning edm, int steps, Churn churn) {
    Noisier noisier = t -> edm.level(t.sigma() * (1 + churn.gamma(t.sigma(), steps)));
    return heun(edm.path(steps), noisier, churn);
  }

  /** The level, with more noise, from which a step is taken. */
  private interface Noisier {
    Level of(Level t);
  }

  /**
   * Heun's method on dy/du = (y - D) / u, where y = x / alpha and u = sigma / alpha; two runs of
   * the network a step but for the last, which is Euler's.
   *
   * @see "Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models,
   *     algorithm 2, and 1 where there is no churn"
   */
  private static SamplerSteps heun(NoisePath path, Noisier noisier, Churn churn) {
    SamplerSteps sampler = new SamplerSteps();
    List<Level> levels = path.levels();
    Level t = noisier.of(levels.getFirst());
    double more = churned(levels.getFirst(), t, churn);
    sampler.begin(0, Math.sqrt(path.start() * path.start() + more), t);
    for (int i = 0; i < path.steps(); i++) {
      Level s = levels.get(i + 1);
      Update euler = implicit(t, s, 0);
      if (s.sigma() == 0) {
        sampler.add(t, euler, s);
        break;
      }
      sampler.add(t, euler, s);
      Level next = noisier.of(s);
      sampler.add(s, corrected(t, s).then(1, churned(s, next, churn)), next);
      t = next;
    }
    return sampler;
  }

  private static double churned(Level from, Level to, Churn churn) {
    double added = to.sigma() * to.sigma() - from.sigma() * from.sigma();
    return churn.noise * churn.noise * added;
  }

  /** From x after Euler's step and P, x before it; then half of each end's slope. */
  private static Update corrected(Level t, Level s) {
    double ut = t.sigma() / t.alpha();
    double us = s.sigma() / s.alpha();
    double half = (us - ut) / 2;
    double ratio = us / ut;
    double whole = 1 + half / ut;
    return new Update(
        whole / ratio + half / us,
        -s.alpha() * half / us,
        -s.alpha() * ((1 - ratio) / ratio * whole + half / ut),
        0);
  }

  /**
   * From images to the noise that {@link #decode} makes them of again: DDIM's steps the other way.
   * x is to hold the images.
   *
   * @see "Song et al. 2021, Denoising Diffusion Implicit Models, section 4.3"
   */
  public static SamplerSteps encode(NoisePath path) {
    SamplerSteps sampler = new SamplerSteps();
    List<Level> levels = path.levels().subList(0, path.steps()).reversed();
    sampler.begin(levels.getFirst().alpha(), 0, levels.getFirst());
    for (int i = 0; i + 1 < levels.size(); i++) {
      Level t = levels.get(i);
      Level s = levels.get(i + 1);
      sampler.add(t, implicit(t, s, 0), s);
    }
    return sampler;
  }

  /** {@link #ddim} without noise, from the noise that x holds. */
  public static SamplerSteps decode(NoisePath path) {
    SamplerSteps sampler = of(path, (t, s) -> implicit(t, s, 0));
    double[] first = sampler.rows.getFirst();
    first[2] = 1; // cX
    first[5] = 0; // cN
    return sampler;
  }
}
