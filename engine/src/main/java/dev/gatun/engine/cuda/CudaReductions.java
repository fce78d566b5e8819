package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.Work.element;

import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.op.AddBiasBackward;
import dev.gatun.engine.op.SquaredNorm;
import dev.gatun.engine.op.SumPixels;
import dev.gatun.kernels.AdamKernel;
import dev.gatun.kernels.SumKernels;
import java.util.List;

/** Sums over many elements, and what the optimizer does with them. */
final class CudaReductions {
  /** Rows of a part: enough to be worth a block, few enough for many blocks. */
  private static final int ROWS = 256;

  private CudaReductions() {}

  static void addBiasBackward(Work w, AddBiasBackward op, List<Tensor> in, List<Tensor> out) {
    Tensor dy = in.getFirst();
    Shape s = dy.shape();
    // without labels it does not matter which row is of which image
    int images = op.rows() == 1 ? 1 : s.dim(0);
    long labels = op.rows() == 1 ? 0 : in.get(1).address();
    columnSums(w, dy, images, op.rows(), labels, out.getFirst());
  }

  /** out [entries,C] f32 = the sums of x's rows, by the images' labels. */
  static void columnSums(Work w, Tensor x, int images, int entries, long labels, Tensor out) {
    int channels = x.shape().dim(-1);
    int positions = x.shape().rows() / images;
    int each = Math.ceilDiv(positions, ROWS);
    long parts = w.scratch((long) images * each * channels * Float.BYTES)[0];
    w.add(SumKernels.columnSums(element(x), x.address(), parts, images, positions, channels, ROWS));
    w.add(
        SumKernels.columnSumsFinish(
            parts, labels, out.address(), entries, images * each, each, channels, channels, 0));
  }

  static void sumPixels(Work w, SumPixels op, List<Tensor> in, List<Tensor> out) {
    Tensor x = in.getFirst();
    Shape s = x.shape();
    w.add(
        SumKernels.sumPixels(
            element(x),
            x.address(),
            out.getFirst().address(),
            s.dim(0),
            s.dim(1) * s.dim(2),
            s.dim(3)));
  }

  static void squaredNorm(Work w, SquaredNorm op, List<Tensor> in, List<Tensor> out) {
    Tensor x = in.getFirst();
    int count = SumKernels.normParts(x.elements());
    long parts = w.scratch((long) count * Double.BYTES)[0];
    w.add(SumKernels.squaredNorm(x.address(), parts, x.elements()));
    w.add(SumKernels.squaredNormFinish(parts, out.getFirst().address(), count));
  }

  static void adam(Work w, Adam op, List<Tensor> in, List<Tensor> out) {
    long[] at = in.stream().mapToLong(Tensor::address).toArray();
    w.add(
        AdamKernel.adam(
            at[0],
            at[1],
            at[2],
            at[3],
            at[4],
            at[5],
            at[6],
            w.own(Integer.BYTES).address(),
            w.refused(),
            in.getFirst().elements(),
            new AdamKernel.Rates(
                op.learningRate(),
                op.beta1(),
                op.beta2(),
                op.epsilon(),
                op.warmupSteps(),
                op.decay(),
                op.clipNorm(),
                op.emaDecay())));
  }
}
