package dev.gatun.engine.op;

import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import java.util.List;

/**
 * Draws of categorical variables, by the Gumbel-max trick: the category whose logit is the largest
 * once standard Gumbel noise has been added, the first of equals.
 *
 * <p>Inputs: logits [N,...,L*K] f32, step [1] f64, as of {@link GumbelSoftmax}. Output: y
 * [S*N,...,L*K] f32, one-hot in each K; NaN where a logit of the latent is. The noise is that of
 * {@code GumbelSoftmax}, so that the draw is the largest element of the relaxed one. Compared in
 * f64, where two categories are next to never within rounding of each other: devices agree. No
 * gradient.
 *
 * @param first number of the first image in its batch
 * @see "Maddison et al. 2017, The Concrete Distribution, section 3.1"
 */
public record CategoricalSample(int categories, long seed, int first, int samples) implements Op {
  @Override
  public String name() {
    return "categorical_sample";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    return CategoricalChecks.drawn(this, in, categories, first, samples);
  }
}
