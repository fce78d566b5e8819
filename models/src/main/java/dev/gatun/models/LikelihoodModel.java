package dev.gatun.models;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;

/** A model that can say how likely an image is, exactly, and is trained by that. */
public interface LikelihoodModel extends Model {
  /**
   * The model as one that has a likelihood.
   *
   * @throws IllegalArgumentException in one line if it has none
   */
  static LikelihoodModel of(Model model) {
    if (model instanceof LikelihoodModel exact) {
      return exact;
    }
    throw new IllegalArgumentException(model.name() + " has no likelihood that can be computed");
  }

  /**
   * The negative log-likelihood.
   *
   * @return nats
   */
  Nats nats(Graph graph, Weights weights, Input input);

  @Override
  default Objective objective() {
    return Objective.BITS_PER_DIM;
  }

  @Override
  default Value loss(Graph graph, Weights weights, Input input) {
    return nats(graph, weights, input).mean();
  }
}
