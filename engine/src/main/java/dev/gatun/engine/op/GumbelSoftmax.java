package dev.gatun.engine.op;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Op;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import java.util.Arrays;
import java.util.List;

/**
 * Relaxed draws of categorical variables: softmax((logits + g) / tau) with standard Gumbel noise g.
 * They have a gradient, and approach one-hot draws as the temperature tau goes to 0.
 *
 * <p>Inputs: logits [N,...,L*K] f32, K = {@code categories} of each latent variable side by side;
 * step [1] f64, a whole number below 2^31. Output: y [S*N,...,L*K] f32, S = {@code samples}; sample
 * s of image n is row s * N + n.
 *
 * <p>Element e of sample s of image n takes the Gumbel number (step, ((first + n) * S + s) * E + e)
 * of the seed's stream {@code LATENT}, E the elements of an image's logits ({@link
 * dev.gatun.engine.Philox#gumbel}): a resumed run draws what an unbroken one does, and parts of a
 * batch what the whole does.
 *
 * @param first number of the first image in its batch
 * @see "Jang et al. 2017, Categorical Reparameterization with Gumbel-Softmax, section 2"
 * @see "Maddison et al. 2017, The Concrete Distribution, section 3.2"
 */
public record GumbelSoftmax(
    int categories, long seed, int first, int samples, Temperature temperature) implements Op {
  /** A schedule: at a step, start * exp(-rate * step), but no less than {@code least}. */
  public record Temperature(double start, double least, double rate) {
    /** The temperature that never changes. */
    public static Temperature constant(double value) {
      return new Temperature(value, value, 0);
    }

    /** The temperature at a step. */
    public double at(double step) {
      return Math.max(least, start * Math.exp(-rate * step));
    }

    void check(Op op, List<TensorSpec> in) {
      op.require(
          Double.isFinite(start) && start > 0 && Double.isFinite(least) && least > 0,
          in,
          "the temperature must be above 0, not from " + start + " to " + least);
      op.require(
          Double.isFinite(rate) && rate >= 0, in, "the temperature's rate must not be " + rate);
    }
  }

  @Override
  public String name() {
    return "gumbel_softmax";
  }

  @Override
  public List<TensorSpec> check(List<TensorSpec> in) {
    temperature.check(this, in);
    return CategoricalChecks.drawn(this, in, categories, first, samples);
  }

  @Override
  public List<Value> backward(
      Graph graph, List<Value> inputs, List<Value> outputs, List<Value> gradients) {
    Value dlogits =
        graph.apply(
            new GumbelSoftmaxBackward(categories, samples, temperature),
            outputs.getFirst(),
            gradients.getFirst(),
            inputs.get(1));
    return Arrays.asList(dlogits, null);
  }
}
