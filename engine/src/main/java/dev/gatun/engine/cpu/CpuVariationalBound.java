package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.VariationalBound;
import dev.gatun.engine.op.VariationalBoundBackward;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** A diffusion model's variational bound, in f64; an image at a time. */
final class CpuVariationalBound {
  private static final double ROOT_2 = Math.sqrt(2);
  private static final double ROOT_2_PI = Math.sqrt(2 * Math.PI);

  private final DType type;
  private final MemorySegment prediction;
  private final MemorySegment x;
  private final MemorySegment images;
  private final MemorySegment times;
  private final MemorySegment table;
  private final MemorySegment v; // null: the variance is the largest
  private final int rows;
  private final int count;
  private final int image; // elements of one

  /** One row of the table. */
  private record Row(
      double pX,
      double pF,
      double cD,
      double logTrue,
      double logLeast,
      double logMost,
      boolean decoder) {}

  private CpuVariationalBound(CpuDevice d, List<Tensor> in) {
    type = in.getFirst().dtype();
    prediction = d.segment(in.get(0));
    x = d.segment(in.get(1));
    images = d.segment(in.get(2));
    times = d.segment(in.get(3));
    table = d.segment(in.get(4));
    v = in.size() > 5 ? d.segment(in.get(5)) : null;
    rows = in.get(4).shape().dim(0);
    count = in.getFirst().shape().dim(0);
    image = in.getFirst().elements() / count;
  }

  static Launch forward(CpuDevice d, VariationalBound op, List<Tensor> in, List<Tensor> out) {
    CpuVariationalBound bound = new CpuVariationalBound(d, in);
    MemorySegment mean = d.segment(out.get(0));
    MemorySegment terms = d.segment(out.get(1));
    return () -> {
      d.workers()
          .forRange(
              bound.count,
              1,
              (from, to) -> {
                for (int n = from; n < to; n++) {
                  Row row = bound.row(n);
                  double sum = 0;
                  for (int i = n * bound.image; i < (n + 1) * bound.image; i++) {
                    sum += bound.term(row, i);
                  }
                  ScalarLoops.set(DType.F32, terms, n, (float) (sum / bound.image));
                }
              });
      double sum = 0;
      for (int n = 0; n < bound.count; n++) {
        sum += ScalarLoops.get(DType.F32, terms, n);
      }
      ScalarLoops.set(DType.F32, mean, 0, (float) (op.scale() * sum / bound.count));
    };
  }

  static Launch backward(
      CpuDevice d, VariationalBoundBackward op, List<Tensor> in, List<Tensor> out) {
    CpuVariationalBound bound = new CpuVariationalBound(d, in.subList(0, 6));
    MemorySegment dmean = d.segment(in.get(6));
    MemorySegment dv = d.segment(out.getFirst());
    return () -> {
      double scale =
          op.scale() * ScalarLoops.get(DType.F32, dmean, 0) / ((double) bound.count * bound.image);
      d.workers()
          .forRange(
              bound.count,
              1,
              (from, to) -> {
                for (int n = from; n < to; n++) {
                  Row row = bound.row(n);
                  double factor = scale * (row.logMost - row.logLeast) / 2;
                  for (int i = n * bound.image; i < (n + 1) * bound.image; i++) {
                    ScalarLoops.set(
                        bound.type, dv, i, (float) (factor * bound.byLogVariance(row, i)));
                  }
                }
              });
    };
  }

  /** What an image's time says of it. */
  private Row row(int n) {
    float time = ScalarLoops.get(DType.F32, times, n);
    if (!(time >= 1 && time <= rows && time == Math.rint(time))) {
      throw new IllegalArgumentException(
          "variational_bound: the time of image %d is not a whole number from 1 to %d"
              .formatted(n, rows));
    }
    double[] r = new double[VariationalBound.COLUMNS];
    for (int i = 0; i < r.length; i++) {
      r[i] = ScalarLoops.get(DType.F32, table, ((long) time - 1) * r.length + i);
    }
    return new Row(r[0], r[1], r[2], r[3], r[4], r[5], r[6] != 0);
  }

  /** D. */
  private double denoised(Row row, int i) {
    double denoised =
        row.pX * ScalarLoops.get(DType.F32, x, i) + row.pF * ScalarLoops.get(type, prediction, i);
    return Math.clamp(denoised, -1.0, 1.0);
  }

  private int level(int i) {
    return images.get(JAVA_BYTE, i) & 0xFF;
  }

  private double logVariance(Row row, int i) {
    if (v == null) {
      return row.logMost;
    }
    double w = (ScalarLoops.get(type, v, i) + 1.0) / 2;
    return w * row.logMost + (1 - w) * row.logLeast;
  }

  private double term(Row row, int i) {
    double log = logVariance(row, i);
    double denoised = denoised(row, i);
    if (row.decoder) {
      return new Bin(denoised, log, level(i)).nats();
    }
    double difference = row.cD * (level(i) / 127.5 - 1 - denoised);
    double ratio = row.logTrue - log;
    return 0.5 * (Math.expm1(ratio) - ratio + difference * difference * Math.exp(-log));
  }

  /** The derivative of a term by the logarithm of the variance. */
  private double byLogVariance(Row row, int i) {
    double log = logVariance(row, i);
    double denoised = denoised(row, i);
    if (row.decoder) {
      return new Bin(denoised, log, level(i)).byLogVariance();
    }
    double difference = row.cD * (level(i) / 127.5 - 1 - denoised);
    return 0.5 * (-Math.expm1(row.logTrue - log) - difference * difference * Math.exp(-log));
  }

  /**
   * A bin of a normal distribution, from a to b deviations from its mean; mirrored so that b is the
   * farther end. It lacks b where it is the first or the last: D is no farther out than those.
   */
  private static final class Bin {
    final double a;
    final double b;
    final boolean open;

    /** The mass; over the density at a, where a is above 0: both may be next to nothing. */
    final double mass;

    /** What the mass lacks to 1, where a is not above 0. */
    final double rest;

    /** How far the density has fallen from a to b, where a is above 0. */
    final double fall;

    Bin(double mean, double logVariance, int level) {
      double inverse = Math.exp(-0.5 * logVariance);
      open = level == 0 || level == 255;
      // of whole numbers, so that neighbours have the same edge
      double lower = (2 * level - 256) / 255.0 - mean;
      double upper = (2 * level - 254) / 255.0 - mean;
      boolean mirrored = level / 127.5 - 1 <= mean;
      a = (mirrored ? -upper : lower) * inverse;
      b = (mirrored ? -lower : upper) * inverse;
      double near = Math.abs(a) / ROOT_2;
      double far = b / ROOT_2;
      if (a > 0) {
        fall = open ? 0 : Math.exp(-0.5 * (b - a) * (b + a));
        double beyond = open ? 0 : fall * ErrorFunction.erfcx(far);
        rest = 1;
        mass = 0.5 * ROOT_2_PI * (ErrorFunction.erfcx(near) - beyond);
      } else {
        fall = 1;
        rest = 0.5 * (ErrorFunction.erfc(near) + (open ? 0 : ErrorFunction.erfc(far)));
        mass = 0.5 * (ErrorFunction.erf(near) + (open ? 1 : ErrorFunction.erf(far)));
      }
    }

    double nats() {
      if (a > 0) {
        return 0.5 * a * a + Math.log(ROOT_2_PI) - Math.log(mass);
      }
      return rest < 0.5 ? -Math.log1p(-rest) : -Math.log(mass);
    }

    double byLogVariance() {
      double atA = a > 0 ? 1 : Math.exp(-0.5 * a * a) / ROOT_2_PI;
      double atB = open ? 0 : a > 0 ? fall : Math.exp(-0.5 * b * b) / ROOT_2_PI;
      return -0.5 * (a * atA - b * atB) / mass;
    }
  }
}
