package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.Work.element;

import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.GroupNorm;
import dev.gatun.engine.op.GroupNormBackward;
import dev.gatun.engine.op.MaskChannels;
import dev.gatun.engine.op.WeightNorm;
import dev.gatun.engine.op.WeightNormBackward;
import dev.gatun.kernels.NormKernels;
import dev.gatun.kernels.SumKernels;
import java.util.List;

/** Normalization of features and of weights, and the order of colours in weights. */
final class CudaNorms {
  private CudaNorms() {}

  static void groupNorm(Work w, GroupNorm op, List<Tensor> in, List<Tensor> out) {
    Shape x = in.getFirst().shape();
    w.add(
        NormKernels.groupNorm(
            element(in.getFirst()),
            in.getFirst().address(),
            in.get(1).address(),
            in.get(2).address(),
            out.getFirst().address(),
            out.get(1).address(),
            out.get(2).address(),
            x.dim(0),
            x.dim(1) * x.dim(2),
            x.dim(3),
            op.groups(),
            op.epsilon()));
  }

  static void groupNormBackward(Work w, GroupNormBackward op, List<Tensor> in, List<Tensor> out) {
    Shape x = in.getFirst().shape();
    int samples = x.dim(0);
    int pixels = x.dim(1) * x.dim(2);
    int channels = x.dim(3);
    int groups = op.forward().groups();
    long[] at = in.stream().mapToLong(Tensor::address).toArray();
    w.add(
        NormKernels.groupNormBackward(
            element(in.getFirst()),
            at[0],
            at[1],
            at[2],
            at[3],
            at[4],
            out.getFirst().address(),
            samples,
            pixels,
            channels,
            groups));
    long parts = w.scratch(2L * samples * channels * Float.BYTES)[0];
    w.add(
        NormKernels.groupNormAffine(
            element(in.getFirst()),
            at[0],
            at[2],
            at[3],
            at[4],
            parts,
            samples,
            pixels,
            channels,
            groups));
    for (int i = 0; i < 2; i++) {
      w.add(
          SumKernels.columnSumsFinish(
              parts,
              0,
              out.get(1 + i).address(),
              1,
              samples,
              1,
              channels,
              2 * channels,
              i * channels));
    }
  }

  static void weightNorm(Work w, WeightNorm op, List<Tensor> in, List<Tensor> out) {
    Shape v = in.getFirst().shape();
    w.add(
        NormKernels.weightNorm(
            in.getFirst().address(),
            in.get(1).address(),
            out.getFirst().address(),
            v.dim(0),
            v.dim(1),
            v.dim(2),
            op.axis()));
  }

  static void weightNormBackward(Work w, WeightNormBackward op, List<Tensor> in, List<Tensor> out) {
    Shape v = in.getFirst().shape();
    w.add(
        NormKernels.weightNormBackward(
            in.getFirst().address(),
            in.get(1).address(),
            in.get(2).address(),
            out.getFirst().address(),
            out.get(1).address(),
            v.dim(0),
            v.dim(1),
            v.dim(2),
            op.axis()));
  }

  static void maskChannels(Work w, MaskChannels op, List<Tensor> in, List<Tensor> out) {
    Shape v = in.getFirst().shape();
    w.add(
        NormKernels.maskChannels(
            in.getFirst().address(),
            out.getFirst().address(),
            v.dim(0),
            v.dim(1),
            v.dim(2),
            op.centre(),
            op.colours(),
            op.strict(),
            op.free()));
  }
}
