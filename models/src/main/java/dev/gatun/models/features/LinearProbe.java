package dev.gatun.models.features;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.Taps;
import dev.gatun.models.metrics.Features;
import dev.gatun.models.metrics.FrechetDistance.Gaussian;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import org.ejml.data.DMatrixRMaj;
import org.ejml.dense.row.CommonOps_DDRM;
import org.ejml.dense.row.factory.LinearSolverFactory_DDRM;
import org.ejml.dense.row.mult.VectorVectorMult_DDRM;
import org.ejml.interfaces.linsol.LinearSolverDense;

/**
 * Multinomial logistic regression on standardized features: how well classes can be told apart by a
 * linear function of them. Minimizes the mean cross-entropy plus penalty / 2 times the squared norm
 * of the weights, biases excepted. The penalty is the power of ten that serves a fifth of the
 * examples best, in cross-entropy, which are held out for it; then all are fitted.
 *
 * <p>The same seed gives the same probe on the same machine.
 *
 * <p>Letters: N examples, F features, K classes.
 *
 * @see "Alain and Bengio 2016, Understanding Intermediate Layers Using Linear Classifier Probes"
 */
public final class LinearProbe {
  private static final double[] PENALTIES = {1, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5};

  /** One of so many examples is held out; there must be as many. */
  static final int LEAST = 5;

  private final double penalty;
  private final double[] mean; // F
  private final double[] deviation; // F
  private final double[] weights; // (F + 1, K): the last row are the biases
  private final int classes;

  private LinearProbe(
      double penalty, double[] mean, double[] deviation, double[] weights, int classes) {
    this.penalty = penalty;
    this.mean = mean;
    this.deviation = deviation;
    this.weights = weights;
    this.classes = classes;
  }

  /**
   * Fits a probe.
   *
   * @param device computes the gradients, in f32
   * @param features [N,F]
   * @param labels [N], each below {@code classes}
   * @param seed which examples are held out for the penalty
   * @throws IllegalArgumentException in one line if there are fewer than 5 examples, or not as many
   *     labels
   */
  public static LinearProbe fit(
      Device device, Features features, int[] labels, int classes, long seed) {
    int count = features.count();
    if (count < LEAST || labels.length != count) {
      throw new IllegalArgumentException(
          "a linear probe of "
              + count
              + " examples with "
              + labels.length
              + " labels: give "
              + LEAST
              + " or more, and as many labels");
    }
    int[] order = new Philox(seed).permutation(count, Philox.Stream.SHUFFLE, 0);
    int[] aside = Arrays.copyOf(order, count / LEAST);
    int[] rest = Arrays.copyOfRange(order, count / LEAST, count);
    Features heldOut = features.rows(aside);
    int[] heldOutLabels = Labels.pick(labels, aside);
    double best = Double.POSITIVE_INFINITY;
    double penalty = PENALTIES[0];
    try (Fit fit = new Fit(device, features.rows(rest), Labels.pick(labels, rest), classes)) {
      for (double candidate : PENALTIES) {
        double nats = fit.solve(candidate).crossEntropy(heldOut, heldOutLabels);
        if (nats < best) {
          best = nats;
          penalty = candidate;
        }
      }
    }
    try (Fit fit = new Fit(device, features, labels, classes)) {
      return fit.solve(penalty);
    }
  }

  /** The penalty that was chosen. */
  public double penalty() {
    return penalty;
  }

  /**
   * The share of examples that it puts in their classes.
   *
   * @param features [N,F]
   * @param labels [N]
   */
  public double accuracy(Features features, int[] labels) {
    int right = 0;
    for (int n = 0; n < features.count(); n++) {
      right += Labels.argMax(logits(features, n)) == labels[n] ? 1 : 0;
    }
    return (double) right / Math.max(1, features.count());
  }

  /** The mean over examples, in nats. */
  double crossEntropy(Features features, int[] labels) {
    double nats = 0;
    for (int n = 0; n < features.count(); n++) {
      double[] logits = logits(features, n);
      double most = logits[Labels.argMax(logits)];
      double sum = 0;
      for (double logit : logits) {
        sum += Math.exp(logit - most);
      }
      nats += most + Math.log(sum) - logits[labels[n]];
    }
    return nats / features.count();
  }

  private double[] logits(Features features, int n) {
    int size = mean.length;
    double[] logits = Arrays.copyOfRange(weights, size * classes, (size + 1) * classes);
    for (int i = 0; i < size; i++) {
      double x = (features.values()[n * size + i] - mean[i]) / deviation[i];
      for (int k = 0; k < classes; k++) {
        logits[k] += x * weights[i * classes + k];
      }
    }
    return logits;
  }

  /**
   * Examples on a device, to be fitted with one penalty after another, each from where the last one
   * ended: L-BFGS on all examples at once.
   *
   * <p>The Hessian of the cross-entropy is nowhere above half of the features' second moments, for
   * each class, so the inverse of these is a good first guess of its inverse: where features depend
   * on each other the identity would be a bad one. Steps are accepted by gradients alone: the loss,
   * in f32, does not show the last falls.
   *
   * @see "Nocedal and Wright 2006, Numerical Optimization, algorithms 7.4 and 7.5"
   * @see "Boehning 1992, Multinomial Logistic Regression Algorithm, section 2"
   * @see "Hager and Zhang 2005, A New Conjugate Gradient Method with Guaranteed Descent and an
   *     Efficient Line Search, section 4: the approximate Wolfe condition"
   */
  private static final class Fit implements AutoCloseable {
    private static final int ITERATIONS = 500;
    private static final int PAIRS = 20;
    private static final double SHORTEST = 1e-3;

    /** Twice the nats by which the objective may still fall, about. */
    private static final double TOLERANCE = 1e-6;

    /** A step and how the gradient changed over it. */
    private record Pair(DMatrixRMaj step, DMatrixRMaj change, double product) {}

    private final int size;
    private final int classes;
    private final double[] mean;
    private final double[] deviation;
    private final DMatrixRMaj moments; // (F + 1, F + 1), of standardized features and a 1
    private final Owned owned = new Owned();
    private final Tensor weights; // (1, F, K) f32
    private final Tensor biases; // (K) f32
    private final Tensor weightSlopes;
    private final Tensor biasSlopes;
    private final Program program;
    private DMatrixRMaj solution; // (F + 1, K)

    Fit(Device device, Features features, int[] labels, int classes) {
      int count = features.count();
      size = features.size();
      this.classes = classes;
      Gaussian gaussian = Gaussian.of(features);
      mean = gaussian.mean();
      deviation = new double[size];
      for (int i = 0; i < size; i++) {
        double variance = gaussian.covariance()[i * size + i] * (count - 1) / count;
        deviation[i] = variance > 0 ? Math.sqrt(variance) : 1; // a constant stays 0
      }
      moments = new DMatrixRMaj(size + 1, size + 1);
      for (int i = 0; i < size; i++) {
        for (int j = 0; j < size; j++) {
          double covariance = gaussian.covariance()[i * size + j] * (count - 1) / count;
          moments.set(i, j, covariance / (deviation[i] * deviation[j]));
        }
      }
      moments.set(size, size, 1);
      solution = new DMatrixRMaj(size + 1, classes);
      try {
        Tensor x = owned.add(Tensor.allocate(device, DType.F32, count, 1, 1, size));
        x.write(standardized(features));
        Tensor targets = owned.add(Tensor.allocate(device, DType.U8, count));
        byte[] narrow = new byte[count];
        for (int n = 0; n < count; n++) {
          narrow[n] = (byte) labels[n];
        }
        targets.write(narrow);
        weights = owned.add(Tensor.allocate(device, DType.F32, 1, size, classes));
        biases = owned.add(Tensor.allocate(device, DType.F32, classes));
        weightSlopes = owned.add(Tensor.allocate(device, DType.F32, 1, size, classes));
        biasSlopes = owned.add(Tensor.allocate(device, DType.F32, classes));
        Graph graph = new Graph();
        Value w = graph.bind(weights);
        Value b = graph.bind(biases);
        Value logits = graph.apply(new Conv2d(Taps.point()), graph.bind(x), w, b);
        Value loss = graph.apply(new SoftmaxCrossEntropy(null), logits, graph.bind(targets));
        List<Value> slopes = graph.gradients(loss, List.of(w, b));
        graph.store(slopes.get(0), weightSlopes);
        graph.store(slopes.get(1), biasSlopes);
        program = owned.add(graph.compile(device));
      } catch (RuntimeException | Error e) {
        close();
        throw e;
      }
    }

    private float[] standardized(Features features) {
      float[] all = new float[features.values().length];
      for (int at = 0; at < all.length; at++) {
        int i = at % size;
        all[at] = (float) ((features.values()[at] - mean[i]) / deviation[i]);
      }
      return all;
    }

    LinearProbe solve(double penalty) {
      DMatrixRMaj bound = moments.copy();
      CommonOps_DDRM.scale(0.5, bound);
      for (int i = 0; i < size; i++) {
        bound.add(i, i, penalty);
      }
      LinearSolverDense<DMatrixRMaj> solver = LinearSolverFactory_DDRM.symmPosDef(size + 1);
      if (!solver.setA(bound)) {
        throw new ArithmeticException("a linear probe's features are not finite");
      }
      Deque<Pair> pairs = new ArrayDeque<>(); // the last one first
      DMatrixRMaj slope = gradient(solution, penalty);
      for (int i = 0; i < ITERATIONS; i++) {
        DMatrixRMaj direction = newton(solver, pairs, slope);
        double fall = dot(slope, direction);
        if (fall < TOLERANCE) {
          break;
        }
        double length = 1;
        DMatrixRMaj next = add(solution, -length, direction);
        DMatrixRMaj nextSlope = gradient(next, penalty);
        while (-dot(nextSlope, direction) > fall / 2 && length > SHORTEST) { // it went too far
          length /= 2;
          next = add(solution, -length, direction);
          nextSlope = gradient(next, penalty);
        }
        DMatrixRMaj step = add(next, -1, solution);
        DMatrixRMaj change = add(nextSlope, -1, slope);
        double product = dot(step, change);
        if (product > 0) { // below is rounding: the objective is convex
          pairs.addFirst(new Pair(step, change, product));
        }
        if (pairs.size() > PAIRS) {
          pairs.removeLast();
        }
        solution = next;
        slope = nextSlope;
      }
      return new LinearProbe(penalty, mean, deviation, solution.data.clone(), classes);
    }

    /** The inverse of the Hessian, as the pairs tell it, times the gradient. */
    private static DMatrixRMaj newton(
        LinearSolverDense<DMatrixRMaj> first, Deque<Pair> pairs, DMatrixRMaj slope) {
      DMatrixRMaj rest = slope;
      Deque<Double> shares = new ArrayDeque<>(); // the oldest pair's first
      for (Pair pair : pairs) {
        double share = dot(pair.step, rest) / pair.product;
        rest = add(rest, -share, pair.change);
        shares.addFirst(share);
      }
      DMatrixRMaj direction = new DMatrixRMaj(slope.numRows, slope.numCols);
      first.solve(rest, direction);
      if (!pairs.isEmpty()) { // the curvature that was met, which may be far less than the bound
        Pair last = pairs.getFirst();
        DMatrixRMaj bounded = new DMatrixRMaj(slope.numRows, slope.numCols);
        first.solve(last.change, bounded);
        CommonOps_DDRM.scale(last.product / dot(last.change, bounded), direction);
      }
      for (Pair pair : pairs.reversed()) {
        double share = shares.removeFirst() - dot(pair.change, direction) / pair.product;
        direction = add(direction, share, pair.step);
      }
      return direction;
    }

    private static double dot(DMatrixRMaj a, DMatrixRMaj b) {
      return VectorVectorMult_DDRM.innerProd(a, b);
    }

    /** a + scale * b. */
    private static DMatrixRMaj add(DMatrixRMaj a, double scale, DMatrixRMaj b) {
      return CommonOps_DDRM.add(a, scale, b, null);
    }

    private DMatrixRMaj gradient(DMatrixRMaj at, double penalty) {
      float[] values = new float[(size + 1) * classes];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) at.data[i];
      }
      weights.write(Arrays.copyOf(values, size * classes));
      biases.write(Arrays.copyOfRange(values, size * classes, values.length));
      program.run();
      float[] ofWeights = weightSlopes.toFloats();
      float[] ofBiases = biasSlopes.toFloats();
      DMatrixRMaj slope = new DMatrixRMaj(size + 1, classes);
      for (int i = 0; i < ofWeights.length; i++) {
        slope.data[i] = ofWeights[i] + penalty * at.data[i];
      }
      for (int k = 0; k < classes; k++) {
        slope.data[size * classes + k] = ofBiases[k];
      }
      return slope;
    }

    @Override
    public void close() {
      owned.close();
    }
  }
}
