package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.DenoiseStep;
import dev.gatun.engine.op.DenoiseStep.Thresholding;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;

/** A step of a sampler, in f64. */
final class CpuDenoiseStep implements Launch {
  private final CpuDevice device;
  private final DenoiseStep op;
  private final DType type;
  private final MemorySegment x;
  private final MemorySegment previous;
  private final MemorySegment prediction;
  private final MemorySegment table;
  private final MemorySegment state;
  private final MemorySegment known; // null without a mask
  private final MemorySegment mask;
  private final MemorySegment input;
  private final MemorySegment times;
  private final int rows;
  private final int count;
  private final int image; // elements of one
  private final int channels;

  /** A step's row of the table, and its noise. */
  private record Step(double[] row, Philox philox, int number, int firstImage) {}

  CpuDenoiseStep(CpuDevice d, DenoiseStep op, List<Tensor> in, List<Tensor> out) {
    device = d;
    this.op = op;
    type = in.get(2).dtype();
    x = d.segment(in.get(0));
    previous = d.segment(in.get(1));
    prediction = d.segment(in.get(2));
    table = d.segment(in.get(3));
    state = d.segment(in.get(4));
    known = in.size() == 7 ? d.segment(in.get(5)) : null;
    mask = in.size() == 7 ? d.segment(in.get(6)) : null;
    input = d.segment(out.get(0));
    times = d.segment(out.get(1));
    rows = in.get(3).shape().dim(0);
    count = in.getFirst().shape().dim(0);
    image = in.getFirst().elements() / count;
    channels = in.getFirst().shape().dim(3);
  }

  @Override
  public void run() {
    Step step = step();
    double[] thresholds = new double[count];
    Arrays.fill(thresholds, 1);
    if (op.thresholding() == Thresholding.DYNAMIC) {
      device
          .workers()
          .forRange(
              count,
              1,
              (from, to) -> {
                for (int n = from; n < to; n++) {
                  // a NaN among the largest stays one
                  thresholds[n] = Math.max(1, percentile(step, n));
                }
              });
    }
    device
        .workers()
        .forRange(
            count * image,
            Blocks.SIZE,
            (from, to) -> {
              for (int i = from; i < to; i++) {
                element(step, i, thresholds[i / image]);
              }
            });
    for (int n = 0; n < (op.guided() ? 2 : 1) * count; n++) {
      ScalarLoops.set(DType.F32, times, n, (float) step.row[7]);
    }
    state.set(JAVA_INT_UNALIGNED, 12, step.number + 1);
  }

  private Step step() {
    int number = state.get(JAVA_INT_UNALIGNED, 12);
    if (number < 0 || number >= rows) {
      throw new IllegalArgumentException(
          "denoise_step: step %d, but the table has %d rows".formatted(number, rows));
    }
    double[] row = new double[DenoiseStep.COLUMNS];
    for (int i = 0; i < row.length; i++) {
      row[i] = table.get(JAVA_DOUBLE_UNALIGNED, 8L * (number * row.length + i));
    }
    long low = state.get(JAVA_INT_UNALIGNED, 0) & 0xFFFFFFFFL;
    Philox philox = new Philox((long) state.get(JAVA_INT_UNALIGNED, 4) << 32 | low);
    return new Step(row, philox, number, state.get(JAVA_INT_UNALIGNED, 8));
  }

  /** Of an image, what most of its |D| are not above. */
  private float percentile(Step step, int n) {
    float[] sizes = new float[image];
    for (int i = 0; i < image; i++) {
      sizes[i] = Math.abs((float) denoised(step, n * image + i));
    }
    Arrays.sort(sizes);
    return sizes[Thresholding.rank(image) - 1];
  }

  /** Where the prediction has an element of x; its v is {@code channels} on. */
  private long told(int i) {
    return op.learnedVariance() ? i + (long) (i / channels) * channels : i;
  }

  /** An element of D as the network says it. */
  private double denoised(Step step, int i) {
    double denoised = step.row[0] * x.get(JAVA_DOUBLE_UNALIGNED, 8L * i);
    if (step.row[1] != 0) {
      double f = ScalarLoops.get(type, prediction, told(i));
      if (op.guided()) {
        long half = told(count * image);
        double plain = ScalarLoops.get(type, prediction, half + told(i));
        f = plain + op.guidance() * (f - plain);
      }
      denoised += step.row[1] * f;
    }
    return denoised;
  }

  private double noise(Step step, int i) {
    double size = step.row[5];
    if (op.learnedVariance() && step.row[1] != 0) {
      double w = (ScalarLoops.get(type, prediction, told(i) + channels) + 1.0) / 2;
      size *= Math.exp(0.5 * (w * step.row[9] + (1 - w) * step.row[8]));
    }
    return size
        * step.philox.normal(
            Philox.Stream.SAMPLER,
            step.firstImage + i / image,
            (long) step.number * image + i % image);
  }

  private void element(Step step, int i, double threshold) {
    double[] row = step.row;
    double denoised = denoised(step, i);
    if (op.thresholding() != Thresholding.NONE) {
      denoised = Math.max(-threshold, Math.min(threshold, denoised)) / threshold;
    }
    if (mask != null && mask.get(JAVA_BYTE, i / channels) != 0) {
      denoised = (known.get(JAVA_BYTE, i) & 0xFF) / 127.5 - 1;
    }
    double value =
        row[2] * x.get(JAVA_DOUBLE_UNALIGNED, 8L * i)
            + row[3] * denoised
            + row[4] * previous.get(JAVA_DOUBLE_UNALIGNED, 8L * i);
    if (row[5] != 0) {
      value += noise(step, i);
    }
    x.set(JAVA_DOUBLE_UNALIGNED, 8L * i, value);
    previous.set(JAVA_DOUBLE_UNALIGNED, 8L * i, denoised);
    float shown = (float) (row[6] * value);
    ScalarLoops.set(type, input, i, shown);
    if (op.guided()) {
      ScalarLoops.set(type, input, (long) count * image + i, shown);
    }
  }
}
