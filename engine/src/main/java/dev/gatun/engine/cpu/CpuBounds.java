package dev.gatun.engine.cpu;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.IafStep;
import dev.gatun.engine.op.IafStepBackward;
import dev.gatun.engine.op.ImportanceBound;
import dev.gatun.engine.op.ImportanceBoundBackward;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;

/** Bounds on likelihoods, and the flows that make posteriors of them: small tensors, in f64. */
final class CpuBounds {
  private CpuBounds() {}

  /** The negative logarithms of the importance weights of an image's samples. */
  private record Weights(MemorySegment[] x, double[] factors, int samples, int images) {
    static Weights of(CpuDevice d, int samples, List<Double> factors, List<Tensor> in) {
      MemorySegment[] x = new MemorySegment[factors.size()];
      Arrays.setAll(x, i -> d.segment(in.get(i)));
      return new Weights(
          x,
          factors.stream().mapToDouble(Double::doubleValue).toArray(),
          samples,
          in.getFirst().elements() / samples);
    }

    double weight(int sample, int image) {
      double w = 0;
      for (int i = 0; i < x.length; i++) {
        w += factors[i] * ScalarLoops.get(DType.F32, x[i], (long) sample * images + image);
      }
      return w;
    }

    double least(int image) {
      double least = Double.POSITIVE_INFINITY;
      for (int s = 0; s < samples; s++) {
        least = Math.min(least, weight(s, image));
      }
      return least;
    }

    /** The sum of exp(least - w). */
    double sum(double least, int image) {
      double sum = 0;
      for (int s = 0; s < samples; s++) {
        sum += Math.exp(least - weight(s, image));
      }
      return sum;
    }
  }

  static Launch importance(CpuDevice d, ImportanceBound op, List<Tensor> in, List<Tensor> out) {
    Weights weights = Weights.of(d, op.samples(), op.factors(), in);
    MemorySegment mean = d.segment(out.get(0));
    MemorySegment each = d.segment(out.get(1));
    return () -> {
      d.workers()
          .forRange(
              weights.images,
              1,
              (from, to) -> {
                for (int n = from; n < to; n++) {
                  double least = weights.least(n);
                  double own = least - Math.log(weights.sum(least, n) / op.samples());
                  ScalarLoops.set(DType.F32, each, n, (float) own);
                }
              });
      double sum = 0;
      for (int n = 0; n < weights.images; n++) {
        sum += ScalarLoops.get(DType.F32, each, n);
      }
      ScalarLoops.set(DType.F32, mean, 0, (float) (sum / weights.images));
    };
  }

  static Launch importanceBackward(
      CpuDevice d, ImportanceBoundBackward op, List<Tensor> in, List<Tensor> out) {
    Weights weights = Weights.of(d, op.samples(), op.factors(), in);
    MemorySegment dmean = d.segment(in.getLast());
    List<MemorySegment> dx = out.stream().map(d::segment).toList();
    return () -> {
      double scale = ScalarLoops.get(DType.F32, dmean, 0) / (double) weights.images;
      d.workers()
          .forRange(
              weights.images,
              1,
              (from, to) -> {
                for (int n = from; n < to; n++) {
                  double least = weights.least(n);
                  double own = scale / weights.sum(least, n);
                  for (int s = 0; s < op.samples(); s++) {
                    double share = Math.exp(least - weights.weight(s, n)) * own;
                    for (int i = 0; i < dx.size(); i++) {
                      ScalarLoops.set(
                          DType.F32,
                          dx.get(i),
                          (long) s * weights.images + n,
                          (float) (weights.factors[i] * share));
                    }
                  }
                }
              });
    };
  }

  /**
   * A gate: how much of z is kept and how much is not, either to its last bits.
   *
   * @param small exp(-|s|)
   */
  private record Gate(double kept, double rest, double small) {
    static Gate of(double s) {
      double small = Math.exp(-Math.abs(s));
      double large = 1 / (1 + small);
      return new Gate(s > 0 ? large : small * large, s > 0 ? small * large : large, small);
    }
  }

  static Launch iafStep(CpuDevice d, IafStep op, List<Tensor> in, List<Tensor> out) {
    MemorySegment z = d.segment(in.get(0));
    MemorySegment said = d.segment(in.get(1));
    MemorySegment y = d.segment(out.get(0));
    MemorySegment logDeterminant = d.segment(out.get(1));
    int rows = in.getFirst().shape().dim(0);
    int channels = in.getFirst().shape().dim(-1);
    int each = in.getFirst().elements() / rows;
    return () ->
        d.workers()
            .forRange(
                rows,
                1,
                (from, to) -> {
                  for (int row = from; row < to; row++) {
                    double sum = 0;
                    for (int i = row * each; i < (row + 1) * each; i++) {
                      long at = i + (long) (i / channels) * channels;
                      double m = ScalarLoops.get(DType.F32, said, at);
                      double s = ScalarLoops.get(DType.F32, said, at + channels);
                      double old = ScalarLoops.get(DType.F32, z, i);
                      Gate gate = Gate.of(s);
                      ScalarLoops.set(DType.F32, y, i, (float) (gate.kept * old + gate.rest * m));
                      sum += Math.min(s, 0) - Math.log1p(gate.small);
                    }
                    ScalarLoops.set(DType.F32, logDeterminant, row, (float) sum);
                  }
                });
  }

  static Launch iafStepBackward(
      CpuDevice d, IafStepBackward op, List<Tensor> in, List<Tensor> out) {
    MemorySegment z = d.segment(in.get(0));
    MemorySegment said = d.segment(in.get(1));
    MemorySegment dy = d.segment(in.get(2));
    MemorySegment dlogDeterminant = d.segment(in.get(3));
    MemorySegment dz = d.segment(out.get(0));
    MemorySegment dsaid = d.segment(out.get(1));
    int channels = in.getFirst().shape().dim(-1);
    int each = in.getFirst().elements() / in.getFirst().shape().dim(0);
    return () ->
        d.workers()
            .forRange(
                in.getFirst().elements(),
                Blocks.SIZE,
                (from, to) -> {
                  for (int i = from; i < to; i++) {
                    long at = i + (long) (i / channels) * channels;
                    double m = ScalarLoops.get(DType.F32, said, at);
                    double s = ScalarLoops.get(DType.F32, said, at + channels);
                    double slope = ScalarLoops.get(DType.F32, dy, i);
                    double ofSum = ScalarLoops.get(DType.F32, dlogDeterminant, i / each);
                    Gate gate = Gate.of(s);
                    double distance = ScalarLoops.get(DType.F32, z, i) - m;
                    double ofS = gate.rest * (gate.kept * distance * slope + ofSum);
                    ScalarLoops.set(DType.F32, dz, i, (float) (gate.kept * slope));
                    ScalarLoops.set(DType.F32, dsaid, at, (float) (gate.rest * slope));
                    ScalarLoops.set(DType.F32, dsaid, at + channels, (float) ofS);
                  }
                });
  }
}
