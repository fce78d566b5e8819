package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.LogisticMixture;
import dev.gatun.engine.op.LogisticMixtureBackward;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** The discretized mixture of logistics and its gradient: f64, one pixel after another. */
final class CpuMixture {
  private CpuMixture() {}

  /** Parameters that a thread takes at a time. */
  private static final int SIZE = 2 * Blocks.SIZE;

  static Launch forward(CpuDevice d, LogisticMixture op, List<Tensor> in, List<Tensor> out) {
    MemorySegment parameters = d.segment(in.get(0));
    MemorySegment images = d.segment(in.get(1));
    MemorySegment mean = d.segment(out.get(0));
    MemorySegment nats = d.segment(out.get(1));
    int colours = in.get(1).shape().dim(3);
    int channels = in.get(0).shape().dim(3);
    int pixels = in.get(1).shape().rows();
    return () -> {
      d.workers()
          .forRange(
              pixels,
              Math.max(1, SIZE / channels),
              (from, to) -> {
                float[] block = new float[(to - from) * channels];
                d.loops()
                    .load(DType.F32, parameters, (long) from * channels, block, 0, block.length);
                Pixel pixel = new Pixel(op.name(), op.mixtures(), op.levels(), colours, false);
                for (int i = from; i < to; i++) {
                  double own = pixel.nats(block, (i - from) * channels, images, i);
                  ScalarLoops.set(DType.F32, nats, i, (float) own);
                }
              });
      // summed here and not by the pieces, so that the sum does not depend on how many there were
      double total = 0;
      for (int i = 0; i < pixels; i++) {
        total += ScalarLoops.get(DType.F32, nats, i);
      }
      ScalarLoops.set(DType.F32, mean, 0, (float) (total / ((double) pixels * colours)));
    };
  }

  static Launch backward(
      CpuDevice d, LogisticMixtureBackward op, List<Tensor> in, List<Tensor> out) {
    MemorySegment parameters = d.segment(in.get(0));
    MemorySegment images = d.segment(in.get(1));
    MemorySegment dmean = d.segment(in.get(2));
    MemorySegment dparameters = d.segment(out.get(0));
    int colours = in.get(1).shape().dim(3);
    int channels = in.get(0).shape().dim(3);
    int pixels = in.get(1).shape().rows();
    return () -> {
      double scale = ScalarLoops.get(DType.F32, dmean, 0) / ((double) pixels * colours);
      d.workers()
          .forRange(
              pixels,
              Math.max(1, SIZE / channels),
              (from, to) -> {
                float[] block = new float[(to - from) * channels];
                long first = (long) from * channels;
                d.loops().load(DType.F32, parameters, first, block, 0, block.length);
                Pixel pixel = new Pixel(op.name(), op.mixtures(), op.levels(), colours, true);
                for (int i = from; i < to; i++) {
                  int at = (i - from) * channels;
                  pixel.nats(block, at, images, i);
                  pixel.gradient(scale, block, at);
                }
                d.loops().store(op.type(), block, 0, dparameters, first, block.length);
              });
    };
  }

  /** What is known of one pixel, in arrays that the next one overwrites. */
  private static final class Pixel {
    final String op;
    final int mixtures;
    final int levels;
    final int colours;
    final boolean slopes;
    final double half;
    final double logStep;
    final double[] values;
    final double[] prior;
    final double[] posterior;
    final double[] factors;
    final double[] byMean;
    final double[] byScale;
    final double[] tanh;

    /**
     * A place for pixels, one after another.
     *
     * @param slopes whether their gradients are wanted
     */
    Pixel(String op, int mixtures, int levels, int colours, boolean slopes) {
      this.op = op;
      this.mixtures = mixtures;
      this.levels = levels;
      this.colours = colours;
      this.slopes = slopes;
      half = 1.0 / (levels - 1);
      logStep = Math.log(2 * half);
      values = new double[colours];
      prior = new double[mixtures];
      posterior = new double[mixtures];
      factors = new double[mixtures];
      byMean = new double[colours * mixtures];
      byScale = new double[colours * mixtures];
      tanh = new double[colours * mixtures];
    }

    /** Where a colour's means, log-scales or coefficients (part 0, 1, 2) start. */
    private int offset(int colour, int part) {
      return mixtures * (1 + colour * (colours == 3 ? 3 : 2) + part);
    }

    /** A pixel's nats; keeps what its gradient needs. */
    double nats(float[] parameters, int at, MemorySegment images, int index) {
      for (int m = 0; m < mixtures; m++) {
        prior[m] = parameters[at + m];
        posterior[m] = prior[m];
        factors[m] = 1;
      }
      double before = shares(prior, factors);
      if (colours == 3) {
        for (int c = 0; c < 3; c++) {
          for (int m = 0; m < mixtures; m++) {
            tanh[c * mixtures + m] = Math.tanh(parameters[at + offset(c, 2) + m]);
          }
        }
      }
      for (int c = 0; c < colours; c++) {
        int level = level(images, index, c);
        values[c] = level * 2.0 * half - 1;
        int means = at + offset(c, 0);
        int scales = at + offset(c, 1);
        for (int m = 0; m < mixtures; m++) {
          double mean = parameters[means + m];
          if (c == 1) {
            mean += tanh[m] * values[0];
          } else if (c == 2) {
            mean += tanh[mixtures + m] * values[0] + tanh[2 * mixtures + m] * values[1];
          }
          bin(level, values[c] - mean, parameters[scales + m], m, c * mixtures + m);
        }
      }
      return before - shares(posterior, factors);
    }

    private int level(MemorySegment images, int index, int colour) {
      int level = images.get(JAVA_BYTE, (long) index * colours + colour) & 0xFF;
      if (level >= levels) {
        throw new IllegalArgumentException(
            op
                + ": value "
                + level
                + " in pixel "
                + index
                + ", but there are "
                + levels
                + " levels");
      }
      return level;
    }

    /**
     * A component's mass in a bin, (1 - exp(b - a)) * sigmoid(a) * sigmoid(-b), a and b the upper
     * and the lower end of the bin in units of the scale. What may underflow of it goes to {@code
     * posterior} as a logarithm; the rest, between 1 and a 10,000th, to {@code factors}, which
     * spares a logarithm a bin. A bin at an end of the range lacks the terms of its other side.
     */
    private void bin(int level, double distance, double logScale, int m, int slot) {
      double clamped = Math.max(logScale, LogisticMixture.LEAST_LOG_SCALE);
      double inverse = Math.exp(-clamped);
      double a = inverse * (distance + half);
      double b = inverse * (distance - half);
      if (level == 0) {
        double e = Math.exp(-Math.abs(a));
        double r = 1 / (1 + e);
        posterior[m] -= Math.max(-a, 0);
        factors[m] *= r;
        double tail = a > 0 ? e * r : r;
        put(slot, -inverse * tail, -a * tail, logScale);
        return;
      }
      if (level == levels - 1) {
        double e = Math.exp(-Math.abs(b));
        double r = 1 / (1 + e);
        posterior[m] -= Math.max(b, 0);
        factors[m] *= r;
        double tail = b > 0 ? r : e * r;
        put(slot, inverse * tail, b * tail, logScale);
        return;
      }
      double width = 2 * half * inverse;
      boolean narrow = width < 1e-3;
      double share = 1 - width * (0.5 - width * (1.0 / 6 - width * (1.0 / 24)));
      double e; // exp(-width)
      double ea; // exp(-|a|)
      double eb; // exp(-|b|)
      if (a > 0 && b < 0) {
        ea = Math.exp(-a);
        eb = Math.exp(b);
        e = ea * eb;
      } else {
        // the end farther out by one exponential more
        e = narrow ? 1 - width * share : Math.exp(-width);
        double near = Math.exp(-Math.min(Math.abs(a), Math.abs(b)));
        ea = a > 0 ? near * e : near;
        eb = a > 0 ? near : near * e;
      }
      double r = 1 / ((1 + ea) * (1 + eb));
      // 1 - exp would cancel where it is narrow, and underflow where the scale is large
      factors[m] *= r * (narrow ? share : 1 - e);
      posterior[m] -= Math.max(-a, 0) + Math.max(b, 0) - (narrow ? logStep - clamped : 0);
      if (slopes) {
        double upper = r * (1 + eb) * (a > 0 ? ea : 1);
        double lower = r * (1 + ea) * (b > 0 ? 1 : eb);
        double inside = narrow ? 1 - width * (0.5 - width * (1.0 / 12)) : width * e / (1 - e);
        put(slot, inverse * (lower - upper), b * lower - a * upper - inside, logScale);
      }
    }

    private void put(int slot, double mean, double scale, double logScale) {
      byMean[slot] = mean;
      byScale[slot] = logScale < LogisticMixture.LEAST_LOG_SCALE ? 0 : scale;
    }

    /** x = the shares of factor * exp(x) in their sum; returns the logarithm of that sum. */
    private static double shares(double[] x, double[] factors) {
      double max = Double.NEGATIVE_INFINITY;
      for (double v : x) {
        max = Math.max(max, v);
      }
      double sum = 0;
      for (int i = 0; i < x.length; i++) {
        x[i] = factors[i] * Math.exp(x[i] - max);
        sum += x[i];
      }
      double scale = 1 / sum;
      for (int i = 0; i < x.length; i++) {
        x[i] *= scale;
      }
      return max + Math.log(sum);
    }

    /** Overwrites the parameters of the pixel last seen with their gradient. */
    void gradient(double scale, float[] parameters, int at) {
      for (int m = 0; m < mixtures; m++) {
        parameters[at + m] = (float) ((prior[m] - posterior[m]) * scale);
        double share = -posterior[m] * scale;
        for (int c = 0; c < colours; c++) {
          int slot = c * mixtures + m;
          parameters[at + offset(c, 0) + m] = (float) (share * byMean[slot]);
          parameters[at + offset(c, 1) + m] = (float) (share * byScale[slot]);
        }
        if (colours == 3) {
          double green = share * byMean[mixtures + m];
          double blue = share * byMean[2 * mixtures + m];
          parameters[at + offset(0, 2) + m] = (float) (green * values[0] * slope(m));
          parameters[at + offset(1, 2) + m] = (float) (blue * values[0] * slope(mixtures + m));
          parameters[at + offset(2, 2) + m] = (float) (blue * values[1] * slope(2 * mixtures + m));
        }
      }
    }

    private double slope(int slot) {
      return 1 - tanh[slot] * tanh[slot];
    }
  }
}
