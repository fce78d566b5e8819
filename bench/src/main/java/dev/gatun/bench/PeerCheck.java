package dev.gatun.bench;

import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Whether a peer computes what Gatun does, in f32; no peer is timed that does not.
 *
 * <p>Two f32 sums of n terms in different orders differ by about {@code sqrt(n) * 2^-24} of the
 * size of what is summed, rounding errors being of random sign; along a chain of d sums that is d
 * times as much at most. So much is tolerated, and no more: d is the convolutions in a row (for
 * gradients twice that), n the longest sum's terms (for gradients the pixels of the batch), the
 * size the largest value of the tensor.
 */
final class PeerCheck {
  private static final double ROUNDING = 0x1p-24;

  /** Of the whole first step: the bound of a single weight says little where gradients vanish. */
  private static final double STEP_TOLERANCE = 0.01;

  /** Of the losses after some steps: by then rounding errors have grown, mistakes far more. */
  private static final double LOSS_TOLERANCE = 0.01;

  private final int chain;
  private final int terms;
  private final int gradientTerms;
  private final Map<String, Object> report = new LinkedHashMap<>();
  private final Map<String, float[]> gradients = new LinkedHashMap<>();
  private final Map<String, Double> gradientTolerances = new LinkedHashMap<>();

  /**
   * Checks nothing yet.
   *
   * @param chain sums in a row, from images to outputs
   * @param specs of the weights: the longest sum of an output is over a filter of theirs
   * @param gradientTerms of the longest sum of a gradient: the batch's pixels
   */
  PeerCheck(int chain, List<ParameterSpec> specs, int gradientTerms) {
    this.chain = chain;
    terms =
        specs.stream()
            .filter(p -> p.shape().rank() == 3)
            .mapToInt(p -> p.shape().dim(0) * p.shape().dim(1))
            .max()
            .orElseThrow();
    this.gradientTerms = gradientTerms;
  }

  /** The differences found so far, and those tolerated. */
  Map<String, Object> report() {
    return report;
  }

  /**
   * Outputs on the same weights.
   *
   * @param what as in "a pixel's loss"
   * @param key of the report
   */
  void outputs(String what, String key, float[] ours, float[] theirs) {
    double tolerance = chain * Math.sqrt(terms) * ROUNDING * largest(ours);
    report.put(key + "MaxDifference", compare(what, ours, theirs, tolerance));
    report.put(key + "Tolerance", tolerance);
  }

  /**
   * The gradient of the mean loss on the same weights.
   *
   * @param vanishing those that are 0 but for rounding errors, and of each the gradient whose size
   *     these go by
   */
  void gradients(
      Map<String, float[]> all, Map<String, float[]> theirs, Map<String, String> vanishing) {
    gradients.putAll(all);
    double relative = 2 * chain * Math.sqrt(gradientTerms) * ROUNDING;
    double worst = 0;
    for (Map.Entry<String, float[]> ours : gradients.entrySet()) {
      String name = ours.getKey();
      double size = largest(all.get(vanishing.getOrDefault(name, name)));
      double tolerance = relative * size;
      gradientTolerances.put(name, tolerance);
      double difference =
          compare("the gradient of " + name, ours.getValue(), theirs.get(name), tolerance);
      worst = Math.max(worst, difference / size);
    }
    report.put("gradientMaxDifference", worst);
    report.put("gradientTolerance", relative);
    report.put("gradientDifferencesAre", "as shares of the tensor's largest gradient");
  }

  /**
   * The averaged weights after the first optimizer step from the same weights. That step is rate *
   * g / (|g| + epsilon) for a gradient g, so a difference d between two gradients moves a weight by
   * 2 * rate * d / |g| at most, and by 2 * rate however small g is.
   *
   * @param rate the first step's
   */
  void firstStep(Parameters ours, Map<String, float[]> theirs, double rate) {
    double worst = 0;
    double total = 0;
    double moved = 0;
    for (ParameterSpec spec : ours.specs()) {
      float[] a = ours.get(spec.name()).toFloats();
      float[] b = theirs.get(spec.name());
      float[] g = gradients.get(spec.name());
      double unsure = gradientTolerances.get(spec.name());
      for (int i = 0; i < a.length; i++) {
        double tolerance =
            2 * rate * Math.min(1, unsure / Math.abs(g[i])) + 4 * Math.ulp(a[i]) + 1e-5 * rate;
        double difference = Math.abs((double) a[i] - b[i]);
        if (!(difference <= tolerance)) {
          throw disagreement("after one step " + spec.name(), difference, tolerance);
        }
        worst = Math.max(worst, difference);
        total += difference * difference;
        moved += rate * rate;
      }
    }
    double share = Math.sqrt(total / moved);
    if (!(share <= STEP_TOLERANCE)) {
      throw disagreement("the first step, as a share of it,", share, STEP_TOLERANCE);
    }
    report.put("weightsAfterOneStepMaxDifference", worst);
    report.put("firstStepDifference", share);
    report.put("firstStepTolerance", STEP_TOLERANCE);
    report.put("firstStepDifferencesAre", "root mean squares, as shares of the step");
  }

  /**
   * The loss after some steps.
   *
   * @param unit of the loss
   */
  void sameLoss(String unit, int steps, double ours, double theirs) {
    if (!(Math.abs(ours - theirs) / ours <= LOSS_TOLERANCE)) {
      throw new IllegalStateException(
          String.format(
              Locale.ROOT,
              "no figures, the peer trains otherwise: after %d steps %.4f %s here, %.4f there",
              steps,
              ours,
              unit,
              theirs));
    }
    report.put("stepsCompared", steps);
    report.put("lossThenIs", unit);
    report.put("lossThenOurs", ours);
    report.put("lossThenPeer", theirs);
  }

  private static double compare(String what, float[] ours, float[] theirs, double tolerance) {
    if (ours.length != theirs.length) {
      throw new IllegalStateException(
          what + ": ours has " + ours.length + " values, the peer's " + theirs.length);
    }
    double worst = 0;
    for (int i = 0; i < ours.length; i++) {
      double difference = Math.abs((double) ours[i] - theirs[i]);
      if (!(difference <= tolerance)) {
        throw disagreement(what, difference, tolerance);
      }
      worst = Math.max(worst, difference);
    }
    return worst;
  }

  private static IllegalStateException disagreement(
      String what, double difference, double tolerance) {
    return new IllegalStateException(
        String.format(
            Locale.ROOT,
            "not timed, the peer computes something else: %s differs by %.3g, tolerated is %.3g",
            what,
            difference,
            tolerance));
  }

  private static double largest(float[] values) {
    double largest = 0;
    for (float value : values) {
      largest = Math.max(largest, Math.abs(value));
    }
    return largest;
  }
}
