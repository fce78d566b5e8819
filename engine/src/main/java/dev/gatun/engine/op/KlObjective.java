package dev.gatun.engine.op;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.Arrays;
import java.util.List;

/**
 * What a variational autoencoder pays for its latent variables: beta * w * c, in nats.
 *
 * <p>Inputs: kl [E] f32, of each latent the divergence from its prior, a mean over a batch; step
 * [1] f64, a whole number below 2^31. Output: [1] f32. The gradient is that for kl.
 *
 * <p>w = min(1, (step + 1) / warmupSteps), 1 where warmupSteps is 0. With total the sum of
 * max(freeNats, kl), c is total where capacity is 0, else |total - capacity * min(1, step /
 * capacitySteps)|, the whole capacity at once where capacitySteps is 0. A latent at or below
 * freeNats has no gradient, nor has any where total is just the capacity.
 *
 * @param beta weight of the divergence
 * @param warmupSteps steps in which the weight grows to beta
 * @param freeNats what a latent costs at least: those nats are free; minus infinity where an
 *     estimate below 0 is to count as it is
 * @param capacity nats that the latents are to have together, or 0 for as few as it takes
 * @param capacitySteps steps in which the capacity grows from 0
 * @see "Higgins et al. 2017, beta-VAE, section 2"
 * @see "Sonderby et al. 2016, Ladder Variational Autoencoders, section 2.3 (warm-up)"
 * @see "Kingma et al. 2016, Improved Variational Inference with Inverse Autoregressive Flow,
 *     appendix C.8 (free bits)"
 * @see "Burgess et al. 2018, Understanding disentangling in beta-VAE, section 5 (capacity)"
 */
public record KlObjective(
    double beta, long warmupSteps, double freeNats, double capacity, long capacitySteps)
    implements Op {
  @Override
  public String name() {
    return "kl_objective";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    requireCount(in, 2, 2);
    TensorSpec kl = in.getFirst();
    require(
        kl.dtype() == DType.F32 && kl.shape().rank() == 1 && kl.shape().elements() > 0,
        in,
        "kl must be [E] f32");
    require(in.get(1).equals(TensorSpec.of(DType.F64, 1)), in, "step must be [1] f64");
    require(Double.isFinite(beta), in, "beta is " + beta);
    require(freeNats < Double.POSITIVE_INFINITY, in, "the free nats are " + freeNats);
    require(
        capacity >= 0 && Double.isFinite(capacity),
        in,
        "the capacity must be 0 or more, not " + capacity);
    require(
        warmupSteps >= 0 && capacitySteps >= 0,
        in,
        "warm-up and capacity must take 0 steps or more, not "
            + warmupSteps
            + " and "
            + capacitySteps);
    return List.of(TensorSpec.of(DType.F32, 1));
  }

  /** beta * w at a step. */
  public double weight(double step) {
    return warmupSteps == 0 ? beta : beta * Math.min(1, (step + 1) / warmupSteps);
  }

  /** The capacity at a step, or 0. */
  public double target(double step) {
    return capacitySteps == 0 ? capacity : capacity * Math.min(1, step / capacitySteps);
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    Value dkl =
        graph.apply(
            new KlObjectiveBackward(this), inputs.get(0), inputs.get(1), gradients.getFirst());
    return Arrays.asList(dkl, null);
  }
}
