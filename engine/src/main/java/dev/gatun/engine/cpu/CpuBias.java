package dev.gatun.engine.cpu;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import dev.gatun.engine.DType;
import dev.gatun.engine.Launch;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.AddBias;
import dev.gatun.engine.op.AddBiasBackward;
import dev.gatun.engine.op.SumPixels;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.List;

/** A bias a channel, the same for all images, by their labels, or one for each. */
final class CpuBias {
  private CpuBias() {}

  /** Elements that one sum in f64 is made of before sums are added to each other. */
  private static final int SUM = 16 * Blocks.SIZE;

  static Launch addBias(CpuDevice d, AddBias op, List<Tensor> in, List<Tensor> out) {
    DType type = in.get(0).dtype();
    MemorySegment x = d.segment(in.get(0));
    MemorySegment table = d.segment(in.get(1));
    MemorySegment labels = in.size() > 2 ? d.segment(in.get(2)) : null;
    MemorySegment y = d.segment(out.get(0));
    Shape shape = in.get(0).shape();
    int images = shape.dim(0);
    int channels = shape.dim(-1);
    int positions = shape.rows() / images;
    int entries = in.get(1).shape().dim(0);
    float[] biases = new float[entries * channels];
    // one bias for all rows: of a block of them at once
    float[] laidOut = labels == null && channels <= Blocks.SIZE ? new float[Blocks.SIZE] : null;
    Launch pieces =
        Pieces.launch(
            d,
            shape.rows(),
            channels,
            (row, column, rows, width) -> {
              float[] a = Blocks.own().a;
              long from = (long) row * channels + column;
              d.loops().load(type, x, from, a, 0, rows * width);
              if (laidOut != null) {
                add(a, 0, laidOut, 0, rows * width);
              } else {
                for (int r = 0; r < rows; r++) {
                  int label = label(labels, (row + r) / positions);
                  add(a, r * width, biases, label * channels + column, width);
                }
              }
              d.loops().store(type, a, 0, y, from, rows * width);
            });
    return () -> {
      checkLabels(op.name(), labels, images, entries);
      d.loops().load(DType.F32, table, 0, biases, 0, biases.length);
      if (laidOut != null) {
        for (int i = 0; i <= laidOut.length - channels; i += channels) {
          System.arraycopy(biases, 0, laidOut, i, channels);
        }
      }
      pieces.run();
    };
  }

  /** y = x + addend [N,1,1,C], in f32 whatever the dtypes; y may be x. */
  static Launch addOfImages(CpuDevice d, Tensor x, Tensor addend, Tensor y) {
    MemorySegment from = d.segment(x);
    MemorySegment added = d.segment(addend);
    MemorySegment to = d.segment(y);
    int channels = y.shape().dim(-1);
    int positions = y.shape().rows() / y.shape().dim(0);
    return Pieces.launch(
        d,
        y.shape().rows(),
        channels,
        (row, column, rows, width) -> {
          Blocks block = Blocks.own();
          long at = (long) row * channels + column;
          d.loops().load(x.dtype(), from, at, block.a, 0, rows * width);
          for (int r = 0; r < rows; r++) {
            int image = (row + r) / positions;
            if (r == 0 || image != (row + r - 1) / positions) {
              long own = (long) image * channels + column;
              d.loops().load(addend.dtype(), added, own, block.b, 0, width);
            }
            add(block.a, r * width, block.b, 0, width);
          }
          d.loops().store(y.dtype(), block.a, 0, to, at, rows * width);
        });
  }

  /** Sums in f64, an image's pixels in chunks that are added in order. */
  static Launch sumPixels(CpuDevice d, SumPixels op, List<Tensor> in, List<Tensor> out) {
    Tensor dy = in.getFirst();
    Tensor y = out.getFirst();
    MemorySegment target = d.segment(y);
    Shape shape = dy.shape();
    int channels = shape.dim(3);
    ChannelSums sums = new ChannelSums(d, dy, shape.dim(0));
    return () -> {
      sums.run();
      for (int n = 0; n < shape.dim(0); n++) {
        for (int c = 0; c < channels; c++) {
          double sum = 0;
          for (int chunk = 0; chunk < sums.chunksPerImage; chunk++) {
            sum += sums.sums[n * sums.chunksPerImage + chunk][c];
          }
          ScalarLoops.set(y.dtype(), target, (long) n * channels + c, (float) sum);
        }
      }
    };
  }

  static Launch addBiasBackward(
      CpuDevice d, AddBiasBackward op, List<Tensor> in, List<Tensor> out) {
    MemorySegment labels = in.size() > 1 ? d.segment(in.get(1)) : null;
    MemorySegment dtable = d.segment(out.get(0));
    int images = in.get(0).shape().dim(0);
    int channels = in.get(0).shape().dim(-1);
    // without labels all images are one
    ChannelSums sums = new ChannelSums(d, in.get(0), labels == null ? 1 : images);
    double[] totals = new double[op.rows() * channels];
    return () -> {
      checkLabels(op.name(), labels, images, op.rows());
      sums.run();
      Arrays.fill(totals, 0);
      for (int chunk = 0; chunk < sums.sums.length; chunk++) {
        int target = label(labels, chunk / sums.chunksPerImage) * channels;
        for (int c = 0; c < channels; c++) {
          totals[target + c] += sums.sums[chunk][c];
        }
      }
      for (int i = 0; i < totals.length; i++) {
        ScalarLoops.set(DType.F32, dtable, i, (float) totals[i]);
      }
    };
  }

  /**
   * The sums of the channels of [N,...,C], by fixed chunks of an image each: the same bits at any
   * number of workers.
   */
  private static final class ChannelSums {
    final CpuDevice d;
    final DType type;
    final MemorySegment x;
    final int channels;
    final int positions;
    final int rowsPerChunk;
    final int chunksPerImage;
    final double[][] sums; // [images * chunksPerImage][C]

    ChannelSums(CpuDevice d, Tensor tensor, int images) {
      this.d = d;
      type = tensor.dtype();
      x = d.segment(tensor);
      Shape shape = tensor.shape();
      channels = shape.dim(-1);
      positions = shape.rows() / images;
      rowsPerChunk = Math.max(1, Math.min(positions, SUM / channels));
      chunksPerImage = Math.ceilDiv(positions, rowsPerChunk);
      sums = new double[images * chunksPerImage][channels];
    }

    void run() {
      d.workers()
          .forRange(
              sums.length,
              1,
              (from, to) -> {
                for (int chunk = from; chunk < to; chunk++) {
                  double[] sum = sums[chunk];
                  Arrays.fill(sum, 0);
                  int image = chunk / chunksPerImage * positions;
                  int first = chunk % chunksPerImage * rowsPerChunk;
                  Pieces.forEach(
                      image + first,
                      image + Math.min(positions, first + rowsPerChunk),
                      channels,
                      (row, column, rows, width) -> {
                        float[] a = Blocks.own().a;
                        d.loops().load(type, x, (long) row * channels + column, a, 0, rows * width);
                        for (int r = 0; r < rows; r++) {
                          accumulate(sum, column, a, r * width, width);
                        }
                      });
                }
              });
    }
  }

  static void add(float[] x, int at, float[] bias, int from, int n) {
    for (int i = 0; i < n; i++) {
      x[at + i] += bias[from + i];
    }
  }

  private static void accumulate(double[] sum, int at, float[] x, int from, int n) {
    for (int i = 0; i < n; i++) {
      sum[at + i] += x[from + i];
    }
  }

  private static int label(MemorySegment labels, int image) {
    return labels == null ? 0 : labels.get(JAVA_BYTE, image) & 0xFF;
  }

  private static void checkLabels(String op, MemorySegment labels, int images, int entries) {
    for (int image = 0; image < images; image++) {
      int label = label(labels, image);
      if (label >= entries) {
        throw new IllegalArgumentException(
            op
                + ": label "
                + label
                + " of image "
                + image
                + ", but the table has "
                + entries
                + " rows");
      }
    }
  }
}
