package dev.gatun.engine.contract;

import dev.gatun.engine.DType;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.contract.Reference.Result;
import dev.gatun.engine.op.IafStep;
import dev.gatun.engine.op.IafStepBackward;
import dev.gatun.engine.op.ImageLikelihood;
import dev.gatun.engine.op.ImageLikelihoodBackward;
import dev.gatun.engine.op.ImportanceBound;
import dev.gatun.engine.op.ImportanceBoundBackward;
import dev.gatun.engine.op.LogisticMixture;
import dev.gatun.engine.op.ScalePixels;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** Of {@link Reference}: likelihoods of whole images, bounds on them, and flows. */
final class LikelihoodReference {
  /** Exponentials may be below the least normal number, where a device has fewer bits or none. */
  private static final double TINY = 0x1p-126 / 0x1p-24;

  private LikelihoodReference() {}

  static List<Result> scalePixels(ScalePixels op, List<TensorSpec> specs, List<double[]> in) {
    Result y = Result.of(in.getFirst().length);
    for (int i = 0; i < in.getFirst().length; i++) {
      y.add(i, in.getFirst()[i] * 2 / (op.levels() - 1));
      y.add(i, -1);
    }
    return List.of(y);
  }

  /**
   * A value's nats and their slopes by its parameters, each with the sum of the sizes of its terms;
   * and of each slope the factor of the exponentials in it.
   */
  private record Nats(
      double value, double size, double[] slopes, double[] sizes, double[] factors) {
    static Nats of(
        ImageLikelihood.Kind kind, int levels, boolean ofLevels, double target, double[] p) {
      double x = ofLevels ? 2 * target / (levels - 1) - 1 : target;
      double xSize = ofLevels ? 2 * target / (levels - 1) + 1 : Math.abs(target);
      double d = p[0] - x;
      double dSize = Math.abs(p[0]) + xSize;
      return switch (kind) {
        case BERNOULLI -> {
          double t = target / (levels - 1);
          double softplus = Math.max(p[0], 0) + Math.log1p(Math.exp(-Math.abs(p[0])));
          double sigmoid = 1 / (1 + Math.exp(-p[0]));
          yield new Nats(
              softplus - t * p[0],
              softplus + Math.abs(t * p[0]),
              new double[] {sigmoid - t},
              new double[] {sigmoid + t},
              new double[] {1});
        }
        case SQUARED ->
            new Nats(
                d * d / 2,
                d * d / 2 + Math.abs(d) * dSize,
                new double[] {d},
                new double[] {dSize},
                new double[] {0});
        case GAUSSIAN -> {
          double inverse = Math.exp(-p[1]);
          double square = d * d * inverse / 2;
          // what the distance is off by, squared
          double squareSize = square + Math.abs(d) * dSize * inverse;
          yield new Nats(
              Math.log(2 * Math.PI) / 2 + p[1] / 2 + square,
              Math.log(2 * Math.PI) / 2 + Math.abs(p[1]) / 2 + squareSize,
              new double[] {d * inverse, 0.5 - square},
              new double[] {dSize * inverse, 0.5 + squareSize},
              new double[] {dSize, Math.abs(d) * dSize});
        }
        case LOGISTIC -> {
          Reference.Bin bin = Reference.bin(levels, (int) target, p[0], Math.abs(p[0]), p[1]);
          double inverse = Math.exp(-Math.max(p[1], LogisticMixture.LEAST_LOG_SCALE));
          // an end's place times an exponential of it, which is normal up to about 88
          double place = Math.min(88, (Math.abs(d) + 1.0 / (levels - 1)) * inverse);
          yield new Nats(
              -bin.value(),
              bin.size(),
              new double[] {-bin.byMean(), -bin.byScale()},
              new double[] {bin.byMeanSize(), bin.byScaleSize()},
              new double[] {inverse, place});
        }
      };
    }
  }

  private interface Visit {
    /** A value of a row, and where its first parameter is. */
    void at(int row, int parameter, Nats nats);
  }

  private static void forEach(
      ImageLikelihood op, List<TensorSpec> specs, List<double[]> in, Visit visit) {
    int blocks = op.kind().blocks();
    int channels = specs.get(1).shape().dim(3);
    int images = specs.get(1).shape().dim(0);
    int each = specs.get(1).shape().elements() / images;
    for (int row = 0; row < specs.get(0).shape().dim(0); row++) {
      for (int i = 0; i < each; i++) {
        int at = ((row * each + i) / channels * blocks) * channels + i % channels;
        double[] p = new double[blocks];
        Arrays.setAll(p, k -> in.get(0)[at + k * channels]);
        double target = in.get(1)[row % images * each + i];
        boolean ofLevels = specs.get(1).dtype() == DType.U8;
        visit.at(row, at, Nats.of(op.kind(), op.levels(), ofLevels, target, p));
      }
    }
  }

  static List<Result> imageLikelihood(
      ImageLikelihood op, List<TensorSpec> specs, List<double[]> in) {
    Result nats = Result.of(specs.get(0).shape().dim(0));
    forEach(op, specs, in, (row, at, one) -> nats.grow(row, one.value, one.size + TINY));
    return List.of(nats);
  }

  static List<Result> imageLikelihoodBackward(
      ImageLikelihoodBackward op, List<TensorSpec> specs, List<double[]> in) {
    Result d = Result.of(in.get(0).length);
    ImageLikelihood forward = new ImageLikelihood(op.kind(), op.levels(), null);
    int channels = specs.get(1).shape().dim(3);
    forEach(
        forward,
        specs,
        in,
        (row, at, one) -> {
          double outer = in.get(2)[row];
          for (int k = 0; k < one.slopes.length; k++) {
            d.set(
                at + k * channels,
                one.slopes[k] * outer,
                (one.sizes[k] + TINY * (1 + one.factors[k])) * Math.abs(outer) + TINY);
          }
        });
    return List.of(d);
  }

  /** Of [S,N] the w of each, and the sum of the sizes of its terms. */
  private static Result weights(List<Double> factors, List<double[]> in) {
    Result w = Result.of(in.getFirst().length);
    for (int i = 0; i < factors.size(); i++) {
      for (int j = 0; j < w.value().length; j++) {
        w.add(j, factors.get(i) * in.get(i)[j]);
      }
    }
    return w;
  }

  /** By row, the softmax of -w over the samples of its image. */
  private static double[] shares(Result w, int images) {
    double[] shares = new double[w.value().length];
    for (int n = 0; n < images; n++) {
      double least = Double.POSITIVE_INFINITY;
      for (int i = n; i < shares.length; i += images) {
        least = Math.min(least, w.value()[i]);
      }
      double sum = 0;
      for (int i = n; i < shares.length; i += images) {
        shares[i] = Math.exp(least - w.value()[i]);
        sum += shares[i];
      }
      for (int i = n; i < shares.length; i += images) {
        shares[i] /= sum;
      }
    }
    return shares;
  }

  static List<Result> importanceBound(
      ImportanceBound op, List<TensorSpec> specs, List<double[]> in) {
    Result w = weights(op.factors(), in);
    int images = w.value().length / op.samples();
    double[] shares = shares(w, images);
    Result mean = Result.of(1);
    Result each = Result.of(images);
    for (int n = 0; n < images; n++) {
      // the least w has the largest share: none of these logarithms is of zero
      int likeliest = n;
      double size = 0;
      for (int i = n; i < shares.length; i += images) {
        likeliest = shares[i] > shares[likeliest] ? i : likeliest;
        size += shares[i] * w.magnitude()[i];
      }
      double spread = Math.log(op.samples() * shares[likeliest]);
      each.set(n, w.value()[likeliest] + spread, size + Math.abs(spread));
      mean.grow(0, each.value()[n] / images, each.magnitude()[n] / images);
    }
    return List.of(mean, each);
  }

  static List<Result> importanceBoundBackward(
      ImportanceBoundBackward op, List<TensorSpec> specs, List<double[]> in) {
    Result w = weights(op.factors(), in);
    int images = w.value().length / op.samples();
    double[] shares = shares(w, images);
    List<Result> all = new ArrayList<>();
    for (double factor : op.factors()) {
      all.addAll(Reference.map(shares.length, i -> factor * shares[i] * in.getLast()[0] / images));
    }
    return all;
  }

  static List<Result> iafStep(IafStep op, List<TensorSpec> specs, List<double[]> in) {
    double[] z = in.get(0);
    int rows = specs.getFirst().shape().dim(0);
    Result y = Result.of(z.length);
    Result logDeterminant = Result.of(rows);
    for (int i = 0; i < z.length; i++) {
      int m = said(specs, i);
      double s = in.get(1)[m + specs.getFirst().shape().dim(-1)];
      y.add(i, z[i] / (1 + Math.exp(-s)));
      y.add(i, in.get(1)[m] / (1 + Math.exp(s)));
      logDeterminant.add(
          i / (z.length / rows), Math.min(s, 0) - Math.log1p(Math.exp(-Math.abs(s))));
    }
    return List.of(y, logDeterminant);
  }

  /** Where what is said of element i of z begins. */
  private static int said(List<TensorSpec> specs, int i) {
    int channels = specs.getFirst().shape().dim(-1);
    return i / channels * 2 * channels + i % channels;
  }

  static List<Result> iafStepBackward(
      IafStepBackward op, List<TensorSpec> specs, List<double[]> in) {
    double[] z = in.get(0);
    int each = z.length / specs.getFirst().shape().dim(0);
    Result dz = Result.of(z.length);
    Result dsaid = Result.of(2 * z.length);
    for (int i = 0; i < z.length; i++) {
      int m = said(specs, i);
      int s = m + specs.getFirst().shape().dim(-1);
      double kept = 1 / (1 + Math.exp(-in.get(1)[s]));
      double rest = 1 / (1 + Math.exp(in.get(1)[s]));
      double dy = in.get(2)[i];
      dz.add(i, kept * dy);
      dsaid.add(m, rest * dy);
      dsaid.add(s, rest * kept * z[i] * dy);
      dsaid.add(s, -rest * kept * in.get(1)[m] * dy);
      dsaid.add(s, rest * in.get(3)[i / each]);
    }
    return List.of(dz, dsaid);
  }
}
