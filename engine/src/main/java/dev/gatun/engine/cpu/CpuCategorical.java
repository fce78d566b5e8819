package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.CategoricalKl;
import dev.gatun.engine.op.CategoricalKlBackward;
import dev.gatun.engine.op.CategoricalLogProbability;
import dev.gatun.engine.op.CategoricalSample;
import dev.gatun.engine.op.GumbelSoftmax;
import dev.gatun.engine.op.GumbelSoftmaxBackward;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;

/** Categorical latent variables, one after another; each in f64. */
final class CpuCategorical {
  /** Latents that a worker takes at once. */
  private static final int BLOCK = 32;

  private CpuCategorical() {}

  /**
   * Where latents lie in [N,...,L*K].
   *
   * @param each latents of an image
   */
  private record Latents(int images, int each, int categories) {
    static Latents of(Tensor logits, int categories) {
      int images = logits.shape().dim(0);
      return new Latents(images, logits.elements() / images / categories, categories);
    }

    int count() {
      return images * each;
    }

    void load(MemorySegment source, int latent, double[] x) {
      long from = (long) latent * categories;
      for (int k = 0; k < categories; k++) {
        x[k] = ScalarLoops.get(DType.F32, source, from + k);
      }
    }

    void store(double[] x, MemorySegment target, int latent) {
      long to = (long) latent * categories;
      for (int k = 0; k < categories; k++) {
        ScalarLoops.set(DType.F32, target, to + k, (float) x[k]);
      }
    }
  }

  /** Logits with Gumbel noise, of which a latent's largest is a draw of it. */
  private record Draws(
      MemorySegment logits, Latents latents, Philox philox, int first, int samples) {
    static Draws of(CpuDevice d, Tensor logits, int categories, long seed, int first, int samples) {
      Latents latents = Latents.of(logits, categories);
      return new Draws(d.segment(logits), latents, new Philox(seed), first, samples);
    }

    int count() {
      return samples * latents.count();
    }

    /** Those of row {@code row} of all samples' latents. */
    void load(int step, int row, double[] x) {
      int image = row / latents.each % latents.images;
      int sample = row / latents.each / latents.images;
      latents.load(logits, row % latents.count(), x);
      long drawn = ((long) first + image) * samples + sample; // samples before this one
      long index = (drawn * latents.each + row % latents.each) * latents.categories;
      for (int k = 0; k < x.length; k++) {
        x[k] += philox.gumbel(Philox.Stream.LATENT, step, index + k);
      }
    }
  }

  static Launch gumbelSoftmax(CpuDevice d, GumbelSoftmax op, List<Tensor> in, List<Tensor> out) {
    MemorySegment steps = d.segment(in.get(1));
    MemorySegment y = d.segment(out.getFirst());
    Draws draws = Draws.of(d, in.getFirst(), op.categories(), op.seed(), op.first(), op.samples());
    return () -> {
      int step = CpuDiffusion.step(op.name(), steps.get(JAVA_DOUBLE_UNALIGNED, 0));
      double temperature = op.temperature().at(step);
      d.workers()
          .forRange(
              draws.count(),
              BLOCK,
              (from, to) -> {
                double[] x = new double[op.categories()];
                for (int row = from; row < to; row++) {
                  draws.load(step, row, x);
                  for (int k = 0; k < x.length; k++) {
                    x[k] /= temperature;
                  }
                  softmax(x);
                  draws.latents.store(x, y, row);
                }
              });
    };
  }

  static Launch gumbelSoftmaxBackward(
      CpuDevice d, GumbelSoftmaxBackward op, List<Tensor> in, List<Tensor> out) {
    MemorySegment y = d.segment(in.get(0));
    MemorySegment dy = d.segment(in.get(1));
    MemorySegment steps = d.segment(in.get(2));
    MemorySegment dlogits = d.segment(out.getFirst());
    Latents latents = Latents.of(out.getFirst(), op.categories());
    return () -> {
      int step = CpuDiffusion.step(op.name(), steps.get(JAVA_DOUBLE_UNALIGNED, 0));
      double temperature = op.temperature().at(step);
      d.workers()
          .forRange(
              latents.count(),
              BLOCK,
              (from, to) -> {
                double[] sum = new double[op.categories()];
                double[] value = new double[op.categories()];
                double[] slope = new double[op.categories()];
                for (int latent = from; latent < to; latent++) {
                  Arrays.fill(sum, 0);
                  for (int s = 0; s < op.samples(); s++) {
                    int row = s * latents.count() + latent;
                    latents.load(y, row, value);
                    latents.load(dy, row, slope);
                    double mean = dot(value, slope);
                    for (int k = 0; k < sum.length; k++) {
                      sum[k] += value[k] * (slope[k] - mean) / temperature;
                    }
                  }
                  latents.store(sum, dlogits, latent);
                }
              });
    };
  }

  static Launch sample(CpuDevice d, CategoricalSample op, List<Tensor> in, List<Tensor> out) {
    MemorySegment steps = d.segment(in.get(1));
    MemorySegment y = d.segment(out.getFirst());
    Draws draws = Draws.of(d, in.getFirst(), op.categories(), op.seed(), op.first(), op.samples());
    return () -> {
      int step = CpuDiffusion.step(op.name(), steps.get(JAVA_DOUBLE_UNALIGNED, 0));
      d.workers()
          .forRange(
              draws.count(),
              BLOCK,
              (from, to) -> {
                double[] x = new double[op.categories()];
                for (int row = from; row < to; row++) {
                  draws.load(step, row, x);
                  int largest = largest(x);
                  Arrays.fill(x, largest < 0 ? Double.NaN : 0);
                  if (largest >= 0) {
                    x[largest] = 1;
                  }
                  draws.latents.store(x, y, row);
                }
              });
    };
  }

  /** The first of the largest; -1 where one is NaN. */
  private static int largest(double[] x) {
    int largest = 0;
    for (int k = 0; k < x.length; k++) {
      if (Double.isNaN(x[k])) {
        return -1;
      }
      if (x[k] > x[largest]) {
        largest = k;
      }
    }
    return largest;
  }

  static Launch kl(CpuDevice d, CategoricalKl op, List<Tensor> in, List<Tensor> out) {
    MemorySegment logits = d.segment(in.getFirst());
    MemorySegment kl = d.segment(out.get(0));
    MemorySegment byDimension = d.segment(out.get(1));
    Latents latents = Latents.of(in.getFirst(), op.categories());
    double[] terms = new double[latents.count()];
    return () -> {
      d.workers()
          .forRange(
              terms.length,
              BLOCK,
              (from, to) -> {
                double[] x = new double[op.categories()];
                for (int latent = from; latent < to; latent++) {
                  latents.load(logits, latent, x);
                  logSoftmax(x);
                  terms[latent] = negativeEntropy(x) + Math.log(x.length);
                }
              });
      double[] sums = new double[latents.each];
      for (int n = 0; n < latents.images; n++) {
        double sum = 0;
        for (int l = 0; l < latents.each; l++) {
          double term = terms[n * latents.each + l];
          sum += term;
          sums[l] += term;
        }
        ScalarLoops.set(DType.F32, kl, n, (float) sum);
      }
      for (int l = 0; l < latents.each; l++) {
        ScalarLoops.set(DType.F32, byDimension, l, (float) (sums[l] / latents.images));
      }
    };
  }

  static Launch klBackward(
      CpuDevice d, CategoricalKlBackward op, List<Tensor> in, List<Tensor> out) {
    MemorySegment logits = d.segment(in.getFirst());
    MemorySegment dkl = op.ofImages() ? d.segment(in.get(1)) : null;
    MemorySegment dbyDimension = op.ofDimensions() ? d.segment(in.getLast()) : null;
    MemorySegment dlogits = d.segment(out.getFirst());
    Latents latents = Latents.of(in.getFirst(), op.categories());
    return () ->
        d.workers()
            .forRange(
                latents.count(),
                BLOCK,
                (from, to) -> {
                  double[] x = new double[op.categories()];
                  for (int latent = from; latent < to; latent++) {
                    int image = latent / latents.each;
                    int dimension = latent % latents.each;
                    double slope = 0;
                    if (dkl != null) {
                      slope += ScalarLoops.get(DType.F32, dkl, image);
                    }
                    if (dbyDimension != null) {
                      double mean = ScalarLoops.get(DType.F32, dbyDimension, dimension);
                      slope += mean / latents.images;
                    }
                    latents.load(logits, latent, x);
                    logSoftmax(x);
                    double mean = negativeEntropy(x);
                    for (int k = 0; k < x.length; k++) {
                      x[k] = slope * Math.exp(x[k]) * (x[k] - mean);
                    }
                    latents.store(x, dlogits, latent);
                  }
                });
  }

  static Launch logProbability(
      CpuDevice d, CategoricalLogProbability op, List<Tensor> in, List<Tensor> out) {
    MemorySegment z = d.segment(in.get(0));
    MemorySegment logits = d.segment(in.get(1));
    MemorySegment y = d.segment(out.getFirst());
    Latents latents = Latents.of(in.get(1), op.categories());
    return () ->
        d.workers()
            .forRange(
                in.get(0).shape().dim(0),
                1,
                (from, to) -> {
                  double[] x = new double[op.categories()];
                  double[] drawn = new double[op.categories()];
                  for (int row = from; row < to; row++) {
                    double sum = 0;
                    for (int l = 0; l < latents.each; l++) {
                      latents.load(logits, row % latents.images * latents.each + l, x);
                      latents.load(z, row * latents.each + l, drawn);
                      logSoftmax(x);
                      sum += dot(drawn, x);
                    }
                    ScalarLoops.set(DType.F32, y, row, (float) sum);
                  }
                });
  }

  private static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int k = 0; k < a.length; k++) {
      sum += a[k] * b[k];
    }
    return sum;
  }

  private static double max(double[] x) {
    double max = x[0];
    for (double v : x) {
      max = Math.max(max, v);
    }
    return max;
  }

  private static void softmax(double[] x) {
    double max = max(x);
    double sum = 0;
    for (int k = 0; k < x.length; k++) {
      x[k] = Math.exp(x[k] - max);
      sum += x[k];
    }
    for (int k = 0; k < x.length; k++) {
      x[k] /= sum;
    }
  }

  private static void logSoftmax(double[] x) {
    double max = max(x);
    double sum = 0;
    for (double v : x) {
      sum += Math.exp(v - max);
    }
    double logSum = max + Math.log(sum);
    for (int k = 0; k < x.length; k++) {
      x[k] -= logSum;
    }
  }

  /** Of logarithms of probabilities, the mean under them. */
  private static double negativeEntropy(double[] x) {
    double sum = 0;
    for (double v : x) {
      sum += Math.exp(v) * v;
    }
    return sum;
  }
}
