package dev.gatun.engine.cuda;

import dev.gatun.engine.Philox;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.GaussianKl;
import dev.gatun.engine.op.GaussianKlBackward;
import dev.gatun.engine.op.GaussianMixture;
import dev.gatun.engine.op.GaussianMixtureBackward;
import dev.gatun.engine.op.GaussianSample;
import dev.gatun.engine.op.GaussianSampleBackward;
import dev.gatun.engine.op.KlObjective;
import dev.gatun.engine.op.KlObjectiveBackward;
import dev.gatun.kernels.GaussianKernels;
import dev.gatun.kernels.GaussianKernels.Latents;
import dev.gatun.kernels.GaussianKernels.Mixture;
import dev.gatun.kernels.GaussianKernels.MixtureSizes;
import java.util.List;

/** Latent variables of normal distributions. */
final class CudaGaussian {
  private CudaGaussian() {}

  private static Latents latents(Tensor parameters) {
    int images = parameters.shape().dim(0);
    return new Latents(images, parameters.elements() / images / 2, parameters.shape().dim(-1) / 2);
  }

  static void sample(Work w, GaussianSample op, List<Tensor> in, List<Tensor> out) {
    w.add(
        GaussianKernels.sample(
            in.get(0).address(),
            in.get(1).address(),
            out.get(0).address(),
            out.get(1).address(),
            w.refusal(),
            latents(in.getFirst()),
            op.seed(),
            op.first(),
            op.samples(),
            Philox.Stream.LATENT.ordinal()));
  }

  static void sampleBackward(Work w, GaussianSampleBackward op, List<Tensor> in, List<Tensor> out) {
    w.add(
        GaussianKernels.sampleBackward(
            in.get(0).address(),
            in.get(1).address(),
            in.get(2).address(),
            out.getFirst().address(),
            latents(in.getFirst()),
            op.samples()));
  }

  static void kl(Work w, GaussianKl op, List<Tensor> in, List<Tensor> out) {
    long parameters = in.getFirst().address();
    Latents sizes = latents(in.getFirst());
    w.add(GaussianKernels.kl(parameters, out.get(0).address(), sizes));
    w.add(GaussianKernels.klByDimension(parameters, out.get(1).address(), sizes));
  }

  static void klBackward(Work w, GaussianKlBackward op, List<Tensor> in, List<Tensor> out) {
    w.add(
        GaussianKernels.klBackward(
            in.getFirst().address(),
            op.ofImages() ? in.get(1).address() : 0,
            op.ofDimensions() ? in.getLast().address() : 0,
            out.getFirst().address(),
            latents(in.getFirst())));
  }

  private static GaussianKernels.Objective of(KlObjective op) {
    return new GaussianKernels.Objective(
        op.beta(), op.warmupSteps(), op.freeNats(), op.capacity(), op.capacitySteps());
  }

  static void objective(Work w, KlObjective op, List<Tensor> in, List<Tensor> out) {
    w.add(
        GaussianKernels.objective(
            in.get(0).address(),
            in.get(1).address(),
            out.getFirst().address(),
            w.refusal(),
            in.getFirst().elements(),
            of(op)));
  }

  static void objectiveBackward(Work w, KlObjectiveBackward op, List<Tensor> in, List<Tensor> out) {
    w.add(
        GaussianKernels.objectiveBackward(
            in.get(0).address(),
            in.get(1).address(),
            in.get(2).address(),
            out.getFirst().address(),
            w.refusal(),
            in.getFirst().elements(),
            of(op.forward())));
  }

  private static MixtureSizes sizes(int components, List<Tensor> in) {
    int depth = in.get(0).shape().dim(-1);
    int rows = in.get(1).elements() / depth / 2 / components;
    return new MixtureSizes(in.get(0).shape().dim(0), rows, components, depth);
  }

  private static Mixture mixture(List<Tensor> in, boolean weighted, long[] scratch) {
    return new Mixture(
        in.get(0).address(),
        in.get(1).address(),
        weighted ? in.get(2).address() : 0,
        scratch[0],
        scratch[1],
        scratch[2]);
  }

  static void mixture(Work w, GaussianMixture op, List<Tensor> in, List<Tensor> out) {
    MixtureSizes sizes = sizes(op.components(), in);
    long each = (long) Double.BYTES * sizes.all();
    Mixture of = mixture(in, in.size() > 2, w.scratch(each * sizes.depth(), each, each));
    w.add(GaussianKernels.mixtureComponents(of, sizes));
    w.add(GaussianKernels.mixture(of, sizes, out.getFirst().address()));
  }

  static void mixtureBackward(
      Work w, GaussianMixtureBackward op, List<Tensor> in, List<Tensor> out) {
    MixtureSizes sizes = sizes(op.components(), in);
    long each = (long) Double.BYTES * sizes.all();
    long posteriors = (long) Double.BYTES * sizes.count() * sizes.components();
    long[] scratch = w.scratch(each * sizes.depth(), each, each, posteriors);
    Mixture of = mixture(in, in.size() > 4, scratch);
    long logDensity = in.get(in.size() - 2).address();
    long ddensity = in.getLast().address();
    w.add(GaussianKernels.mixtureComponents(of, sizes));
    w.add(
        GaussianKernels.mixtureBackwardRows(
            of, sizes, logDensity, ddensity, scratch[3], out.get(0).address()));
    w.add(
        GaussianKernels.mixtureBackwardComponents(
            of,
            sizes,
            scratch[3],
            ddensity,
            out.get(1).address(),
            out.size() > 2 ? out.get(2).address() : 0));
  }
}
