package dev.gatun.engine.contract;

import dev.gatun.engine.Philox;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.contract.Reference.Result;
import dev.gatun.engine.op.GaussianKl;
import dev.gatun.engine.op.GaussianKlBackward;
import dev.gatun.engine.op.GaussianMixture;
import dev.gatun.engine.op.GaussianMixtureBackward;
import dev.gatun.engine.op.GaussianSample;
import dev.gatun.engine.op.GaussianSampleBackward;
import dev.gatun.engine.op.KlObjective;
import dev.gatun.engine.op.KlObjectiveBackward;
import java.util.ArrayList;
import java.util.List;

/**
 * Latent variables of normal distributions, plainly. Devices compute them in f64, too, since they
 * are few: what an element may be off by is the rounding of results to f32, and of the noise.
 */
final class GaussianReference {
  private GaussianReference() {}

  /** Which element of the parameters is the mean of a latent; its log-variance is D further on. */
  private static int meanOf(TensorSpec parameters, int image, int latent) {
    int depth = parameters.shape().dim(-1) / 2;
    int perImage = parameters.shape().elements() / parameters.shape().dim(0);
    return image * perImage + latent / depth * 2 * depth + latent % depth;
  }

  static List<Result> sample(GaussianSample op, List<TensorSpec> specs, List<double[]> in) {
    int images = specs.getFirst().shape().dim(0);
    int depth = specs.getFirst().shape().dim(-1) / 2;
    int each = in.getFirst().length / images / 2;
    Philox philox = new Philox(op.seed());
    Result z = Result.of(op.samples() * images * each);
    Result eps = Result.of(op.samples() * images * each);
    for (int s = 0; s < op.samples(); s++) {
      for (int n = 0; n < images; n++) {
        for (int e = 0; e < each; e++) {
          int i = (s * images + n) * each + e;
          long index = (((long) op.first() + n) * op.samples() + s) * each + e;
          double noise = philox.normal(Philox.Stream.LATENT, (int) in.get(1)[0], index);
          int mean = meanOf(specs.getFirst(), n, e);
          eps.add(i, noise);
          z.add(i, in.getFirst()[mean]);
          z.add(i, Math.exp(in.getFirst()[mean + depth] / 2) * noise);
        }
      }
    }
    return List.of(z, eps);
  }

  static List<Result> sampleBackward(
      GaussianSampleBackward op, List<TensorSpec> specs, List<double[]> in) {
    int images = specs.getFirst().shape().dim(0);
    int depth = specs.getFirst().shape().dim(-1) / 2;
    int each = in.getFirst().length / images / 2;
    Result d = Result.of(in.getFirst().length);
    for (int i = 0; i < in.get(1).length; i++) {
      int mean = meanOf(specs.getFirst(), i / each % images, i % each);
      double deviation = Math.exp(in.getFirst()[mean + depth] / 2);
      d.add(mean, in.get(2)[i]);
      d.add(mean + depth, in.get(2)[i] * in.get(1)[i] * deviation / 2);
    }
    return List.of(d);
  }

  /** exp(v) - 1 - v, by its series where that converges fast. */
  private static double excess(double v) {
    if (Math.abs(v) > 1) {
      return Math.exp(v) - 1 - v;
    }
    double sum = 0;
    double term = v;
    for (int k = 2; k < 30; k++) {
      term *= v / k;
      sum += term;
    }
    return sum;
  }

  static List<Result> kl(GaussianKl op, List<TensorSpec> specs, List<double[]> in) {
    int images = specs.getFirst().shape().dim(0);
    int depth = specs.getFirst().shape().dim(-1) / 2;
    int each = in.getFirst().length / images / 2;
    Result kl = Result.of(images);
    Result byDimension = Result.of(each);
    for (int n = 0; n < images; n++) {
      for (int e = 0; e < each; e++) {
        int at = meanOf(specs.getFirst(), n, e);
        double mean = in.getFirst()[at];
        double nats = (mean * mean + excess(in.getFirst()[at + depth])) / 2;
        kl.add(n, nats);
        byDimension.add(e, nats / images);
      }
    }
    return List.of(kl, byDimension);
  }

  static List<Result> klBackward(GaussianKlBackward op, List<TensorSpec> specs, List<double[]> in) {
    int images = specs.getFirst().shape().dim(0);
    int depth = specs.getFirst().shape().dim(-1) / 2;
    int each = in.getFirst().length / images / 2;
    Result d = Result.of(in.getFirst().length);
    for (int n = 0; n < images; n++) {
      for (int e = 0; e < each; e++) {
        int at = meanOf(specs.getFirst(), n, e);
        double byMean = in.getFirst()[at];
        double byLogVariance = Math.expm1(in.getFirst()[at + depth]) / 2;
        if (op.ofImages()) {
          d.add(at, in.get(1)[n] * byMean);
          d.add(at + depth, in.get(1)[n] * byLogVariance);
        }
        if (op.ofDimensions()) {
          d.add(at, in.getLast()[e] / images * byMean);
          d.add(at + depth, in.getLast()[e] / images * byLogVariance);
        }
      }
    }
    return List.of(d);
  }

  /** What is paid for, before it is weighted: signed, with the sum of the sizes of its terms. */
  private static Result charged(KlObjective op, List<double[]> in) {
    Result charged = Result.of(1);
    for (double nats : in.getFirst()) {
      charged.add(0, Math.max(op.freeNats(), nats));
    }
    if (op.capacity() != 0) {
      double share = in.get(1)[0] >= op.capacitySteps() ? 1 : in.get(1)[0] / op.capacitySteps();
      charged.add(0, -op.capacity() * share);
    }
    return charged;
  }

  private static double weight(KlObjective op, List<double[]> in) {
    double steps = in.get(1)[0] + 1;
    return op.beta() * (steps >= op.warmupSteps() ? 1 : steps / op.warmupSteps());
  }

  static List<Result> objective(KlObjective op, List<TensorSpec> specs, List<double[]> in) {
    Result charged = charged(op, in);
    double nats = charged.value()[0];
    double weight = weight(op, in);
    Result y = Result.of(1);
    y.set(
        0,
        weight * (op.capacity() == 0 ? nats : Math.abs(nats)),
        Math.abs(weight) * charged.magnitude()[0]);
    return List.of(y);
  }

  static List<Result> objectiveBackward(
      KlObjectiveBackward op, List<TensorSpec> specs, List<double[]> in) {
    KlObjective forward = op.forward();
    double side = forward.capacity() == 0 ? 1 : Math.signum(charged(forward, in).value()[0]);
    double slope = weight(forward, in) * side * in.get(2)[0];
    return Reference.map(
        in.getFirst().length, e -> in.getFirst()[e] > forward.freeNats() ? slope : 0);
  }

  /** A vector under a row of a mixture. */
  private static final class Row {
    final double[] weights;

    /** Logarithms of the weighted densities, and the sums of the sizes of their terms. */
    final double[] logs;

    final double[] sizes;

    /**
     * Looks at a row.
     *
     * @param logits null for equal weights
     */
    Row(int components, double[] z, int m, int depth, double[] parameters, double[] logits) {
      int r = m % (parameters.length / (2 * components * depth));
      weights = new double[components];
      logs = new double[components];
      sizes = new double[components];
      double[] own = new double[components];
      for (int k = 0; k < components; k++) {
        own[k] = logits == null ? 0 : logits[r * components + k];
      }
      double all = logSum(own);
      for (int k = 0; k < components; k++) {
        weights[k] = Math.exp(own[k] - all);
        logs[k] = own[k] - all;
        sizes[k] = Math.abs(own[k]) + Math.abs(all);
        for (int i = 0; i < depth; i++) {
          int at = (r * components + k) * 2 * depth + i;
          double v = parameters[at + depth];
          double square = Math.pow(z[m * depth + i] - parameters[at], 2) / Math.exp(v);
          logs[k] -= (Math.log(2 * Math.PI) + v + square) / 2;
          sizes[k] += (Math.log(2 * Math.PI) + Math.abs(v) + square) / 2;
        }
      }
    }

    static double logSum(double[] x) {
      double most = Double.NEGATIVE_INFINITY;
      for (double v : x) {
        most = Math.max(most, v);
      }
      double sum = 0;
      for (double v : x) {
        sum += Math.exp(v - most);
      }
      return most + Math.log(sum);
    }
  }

  static List<Result> mixture(GaussianMixture op, List<TensorSpec> specs, List<double[]> in) {
    int rows = specs.getFirst().shape().dim(0);
    int depth = specs.getFirst().shape().dim(-1);
    double[] logits = in.size() > 2 ? in.get(2) : null;
    Result density = Result.of(rows);
    for (int m = 0; m < rows; m++) {
      Row row = new Row(op.components(), in.get(0), m, depth, in.get(1), logits);
      double value = Row.logSum(row.logs);
      double size = Math.abs(value);
      for (int k = 0; k < op.components(); k++) {
        size += Math.exp(row.logs[k] - value) * row.sizes[k];
      }
      density.set(m, value, size);
    }
    return List.of(density);
  }

  static List<Result> mixtureBackward(
      GaussianMixtureBackward op, List<TensorSpec> specs, List<double[]> in) {
    int rows = specs.getFirst().shape().dim(0);
    int depth = specs.getFirst().shape().dim(-1);
    boolean weighted = in.size() > 4;
    int period = in.get(1).length / (2 * op.components() * depth);
    double[] logDensity = in.get(in.size() - 2);
    Result dz = Result.of(in.get(0).length);
    Result dparameters = Result.of(in.get(1).length);
    Result dlogits = Result.of(period * op.components());
    for (int m = 0; m < rows; m++) {
      double[] logits = weighted ? in.get(2) : null;
      Row row = new Row(op.components(), in.get(0), m, depth, in.get(1), logits);
      double slope = in.getLast()[m];
      for (int k = 0; k < op.components(); k++) {
        double share = slope * Math.exp(row.logs[k] - logDensity[m]);
        int c = m % period * op.components() + k;
        for (int i = 0; i < depth; i++) {
          int mean = c * 2 * depth + i;
          double distance = in.get(0)[m * depth + i] - in.get(1)[mean];
          double inverse = Math.exp(-in.get(1)[mean + depth]);
          dz.add(m * depth + i, -share * distance * inverse);
          dparameters.add(mean, share * distance * inverse);
          dparameters.add(mean + depth, share * distance * distance * inverse / 2);
          dparameters.add(mean + depth, -share / 2);
        }
        dlogits.add(c, share);
        dlogits.add(c, -slope * row.weights[k]);
      }
    }
    List<Result> all = new ArrayList<>(List.of(dz, dparameters));
    if (weighted) {
      all.add(dlogits);
    }
    return all;
  }
}
