package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/**
 * The Kullback-Leibler divergence of categorical variables from uniform ones: of each latent, with
 * q = softmax of its logits, the sum over k of q_k (log q_k + log K).
 *
 * <p>Input: logits [N,...,L*K] f32, K = {@code categories}. Outputs, in nats: kl [N] f32, of each
 * image the sum over its latents; byDimension [latents of an image] f32, of each latent the mean
 * over the images.
 *
 * @see "Jang et al. 2017, Categorical Reparameterization with Gumbel-Softmax, section 4"
 */
public record CategoricalKl(int categories) implements Op {
  @Override
  public String name() {
    return "categorical_kl";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 1, 1);
    TensorSpec logits = in.getFirst();
    CategoricalChecks.latents(this, in, logits, "logits", categories);
    Shape shape = logits.shape();
    int images = shape.dim(0);
    return List.of(
        TensorSpec.of(DType.F32, images),
        TensorSpec.of(DType.F32, shape.elements() / images / categories));
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    List<Value> arguments = new ArrayList<>(inputs);
    gradients.stream().filter(Objects::nonNull).forEach(arguments::add);
    Op backward =
        new CategoricalKlBackward(categories, gradients.get(0) != null, gradients.get(1) != null);
    return graph.apply(backward, arguments);
  }
}
