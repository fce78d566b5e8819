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

  private static NormKernels.Group group(GroupNorm op, Tensor x) {
    Shape s = x.shape();
    return new NormKernels.Group(
        element(x), s.dim(0), s.dim(1) * s.dim(2), s.dim(3), op.groups(), op.silu());
  }

  static void groupNorm(Work w, GroupNorm op, List<Tensor> in, List<Tensor> out) {
    NormKernels.Group group = group(op, in.getFirst());
    long[] at = in.stream().mapToLong(Tensor::address).toArray();
    long mean = out.get(1).address();
    long rstd = out.get(2).address();
    long parts = w.scratch(group.partsBytes())[0];
    w.add(group.parts(at[0], parts));
    w.add(group.statistics(parts, mean, rstd, op.epsilon()));
    w.add(
        group.forward(
            at[0], at[1], at[2], mean, rstd, at.length > 3 ? at[3] : 0, out.getFirst().address()));
  }

  static void groupNormBackward(Work w, GroupNormBackward op, List<Tensor> in, List<Tensor> out) {
    Shape x = in.getFirst().shape();
    int samples = x.dim(0);
    int channels = x.dim(3);
    NormKernels.Group group = group(op.forward(), in.getFirst());
    long[] at = in.stream().mapToLong(Tensor::address).toArray();
    long modulation = at.length > 6 ? at[6] : 0;
    long[] scratch =
        w.scratch(
            group.partsBytes(),
            2L * Float.BYTES * samples * op.forward().groups(),
            2L * Float.BYTES * samples * channels);
    w.add(group.backwardParts(at[0], at[1], at[2], at[3], at[4], at[5], modulation, scratch[0]));
    w.add(
        group.backwardSums(
            scratch[0],
            at[1],
            at[2],
            modulation,
            scratch[1],
            scratch[2],
            out.size() > 3 ? out.get(3).address() : 0));
    w.add(
        group.backward(
            at[0],
            at[1],
            at[2],
            at[3],
            at[4],
            at[5],
            modulation,
            scratch[1],
            out.getFirst().address()));
    for (int i = 0; i < 2; i++) {
      w.add(
          SumKernels.columnSumsFinish(
              scratch[2],
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
