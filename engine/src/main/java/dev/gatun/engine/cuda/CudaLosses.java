package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.Work.element;

import dev.gatun.engine.Tensor;
import dev.gatun.engine.op.LogisticMixture;
import dev.gatun.engine.op.LogisticMixtureBackward;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.SoftmaxCrossEntropyBackward;
import dev.gatun.kernels.LossKernels;
import dev.gatun.kernels.SumKernels;
import java.util.List;

/** Losses and their gradients. */
final class CudaLosses {
  private CudaLosses() {}

  static void crossEntropy(Work w, SoftmaxCrossEntropy op, List<Tensor> in, List<Tensor> out) {
    Tensor logits = in.getFirst();
    int classes = op.classesOf(logits.shape());
    int rows = logits.elements() / classes;
    long nats = out.get(1).address();
    w.add(
        LossKernels.crossEntropy(
            element(logits),
            logits.address(),
            in.get(1).address(),
            nats,
            out.get(2).address(),
            w.refusal(),
            rows,
            classes));
    w.add(SumKernels.mean(nats, out.getFirst().address(), rows, rows));
  }

  static void crossEntropyBackward(
      Work w, SoftmaxCrossEntropyBackward op, List<Tensor> in, List<Tensor> out) {
    Tensor logits = in.getFirst();
    int classes = op.classesOf(logits.shape());
    w.add(
        LossKernels.crossEntropyBackward(
            element(logits),
            element(op.type()),
            logits.address(),
            in.get(1).address(),
            in.get(2).address(),
            in.get(3).address(),
            out.getFirst().address(),
            w.refusal(),
            logits.elements() / classes,
            classes));
  }

  static void mixture(Work w, LogisticMixture op, List<Tensor> in, List<Tensor> out) {
    int rows = in.get(1).shape().rows();
    int colours = in.get(1).shape().dim(-1);
    long nats = out.get(1).address();
    w.add(
        LossKernels.mixture(
            in.getFirst().address(),
            in.get(1).address(),
            nats,
            w.refusal(),
            rows,
            colours,
            op.mixtures(),
            op.levels()));
    w.add(SumKernels.mean(nats, out.getFirst().address(), rows, (double) rows * colours));
  }

  static void mixtureBackward(
      Work w, LogisticMixtureBackward op, List<Tensor> in, List<Tensor> out) {
    w.add(
        LossKernels.mixtureBackward(
            element(op.type()),
            in.getFirst().address(),
            in.get(1).address(),
            in.get(2).address(),
            out.getFirst().address(),
            w.refusal(),
            in.get(1).shape().rows(),
            in.get(1).shape().dim(-1),
            op.mixtures(),
            op.levels()));
  }
}
