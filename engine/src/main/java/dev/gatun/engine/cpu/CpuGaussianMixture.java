package dev.gatun.engine.cpu;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.GaussianMixture;
import dev.gatun.engine.op.GaussianMixtureBackward;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;

/**
 * Mixtures of normal distributions and their gradient, in f64. What is read many times is widened
 * once a run, into arrays that start where a row does: so C2 vectorizes the loops over D.
 */
final class CpuGaussianMixture {
  /** Rows of z that a thread takes at a time: a component is read once for all of them. */
  private static final int ROWS = 16;

  private static final double LOG_2_PI = Math.log(2 * Math.PI);

  private final CpuDevice device;
  private final int components;
  private final MemorySegment zData;
  private final MemorySegment parameters;
  private final MemorySegment logits; // or null
  private final double[][] z;
  private final double[][] means; // of each component of each row of parameters
  private final double[][] inverses; // of the variances
  private final double[] weights;

  /** The logarithm of a component's weighted density at its mean. */
  private final double[] most;

  private CpuGaussianMixture(CpuDevice device, int components, List<Tensor> in) {
    this.device = device;
    this.components = components;
    int depth = in.get(0).shape().dim(-1);
    int count = in.get(1).elements() / (2 * depth);
    zData = device.segment(in.get(0));
    parameters = device.segment(in.get(1));
    logits = in.size() > 2 ? device.segment(in.get(2)) : null;
    z = new double[in.get(0).shape().dim(0)][depth];
    means = new double[count][depth];
    inverses = new double[count][depth];
    weights = new double[count];
    most = new double[count];
  }

  static Launch forward(CpuDevice d, GaussianMixture op, List<Tensor> in, List<Tensor> out) {
    CpuGaussianMixture mixture = new CpuGaussianMixture(d, op.components(), in);
    MemorySegment density = d.segment(out.getFirst());
    return () -> {
      mixture.read();
      mixture.forRows((from, to) -> {
        double[][] logs = mixture.logs(from, to);
        for (int m = from; m < to; m++) {
          ScalarLoops.set(DType.F32, density, m, (float) logSum(logs[m - from]));
        }
      });
    };
  }

  static Launch backward(
      CpuDevice d, GaussianMixtureBackward op, List<Tensor> in, List<Tensor> out) {
    int last = in.size() - 1;
    CpuGaussianMixture mixture =
        new CpuGaussianMixture(d, op.components(), in.subList(0, last - 1));
    MemorySegment logDensity = d.segment(in.get(last - 1));
    MemorySegment ddensity = d.segment(in.get(last));
    MemorySegment dz = d.segment(out.get(0));
    MemorySegment dparameters = d.segment(out.get(1));
    MemorySegment dlogits = out.size() > 2 ? d.segment(out.get(2)) : null;
    double[][] shares = new double[mixture.z.length][];
    return () -> {
      mixture.read();
      mixture.forRows((from, to) -> {
        double[][] logs = mixture.logs(from, to);
        for (int m = from; m < to; m++) {
          shares[m] = logs[m - from];
          double density = ScalarLoops.get(DType.F32, logDensity, m);
          double slope = ScalarLoops.get(DType.F32, ddensity, m);
          for (int k = 0; k < op.components(); k++) {
            shares[m][k] = slope * Math.exp(shares[m][k] - density);
          }
        }
        mixture.towardsMeans(from, to, shares, dz);
      });
      mixture.forComponents(c -> mixture.gradient(c, shares, ddensity, dparameters, dlogits));
    };
  }

  private interface Rows {
    void run(int from, int to);
  }

  private interface Component {
    void run(int component);
  }

  private void forRows(Rows body) {
    device.workers().forRange(z.length, ROWS, body::run);
  }

  private void forComponents(Component body) {
    device
        .workers()
        .forRange(
            means.length,
            Math.max(1, 1024 / means[0].length),
            (from, to) -> {
              for (int c = from; c < to; c++) {
                body.run(c);
              }
            });
  }

  /** Takes what the tensors hold now. */
  private void read() {
    int depth = z[0].length;
    for (int m = 0; m < z.length; m++) {
      for (int i = 0; i < depth; i++) {
        z[m][i] = ScalarLoops.get(DType.F32, zData, (long) m * depth + i);
      }
    }
    readWeights();
    forComponents(c -> {
      double logs = depth * LOG_2_PI;
      for (int i = 0; i < depth; i++) {
        long at = (long) c * 2 * depth + i;
        double logVariance = ScalarLoops.get(DType.F32, parameters, at + depth);
        means[c][i] = ScalarLoops.get(DType.F32, parameters, at);
        inverses[c][i] = Math.exp(-logVariance);
        logs += logVariance;
      }
      most[c] -= 0.5 * logs;
    });
  }

  /** The weights, and their logarithms in {@code most}. */
  private void readWeights() {
    if (logits == null) {
      Arrays.fill(weights, 1.0 / components);
      Arrays.fill(most, -Math.log(components));
      return;
    }
    double[] row = new double[components];
    for (int first = 0; first < weights.length; first += components) {
      for (int k = 0; k < components; k++) {
        row[k] = ScalarLoops.get(DType.F32, logits, first + k);
      }
      double sum = logSum(row);
      for (int k = 0; k < components; k++) {
        most[first + k] = row[k] - sum;
        weights[first + k] = Math.exp(row[k] - sum);
      }
    }
  }

  /** The number of a row's component among all. */
  private int component(int row, int k) {
    return row % (means.length / components) * components + k;
  }

  /** Of some rows, of each component the logarithm of its weighted density. */
  private double[][] logs(int from, int to) {
    double[][] logs = new double[to - from][components];
    for (int k = 0; k < components; k++) {
      for (int m = from; m < to; m++) {
        int c = component(m, k);
        logs[m - from][k] =
            most[c] - 0.5 * device.loops().squaredDistance(z[m], means[c], inverses[c]);
      }
    }
    return logs;
  }

  private static double logSum(double[] x) {
    double largest = -Double.MAX_VALUE; // all may be minus infinity
    for (double v : x) {
      largest = Math.max(largest, v);
    }
    double sum = 0;
    for (double v : x) {
      sum += Math.exp(v - largest);
    }
    return largest + Math.log(sum);
  }

  /** The gradient of some rows of z. */
  private void towardsMeans(int from, int to, double[][] shares, MemorySegment dz) {
    int depth = z[0].length;
    double[] slopes = new double[depth];
    for (int m = from; m < to; m++) {
      Arrays.fill(slopes, 0);
      for (int k = 0; k < components; k++) {
        int c = component(m, k);
        addScaled(slopes, shares[m][k], means[c], z[m], inverses[c]);
      }
      store(slopes, dz, (long) m * depth);
    }
  }

  /** The gradient of a component's means, log-variances and logit. */
  private void gradient(
      int c,
      double[][] shares,
      MemorySegment ddensity,
      MemorySegment dparameters,
      MemorySegment dlogits) {
    int depth = z[0].length;
    double[] byMean = new double[depth];
    double[] byLogVariance = new double[depth];
    double byLogit = 0;
    for (int m = c / components; m < z.length; m += means.length / components) {
      double share = shares[m][c % components];
      addScaled(byMean, share, z[m], means[c], inverses[c]);
      addExcess(byLogVariance, 0.5 * share, z[m], means[c], inverses[c]);
      byLogit += share - weights[c] * ScalarLoops.get(DType.F32, ddensity, m);
    }
    store(byMean, dparameters, (long) c * 2 * depth);
    store(byLogVariance, dparameters, ((long) c * 2 + 1) * depth);
    if (dlogits != null) {
      ScalarLoops.set(DType.F32, dlogits, c, (float) byLogit);
    }
  }

  /** y += by * (a - b) * scale. */
  private static void addScaled(double[] y, double by, double[] a, double[] b, double[] scale) {
    for (int i = 0; i < y.length; i++) {
      y[i] += by * (a[i] - b[i]) * scale[i];
    }
  }

  /** y += by * ((a - b)^2 * scale - 1). */
  private static void addExcess(double[] y, double by, double[] a, double[] b, double[] scale) {
    for (int i = 0; i < y.length; i++) {
      y[i] += by * ((a[i] - b[i]) * (a[i] - b[i]) * scale[i] - 1);
    }
  }

  private static void store(double[] values, MemorySegment target, long to) {
    for (int i = 0; i < values.length; i++) {
      ScalarLoops.set(DType.F32, target, to + i, (float) values[i]);
    }
  }
}
