package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link SoftmaxCrossEntropy}'s mean: dlogits = (softmax - onehot(target)) * dmean
 * / M.
 *
 * <p>Inputs: logits [...,C*K], targets M elements u8, log-sum-exp [M] f32, dmean [1] f32. Output:
 * shaped like the logits, in {@code type}.
 *
 * @param classes K; 0 for the whole last axis
 */
public record SoftmaxCrossEntropyBackward(int classes, DType type) implements Op {
  /** The classes are the whole last axis. */
  public SoftmaxCrossEntropyBackward(DType type) {
    this(0, type);
  }

  @Override
  public String name() {
    return "softmax_cross_entropy_backward";
  }

  /** The number of classes in logits of a shape. */
  public int classesOf(Shape logits) {
    return new SoftmaxCrossEntropy(classes, null).classesOf(logits);
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 4, 4);
    List<TensorSpec> forward = new SoftmaxCrossEntropy(classes, null).check(in.subList(0, 2));
    require(in.get(2).equals(forward.get(2)), in, "log-sum-exp must be " + forward.get(2));
    require(in.get(3).equals(forward.get(0)), in, "dmean must be " + forward.get(0));
    require(type == DType.F32 || type == DType.BF16, in, "the gradient must be f32 or bf16");
    return List.of(new TensorSpec(in.get(0).shape(), type));
  }
}
