package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.Work.element;

import dev.gatun.engine.DType;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.DenoiseStep;
import dev.gatun.engine.op.DenoiseStep.Thresholding;
import dev.gatun.engine.op.Diffuse;
import dev.gatun.engine.op.DiffusionTimes;
import dev.gatun.engine.op.FoldUpsampling;
import dev.gatun.engine.op.FoldUpsamplingBackward;
import dev.gatun.engine.op.SinusoidalEmbedding;
import dev.gatun.engine.op.SquaredError;
import dev.gatun.engine.op.SquaredErrorBackward;
import dev.gatun.engine.op.VariationalBound;
import dev.gatun.engine.op.VariationalBoundBackward;
import dev.gatun.kernels.DiffusionKernels;
import dev.gatun.kernels.SumKernels;
import java.util.List;

/** What diffusion models need beside their network. */
final class CudaDiffusion {
  private CudaDiffusion() {}

  /** Elements of an image. */
  private static int each(Tensor images) {
    return images.elements() / images.shape().dim(0);
  }

  static void times(Work w, DiffusionTimes op, List<Tensor> in, List<Tensor> out) {
    w.add(
        DiffusionKernels.times(
            in.get(0).address(),
            in.get(1).address(),
            out.get(0).address(),
            out.get(1).address(),
            out.get(2).address(),
            w.refusal(),
            op.images(),
            in.getFirst().shape().dim(0),
            op.seed(),
            op.first(),
            Philox.Stream.TIMES.ordinal()));
  }

  static void diffuse(Work w, Diffuse op, List<Tensor> in, List<Tensor> out) {
    Tensor images = in.getFirst();
    w.add(
        DiffusionKernels.diffuse(
            element(op.type()),
            images.dtype() == DType.F32,
            images.address(),
            in.get(1).address(),
            in.get(2).address(),
            out.get(0).address(),
            out.get(1).address(),
            w.refusal(),
            images.elements(),
            each(images),
            op.seed(),
            op.first(),
            Philox.Stream.NOISE.ordinal()));
  }

  static void squaredError(Work w, SquaredError op, List<Tensor> in, List<Tensor> out) {
    Tensor p = in.getFirst();
    int images = p.shape().dim(0);
    long errors = out.get(1).address();
    w.add(
        DiffusionKernels.squaredError(
            element(p), p.address(), in.get(1).address(), errors, images, each(p)));
    w.add(
        DiffusionKernels.squaredErrorFinish(
            errors, in.get(2).address(), out.getFirst().address(), images));
  }

  static void squaredErrorBackward(
      Work w, SquaredErrorBackward op, List<Tensor> in, List<Tensor> out) {
    Tensor p = in.getFirst();
    w.add(
        DiffusionKernels.squaredErrorBackward(
            element(p),
            p.address(),
            in.get(1).address(),
            in.get(2).address(),
            in.get(3).address(),
            out.getFirst().address(),
            p.elements(),
            each(p)));
  }

  static void sinusoidalEmbedding(
      Work w, SinusoidalEmbedding op, List<Tensor> in, List<Tensor> out) {
    w.add(
        DiffusionKernels.sinusoidalEmbedding(
            element(op.type()),
            in.getFirst().address(),
            out.getFirst().address(),
            in.getFirst().elements(),
            op.channels(),
            op.decay(),
            op.cosineFirst()));
  }

  static void denoiseStep(Work w, DenoiseStep op, List<Tensor> in, List<Tensor> out) {
    Tensor x = in.getFirst();
    boolean inpaints = in.size() == 7;
    boolean dynamic = op.thresholding() == Thresholding.DYNAMIC;
    DiffusionKernels.Denoising at =
        new DiffusionKernels.Denoising(
            x.address(),
            in.get(1).address(),
            in.get(2).address(),
            in.get(3).address(),
            in.get(4).address(),
            inpaints ? in.get(5).address() : 0,
            inpaints ? in.get(6).address() : 0,
            dynamic ? w.scratch((long) Float.BYTES * x.shape().dim(0))[0] : 0,
            out.get(0).address(),
            out.get(1).address(),
            w.own(Integer.BYTES).address(),
            w.refusal());
    DiffusionKernels.DenoisingSizes sizes =
        new DiffusionKernels.DenoisingSizes(
            x.elements(),
            each(x),
            x.shape().dim(3),
            in.get(3).shape().dim(0),
            op.guidance(),
            op.guided(),
            op.learnedVariance());
    if (dynamic) {
      int rank = Thresholding.rank(each(x));
      w.add(DiffusionKernels.denoiseStepThreshold(element(in.get(2)), at, sizes, rank));
    }
    w.add(
        DiffusionKernels.denoiseStep(
            element(in.get(2)),
            at,
            sizes,
            op.thresholding() != Thresholding.NONE,
            Philox.Stream.SAMPLER.ordinal()));
  }

  private static DiffusionKernels.Bound bound(List<Tensor> in) {
    return new DiffusionKernels.Bound(
        in.get(0).address(),
        in.get(1).address(),
        in.get(2).address(),
        in.get(3).address(),
        in.get(4).address(),
        in.size() > 5 ? in.get(5).address() : 0);
  }

  static void variationalBound(Work w, VariationalBound op, List<Tensor> in, List<Tensor> out) {
    Tensor p = in.getFirst();
    int images = p.shape().dim(0);
    long terms = out.get(1).address();
    w.add(
        DiffusionKernels.variationalBound(
            element(p), bound(in), terms, w.refusal(), images, each(p), in.get(4).shape().dim(0)));
    w.add(SumKernels.mean(terms, out.getFirst().address(), images, images / op.scale()));
  }

  static void variationalBoundBackward(
      Work w, VariationalBoundBackward op, List<Tensor> in, List<Tensor> out) {
    Tensor p = in.getFirst();
    w.add(
        DiffusionKernels.variationalBoundBackward(
            element(p),
            bound(in),
            in.get(6).address(),
            out.getFirst().address(),
            w.refusal(),
            p.elements(),
            each(p),
            in.get(4).shape().dim(0),
            op.scale() / p.elements()));
  }

  static void foldUpsampling(Work w, FoldUpsampling op, List<Tensor> in, List<Tensor> out) {
    Tensor weights = in.getFirst();
    w.add(
        DiffusionKernels.foldUpsampling(
            weights.address(),
            out.getFirst().address(),
            weights.shape().dim(1),
            weights.shape().dim(2)));
  }

  static void foldUpsamplingBackward(
      Work w, FoldUpsamplingBackward op, List<Tensor> in, List<Tensor> out) {
    Tensor dw = out.getFirst();
    w.add(
        DiffusionKernels.foldUpsamplingBackward(
            in.getFirst().address(), dw.address(), dw.shape().dim(1), dw.shape().dim(2)));
  }
}
