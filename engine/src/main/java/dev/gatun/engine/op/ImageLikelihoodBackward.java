package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * The gradient of {@link ImageLikelihood}.
 *
 * <p>Inputs: parameters, targets as there; dnats [M] f32. Output: shaped like the parameters, in
 * {@code type}: f32 or bf16. A log-scale below its bound has none.
 */
public record ImageLikelihoodBackward(ImageLikelihood.Kind kind, int levels, DType type)
    implements Op {
  @Override
  public String name() {
    return "image_likelihood_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 3, 3);
    TensorSpec nats = new ImageLikelihood(kind, levels, null).check(in.subList(0, 2)).getFirst();
    require(in.get(2).equals(nats), in, "dnats must be " + nats);
    require(type == DType.F32 || type == DType.BF16, in, "the gradient must be f32 or bf16");
    return List.of(new TensorSpec(in.getFirst().shape(), type));
  }
}
