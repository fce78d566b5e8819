package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.GaussianKl;
import dev.gatun.engine.op.GaussianKlBackward;
import dev.gatun.engine.op.GaussianSample;
import dev.gatun.engine.op.GaussianSampleBackward;
import dev.gatun.engine.op.KlObjective;
import dev.gatun.engine.op.KlObjectiveBackward;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Latent variables of normal distributions, and what they cost: f64, one after another. */
final class CpuGaussian {
  private CpuGaussian() {}

  /** Elements that a thread takes at a time: each costs an exponential or more. */
  private static final int SIZE = 256;

  /**
   * Where the means and log-variances of an image's latents are.
   *
   * @param each latents of an image
   * @param depth D, of them side by side
   */
  private record Parameters(MemorySegment data, int images, int each, int depth) {
    static Parameters of(CpuDevice d, Tensor tensor) {
      return of(d.segment(tensor), tensor.shape());
    }

    static Parameters of(MemorySegment data, Shape shape) {
      int images = shape.dim(0);
      return new Parameters(data, images, shape.elements() / images / 2, shape.dim(-1) / 2);
    }

    private long at(int image, int latent) {
      long row = (long) image * (each / depth) + latent / depth;
      return row * 2 * depth + latent % depth;
    }

    double mean(int image, int latent) {
      return ScalarLoops.get(DType.F32, data, at(image, latent));
    }

    double logVariance(int image, int latent) {
      return ScalarLoops.get(DType.F32, data, at(image, latent) + depth);
    }

    void set(int image, int latent, double mean, double logVariance) {
      ScalarLoops.set(DType.F32, data, at(image, latent), (float) mean);
      ScalarLoops.set(DType.F32, data, at(image, latent) + depth, (float) logVariance);
    }
  }

  static Launch sample(CpuDevice d, GaussianSample op, List<Tensor> in, List<Tensor> out) {
    Parameters p = Parameters.of(d, in.get(0));
    MemorySegment steps = d.segment(in.get(1));
    MemorySegment z = d.segment(out.get(0));
    MemorySegment eps = d.segment(out.get(1));
    int each = p.each;
    Philox philox = new Philox(op.seed());
    return () -> {
      int step = CpuDiffusion.step(op.name(), steps.get(JAVA_DOUBLE_UNALIGNED, 0));
      d.workers()
          .forRange(
              out.getFirst().elements(),
              SIZE,
              (from, to) -> {
                for (int i = from; i < to; i++) {
                  int row = i / each;
                  int n = row % p.images;
                  int e = i % each;
                  long number = ((long) op.first() + n) * op.samples() + row / p.images;
                  float noise =
                      (float) philox.normal(Philox.Stream.LATENT, step, number * each + e);
                  double deviation = Math.exp(0.5 * p.logVariance(n, e));
                  ScalarLoops.set(DType.F32, eps, i, noise);
                  ScalarLoops.set(DType.F32, z, i, (float) (p.mean(n, e) + deviation * noise));
                }
              });
    };
  }

  static Launch sampleBackward(
      CpuDevice d, GaussianSampleBackward op, List<Tensor> in, List<Tensor> out) {
    Parameters p = Parameters.of(d, in.get(0));
    MemorySegment eps = d.segment(in.get(1));
    MemorySegment dz = d.segment(in.get(2));
    Parameters dp = Parameters.of(d, out.getFirst());
    int all = p.images * p.each;
    return () ->
        d.workers()
            .forRange(
                all,
                SIZE,
                (from, to) -> {
                  for (int i = from; i < to; i++) {
                    double mean = 0;
                    double scaled = 0;
                    for (int s = 0; s < op.samples(); s++) {
                      long at = (long) s * all + i;
                      double slope = ScalarLoops.get(DType.F32, dz, at);
                      mean += slope;
                      scaled += slope * ScalarLoops.get(DType.F32, eps, at);
                    }
                    int n = i / p.each;
                    int e = i % p.each;
                    dp.set(n, e, mean, scaled * 0.5 * Math.exp(0.5 * p.logVariance(n, e)));
                  }
                });
  }

  static Launch kl(CpuDevice d, GaussianKl op, List<Tensor> in, List<Tensor> out) {
    Parameters p = Parameters.of(d, in.getFirst());
    MemorySegment kl = d.segment(out.get(0));
    MemorySegment byDimension = d.segment(out.get(1));
    int each = p.each;
    double[] nats = new double[p.images * each];
    return () -> {
      d.workers()
          .forRange(
              p.images,
              Math.max(1, SIZE / each),
              (from, to) -> {
                for (int n = from; n < to; n++) {
                  double sum = 0;
                  for (int e = 0; e < each; e++) {
                    double own = nats(p.mean(n, e), p.logVariance(n, e));
                    nats[n * each + e] = own;
                    sum += own;
                  }
                  ScalarLoops.set(DType.F32, kl, n, (float) sum);
                }
              });
      d.workers()
          .forRange(
              each,
              SIZE,
              (from, to) -> {
                for (int e = from; e < to; e++) {
                  double sum = 0;
                  for (int n = 0; n < p.images; n++) {
                    sum += nats[n * each + e];
                  }
                  ScalarLoops.set(DType.F32, byDimension, e, (float) (sum / p.images));
                }
              });
    };
  }

  /** Near a log-variance of 0 exp(v) - 1 - v would cancel: there, by its series. */
  private static double nats(double mean, double v) {
    double excess =
        Math.abs(v) < 1e-3 ? v * v * (1.0 / 2 + v * (1.0 / 6 + v * (1.0 / 24))) : Math.expm1(v) - v;
    return 0.5 * (mean * mean + excess);
  }

  static Launch klBackward(CpuDevice d, GaussianKlBackward op, List<Tensor> in, List<Tensor> out) {
    Parameters p = Parameters.of(d, in.getFirst());
    MemorySegment dkl = op.ofImages() ? d.segment(in.get(1)) : null;
    MemorySegment dbyDimension = op.ofDimensions() ? d.segment(in.getLast()) : null;
    Parameters dp = Parameters.of(d, out.getFirst());
    return () ->
        d.workers()
            .forRange(
                p.images * p.each,
                SIZE,
                (from, to) -> {
                  for (int i = from; i < to; i++) {
                    int n = i / p.each;
                    int e = i % p.each;
                    double slope = dkl == null ? 0 : ScalarLoops.get(DType.F32, dkl, n);
                    if (dbyDimension != null) {
                      slope += ScalarLoops.get(DType.F32, dbyDimension, e) / (double) p.images;
                    }
                    double byLogVariance = 0.5 * Math.expm1(p.logVariance(n, e));
                    dp.set(n, e, slope * p.mean(n, e), slope * byLogVariance);
                  }
                });
  }

  static Launch objective(CpuDevice d, KlObjective op, List<Tensor> in, List<Tensor> out) {
    MemorySegment kl = d.segment(in.get(0));
    MemorySegment steps = d.segment(in.get(1));
    MemorySegment objective = d.segment(out.getFirst());
    int count = in.getFirst().elements();
    return () -> {
      int step = CpuDiffusion.step(op.name(), steps.get(JAVA_DOUBLE_UNALIGNED, 0));
      double total = total(kl, count, op.freeNats());
      double paid = op.capacity() == 0 ? total : Math.abs(total - op.target(step));
      ScalarLoops.set(DType.F32, objective, 0, (float) (op.weight(step) * paid));
    };
  }

  private static double total(MemorySegment kl, int count, double freeNats) {
    double total = 0;
    for (int e = 0; e < count; e++) {
      total += Math.max(freeNats, ScalarLoops.get(DType.F32, kl, e));
    }
    return total;
  }

  static Launch objectiveBackward(
      CpuDevice d, KlObjectiveBackward op, List<Tensor> in, List<Tensor> out) {
    MemorySegment kl = d.segment(in.get(0));
    MemorySegment steps = d.segment(in.get(1));
    MemorySegment dobjective = d.segment(in.get(2));
    MemorySegment dkl = d.segment(out.getFirst());
    int count = in.getFirst().elements();
    KlObjective forward = op.forward();
    return () -> {
      int step = CpuDiffusion.step(op.name(), steps.get(JAVA_DOUBLE_UNALIGNED, 0));
      double slope = forward.weight(step) * ScalarLoops.get(DType.F32, dobjective, 0);
      if (forward.capacity() != 0) {
        slope *= Math.signum(total(kl, count, forward.freeNats()) - forward.target(step));
      }
      for (int e = 0; e < count; e++) {
        float nats = ScalarLoops.get(DType.F32, kl, e);
        // a NaN is neither free nor paid for
        double own = nats <= forward.freeNats() ? 0 : Float.isNaN(nats) ? nats : slope;
        ScalarLoops.set(DType.F32, dkl, e, (float) own);
      }
    };
  }
}
