package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.Work.element;

import dev.gatun.engine.DType;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.IafStep;
import dev.gatun.engine.op.IafStepBackward;
import dev.gatun.engine.op.ImageLikelihood;
import dev.gatun.engine.op.ImageLikelihoodBackward;
import dev.gatun.engine.op.ImportanceBound;
import dev.gatun.engine.op.ImportanceBoundBackward;
import dev.gatun.kernels.LikelihoodKernels;
import dev.gatun.kernels.LikelihoodKernels.Targets;
import dev.gatun.kernels.LikelihoodKernels.Weights;
import dev.gatun.kernels.SumKernels;
import java.util.List;
import java.util.Locale;

/** Likelihoods of whole images, bounds on them, and flows. */
final class CudaLikelihoods {
  private CudaLikelihoods() {}

  private static Targets targets(Tensor targets, int levels) {
    int images = targets.shape().dim(0);
    return new Targets(
        targets.address(),
        targets.dtype() == DType.U8,
        images,
        targets.elements() / images,
        targets.shape().dim(3),
        levels);
  }

  private static String suffix(ImageLikelihood.Kind kind) {
    return kind.name().toLowerCase(Locale.ROOT);
  }

  /** Numbers have no level that could be refused. */
  private static long refusal(Work w, Tensor targets) {
    return targets.dtype() == DType.U8 ? w.refusal() : w.refused();
  }

  static void image(Work w, ImageLikelihood op, List<Tensor> in, List<Tensor> out) {
    w.add(
        LikelihoodKernels.imageLikelihood(
            suffix(op.kind()),
            in.get(0).address(),
            targets(in.get(1), op.levels()),
            out.getFirst().address(),
            refusal(w, in.get(1)),
            in.get(0).shape().dim(0)));
  }

  static void imageBackward(Work w, ImageLikelihoodBackward op, List<Tensor> in, List<Tensor> out) {
    w.add(
        LikelihoodKernels.imageLikelihoodBackward(
            suffix(op.kind()),
            element(op.type()),
            in.get(0).address(),
            targets(in.get(1), op.levels()),
            in.get(2).address(),
            out.getFirst().address(),
            refusal(w, in.get(1)),
            in.get(0).shape().dim(0)));
  }

  private static List<Long> addresses(List<Tensor> tensors) {
    return tensors.stream().map(Tensor::address).toList();
  }

  private static Weights weights(int samples, List<Double> factors, List<Tensor> in) {
    return new Weights(
        addresses(in.subList(0, factors.size())),
        factors,
        samples,
        in.getFirst().elements() / samples);
  }

  static void importance(Work w, ImportanceBound op, List<Tensor> in, List<Tensor> out) {
    Weights weights = weights(op.samples(), op.factors(), in);
    long each = out.get(1).address();
    w.add(LikelihoodKernels.importanceBound(weights, each));
    int images = weights.images();
    w.add(SumKernels.mean(each, out.getFirst().address(), images, images));
  }

  static void importanceBackward(
      Work w, ImportanceBoundBackward op, List<Tensor> in, List<Tensor> out) {
    w.add(
        LikelihoodKernels.importanceBoundBackward(
            weights(op.samples(), op.factors(), in), in.getLast().address(), addresses(out)));
  }

  static void iafStep(Work w, IafStep op, List<Tensor> in, List<Tensor> out) {
    Tensor z = in.getFirst();
    int rows = z.shape().dim(0);
    w.add(
        LikelihoodKernels.iafStep(
            z.address(),
            in.get(1).address(),
            out.get(0).address(),
            out.get(1).address(),
            rows,
            z.elements() / rows,
            z.shape().dim(-1)));
  }

  static void iafStepBackward(Work w, IafStepBackward op, List<Tensor> in, List<Tensor> out) {
    Tensor z = in.getFirst();
    int rows = z.shape().dim(0);
    w.add(
        LikelihoodKernels.iafStepBackward(
            z.address(),
            in.get(1).address(),
            in.get(2).address(),
            in.get(3).address(),
            out.get(0).address(),
            out.get(1).address(),
            rows,
            z.elements() / rows,
            z.shape().dim(-1)));
  }
}
