package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.Work.element;

import dev.gatun.engine.Philox;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.CategoricalKl;
import dev.gatun.engine.op.CategoricalKlBackward;
import dev.gatun.engine.op.CategoricalLogProbability;
import dev.gatun.engine.op.CategoricalSample;
import dev.gatun.engine.op.CodeVectors;
import dev.gatun.engine.op.Codebook;
import dev.gatun.engine.op.CodebookSums;
import dev.gatun.engine.op.GumbelSoftmax;
import dev.gatun.engine.op.GumbelSoftmaxBackward;
import dev.gatun.engine.op.MovingAverage;
import dev.gatun.engine.op.VectorQuantize;
import dev.gatun.kernels.CodeKernels;
import java.util.List;

/** Discrete latent variables. */
final class CudaCodes {
  private CudaCodes() {}

  /** Latent variables of an image. */
  private static int latents(Tensor logits, int categories) {
    return logits.elements() / logits.shape().dim(0) / categories;
  }

  private static CodeKernels.Draws draws(
      Tensor logits, int categories, long seed, int first, int samples) {
    return new CodeKernels.Draws(
        seed,
        first,
        Philox.Stream.LATENT.ordinal(),
        logits.shape().dim(0),
        latents(logits, categories),
        samples);
  }

  private static CodeKernels.Temperature temperature(GumbelSoftmax.Temperature t) {
    return new CodeKernels.Temperature(t.start(), t.least(), t.rate());
  }

  static void gumbelSoftmax(Work w, GumbelSoftmax op, List<Tensor> in, List<Tensor> out) {
    w.add(
        CodeKernels.gumbelSoftmax(
            in.get(0).address(),
            in.get(1).address(),
            out.getFirst().address(),
            w.refusal(),
            op.categories(),
            draws(in.getFirst(), op.categories(), op.seed(), op.first(), op.samples()),
            temperature(op.temperature())));
  }

  static void gumbelSoftmaxBackward(
      Work w, GumbelSoftmaxBackward op, List<Tensor> in, List<Tensor> out) {
    Tensor dlogits = out.getFirst();
    w.add(
        CodeKernels.gumbelSoftmaxBackward(
            in.get(0).address(),
            in.get(1).address(),
            in.get(2).address(),
            dlogits.address(),
            w.refusal(),
            dlogits.elements() / op.categories(),
            op.categories(),
            op.samples(),
            temperature(op.temperature())));
  }

  static void categoricalSample(Work w, CategoricalSample op, List<Tensor> in, List<Tensor> out) {
    w.add(
        CodeKernels.categoricalSample(
            in.get(0).address(),
            in.get(1).address(),
            out.getFirst().address(),
            w.refusal(),
            op.categories(),
            draws(in.getFirst(), op.categories(), op.seed(), op.first(), op.samples())));
  }

  static void categoricalKl(Work w, CategoricalKl op, List<Tensor> in, List<Tensor> out) {
    Tensor logits = in.getFirst();
    int images = logits.shape().dim(0);
    int latents = latents(logits, op.categories());
    long rows = (long) images * latents;
    long terms = w.scratch(Double.BYTES * rows)[0];
    w.add(CodeKernels.categoricalKl(logits.address(), terms, rows, op.categories()));
    w.add(
        CodeKernels.categoricalKlFinish(
            terms, out.get(0).address(), out.get(1).address(), images, latents));
  }

  static void categoricalKlBackward(
      Work w, CategoricalKlBackward op, List<Tensor> in, List<Tensor> out) {
    Tensor logits = in.getFirst();
    w.add(
        CodeKernels.categoricalKlBackward(
            logits.address(),
            op.ofImages() ? in.get(1).address() : 0,
            op.ofDimensions() ? in.getLast().address() : 0,
            out.getFirst().address(),
            logits.shape().dim(0),
            latents(logits, op.categories()),
            op.categories()));
  }

  static void categoricalLogProbability(
      Work w, CategoricalLogProbability op, List<Tensor> in, List<Tensor> out) {
    Tensor logits = in.get(1);
    w.add(
        CodeKernels.categoricalLogProbability(
            in.get(0).address(),
            logits.address(),
            out.getFirst().address(),
            in.get(0).shape().dim(0),
            logits.shape().dim(0),
            latents(logits, op.categories()),
            op.categories()));
  }

  static void vectorQuantize(Work w, VectorQuantize op, List<Tensor> in, List<Tensor> out) {
    Tensor z = in.get(0);
    Shape codebook = in.get(1).shape();
    w.add(
        CodeKernels.vectorQuantize(
            element(z),
            z.address(),
            in.get(1).address(),
            out.get(0).address(),
            out.get(1).address(),
            z.shape().rows(),
            codebook.dim(1),
            codebook.dim(0)));
  }

  static void codeVectors(Work w, CodeVectors op, List<Tensor> in, List<Tensor> out) {
    Shape codebook = in.get(1).shape();
    w.add(
        CodeKernels.codeVectors(
            element(op.type()),
            in.get(0).address(),
            in.get(1).address(),
            out.getFirst().address(),
            w.refusal(),
            in.get(0).elements(),
            codebook.dim(1),
            codebook.dim(0)));
  }

  static void codebookSums(Work w, CodebookSums op, List<Tensor> in, List<Tensor> out) {
    Tensor z = in.get(0);
    w.add(
        CodeKernels.codebookSums(
            element(z),
            z.address(),
            in.get(1).address(),
            out.getFirst().address(),
            w.refusal(),
            z.shape().rows(),
            z.shape().dim(-1),
            op.codes()));
  }

  static void movingAverage(Work w, MovingAverage op, List<Tensor> in, List<Tensor> out) {
    Tensor state = in.get(0);
    w.add(
        CodeKernels.movingAverage(
            state.address(), in.get(1).address(), w.refused(), state.elements(), op.decay()));
  }

  static void codebook(Work w, Codebook op, List<Tensor> in, List<Tensor> out) {
    Shape codebook = out.getFirst().shape();
    w.add(
        CodeKernels.codebook(
            in.getFirst().address(),
            out.getFirst().address(),
            codebook.dim(0),
            codebook.dim(1),
            op.epsilon()));
  }
}
