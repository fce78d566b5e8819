package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.ArrayList;
import java.util.List;

/**
 * The gradient of {@link CategoricalKl}: (dkl[n] + dbyDimension[l] / N) * q_k (log q_k - the sum
 * over j of q_j log q_j).
 *
 * <p>Inputs: logits [N,...,L*K] f32; dkl [N] f32 where {@code ofImages}; dbyDimension [latents of
 * an image] f32 where {@code ofDimensions}. Output: like logits.
 *
 * @param ofImages whether there is a gradient of kl
 * @param ofDimensions whether there is one of byDimension; one of the two there must be
 */
public record CategoricalKlBackward(int categories, boolean ofImages, boolean ofDimensions)
    implements Op {
  @Override
  public String name() {
    return "categorical_kl_backward";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    require(ofImages || ofDimensions, in, "takes a gradient of kl, of byDimension or of both");
    int count = ofImages && ofDimensions ? 3 : 2;
    requireCount(in, count, count);
    List<TensorSpec> forward = new CategoricalKl(categories).check(in.subList(0, 1));
    List<TensorSpec> slopes = new ArrayList<>();
    if (ofImages) {
      slopes.add(forward.get(0));
    }
    if (ofDimensions) {
      slopes.add(forward.get(1));
    }
    require(in.subList(1, count).equals(slopes), in, "the gradients must be " + slopes);
    return List.of(in.getFirst());
  }
}
