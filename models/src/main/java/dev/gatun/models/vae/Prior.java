package dev.gatun.models.vae;

import dev.gatun.engine.DType;
import dev.gatun.engine.Shape;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Cast;
import dev.gatun.engine.op.Fill;
import dev.gatun.engine.train.ParameterSpec;
import java.util.ArrayList;
import java.util.List;

/** A prior of latents of D numbers: a mixture of Gaussians with diagonal covariance. */
sealed interface Prior {
  /** K. */
  int components();

  List<ParameterSpec> parameters(int size);

  /**
   * Its components.
   *
   * @return [K,...,2D] f32, of each the means, then the log-variances
   */
  Value moments(Scope scope, int size);

  /**
   * The logarithms of their weights, up to a constant.
   *
   * @return [K] f32, or null where they are alike
   */
  default Value logits(Scope scope) {
    return null;
  }

  /** N(0,1). */
  record Standard() implements Prior {
    @Override
    public int components() {
      return 1;
    }

    @Override
    public List<ParameterSpec> parameters(int size) {
      return List.of();
    }

    @Override
    public Value moments(Scope scope, int size) {
      return scope.apply(new Fill(TensorSpec.of(DType.F32, 1, 2 * size), 0));
    }
  }

  /**
   * A mixture whose components are learned: latents fall into clusters.
   *
   * @see "Dilokthanakul et al. 2016, Deep Unsupervised Clustering with Gaussian Mixture Variational
   *     Autoencoders; here without the second layer of latents"
   */
  record Mixture(int components) implements Prior {
    private static final String MOMENTS = "prior.moments";
    private static final String LOGITS = "prior.logits";

    public Mixture {
      if (components < 1 || components > 1000) {
        throw new IllegalArgumentException("components must be 1 to 1000, not " + components);
      }
    }

    @Override
    public List<ParameterSpec> parameters(int size) {
      List<ParameterSpec> p = new ArrayList<>();
      // apart from each other, or all would stay alike
      p.add(
          new ParameterSpec(
              MOMENTS, Shape.of(components, 2 * size), new ParameterSpec.Init.Normal(0.5)));
      p.add(ParameterSpec.bias(LOGITS, components));
      return p;
    }

    @Override
    public Value moments(Scope scope, int size) {
      return scope.weights().get(MOMENTS);
    }

    @Override
    public Value logits(Scope scope) {
      return scope.weights().get(LOGITS);
    }
  }

  /**
   * The posteriors of inputs that are learned.
   *
   * @see "Tomczak and Welling 2018, VAE with a VampPrior, section 3"
   */
  record Vamp(int components, Shape input) implements Prior {
    static final String INPUTS = "prior.inputs";

    public Vamp {
      if (components < 1 || components > 1000) {
        throw new IllegalArgumentException("pseudoInputs must be 1 to 1000, not " + components);
      }
    }

    @Override
    public List<ParameterSpec> parameters(int size) {
      int[] image = input.toArray();
      return List.of(
          new ParameterSpec(
              INPUTS,
              Shape.of(components, image[0], image[1], image[2]),
              new ParameterSpec.Init.Normal(0.1)));
    }

    @Override
    public Value moments(Scope scope, int size) {
      Value inputs = scope.apply(new Cast(scope.type()), scope.weights().get(INPUTS));
      return scope.network().encode(scope.graph(), scope.weights(), inputs);
    }
  }
}
