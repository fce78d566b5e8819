package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.Arrays;
import java.util.List;

/**
 * Negative log-likelihood of whole classes under a softmax.
 *
 * <p>Inputs: logits [M,K] f32 or bf16, or [...,C*K], seen so: each pixel's colours one after
 * another, K logits each; targets, M elements u8, each below K. Outputs: the mean over rows in
 * nats, [1] f32; each row's nats [M] f32; each row's log-sum-exp [M] f32, which the gradient reads.
 *
 * @param classes K; 0 for the whole last axis
 * @param gradientType dtype of the logits' gradient; null for the logits' own
 */
public record SoftmaxCrossEntropy(int classes, DType gradientType) implements Op {
  /** The classes are the whole last axis. */
  public SoftmaxCrossEntropy(DType gradientType) {
    this(0, gradientType);
  }

  @Override
  public String name() {
    return "softmax_cross_entropy";
  }

  /** The number of classes in logits of a shape. */
  public int classesOf(Shape logits) {
    return classes == 0 ? logits.dim(-1) : classes;
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    TensorSpec logits = in.get(0);
    Checks.activation(this, in, logits);
    int each = classesOf(logits.shape());
    require(each >= 1 && each <= 256, in, "classes must be 1 to 256, not " + each);
    require(
        logits.shape().dim(-1) % each == 0,
        in,
        logits.shape().dim(-1) + " logits not divisible by classes=" + each);
    int rows = logits.shape().elements() / each;
    require(
        in.get(1).dtype() == DType.U8 && in.get(1).shape().elements() == rows,
        in,
        "targets must be " + rows + " elements u8");
    return List.of(
        TensorSpec.of(DType.F32, 1),
        TensorSpec.of(DType.F32, rows),
        TensorSpec.of(DType.F32, rows));
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    if (gradients.get(1) != null || gradients.get(2) != null) {
      throw new UnsupportedOperationException(
          name() + " has a gradient for its mean only, not for single rows");
    }
    DType type = gradientType == null ? inputs.get(0).dtype() : gradientType;
    Value dlogits =
        graph.apply(
            new SoftmaxCrossEntropyBackward(classes, type),
            inputs.get(0),
            inputs.get(1),
            outputs.get(2),
            gradients.get(0));
    return Arrays.asList(dlogits, null);
  }
}
