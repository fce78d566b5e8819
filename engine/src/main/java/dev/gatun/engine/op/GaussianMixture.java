package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.ArrayList;
import java.util.List;

/**
 * The log-density of vectors under mixtures of normal distributions with diagonal covariances, in
 * nats: log of the sum over k of w_k * prod_d N(z_d; mean_kd, exp(logVariance_kd)).
 *
 * <p>Inputs: z [M,...,D] f32, whose axes between are 1; parameters f32, of any shape: R rows of K
 * components, each D means, then D log-variances; optionally logits f32 of any shape, R rows of K,
 * whose softmax are the weights w, which without them are equal. R divides M: row m of z is seen
 * under row m % R. Output: [M] f32. All inputs have gradients.
 *
 * <p>With K = 1 and R the number of images it is what an encoder says of its samples, with R = 1 a
 * prior.
 *
 * @param components K
 * @see "Tomczak and Welling 2018, VAE with a VampPrior, section 3"
 */
public record GaussianMixture(int components) implements Op {
  @Override
  public String name() {
    return "gaussian_mixture";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 3);
    return checkMixture(this, components, in);
  }

  /** Checks z, parameters and, if there are any, logits. */
  static List<TensorSpec> checkMixture(Op op, int components, List<TensorSpec> in) {
    Shape z = in.getFirst().shape();
    op.require(
        in.stream().allMatch(spec -> spec.dtype() == DType.F32), in, "takes f32 and nothing else");
    op.require(components >= 1, in, "there must be at least 1 component, not " + components);
    op.require(z.rank() >= 2 && z.elements() > 0, in, "z must be [M,...,D] f32");
    op.require(
        (long) z.dim(0) * z.dim(-1) == z.elements(), in, "z's axes between M and D must be 1");
    int parameters = in.get(1).shape().elements();
    long row = 2L * components * z.dim(-1);
    op.require(
        parameters > 0 && parameters % row == 0,
        in,
        "parameters must be rows of K*2D=" + row + " elements");
    long rows = parameters / row;
    op.require(z.dim(0) % rows == 0, in, "R=" + rows + " rows of parameters do not divide M");
    op.require(
        in.size() < 3 || in.get(2).shape().elements() == rows * components,
        in,
        "logits must be R*K=" + rows * components + " elements");
    return List.of(TensorSpec.of(DType.F32, z.dim(0)));
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    List<Value> in = new ArrayList<>(inputs);
    in.add(outputs.getFirst());
    in.add(gradients.getFirst());
    return graph.apply(new GaussianMixtureBackward(components), in);
  }
}
