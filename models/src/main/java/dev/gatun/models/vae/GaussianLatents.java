package dev.gatun.models.vae;

import dev.gatun.engine.Philox;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.GaussianKl;
import dev.gatun.engine.op.GaussianMixture;
import dev.gatun.engine.op.GaussianSample;
import dev.gatun.engine.op.Split;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.models.WeightedNats;
import java.util.ArrayList;
import java.util.List;

/**
 * Latents with a Gaussian posterior of diagonal covariance, which the encoder says: means, then
 * log-variances.
 *
 * @param size D
 * @see "Kingma and Welling 2014, Auto-Encoding Variational Bayes, sections 2.4 and 3"
 */
record GaussianLatents(int size, Prior prior) implements Latents {
  GaussianLatents {
    if (size < 1) {
      throw new IllegalArgumentException("latents must be positive, not " + size);
    }
  }

  @Override
  public int headSize() {
    return 2 * size;
  }

  @Override
  public int featureSize() {
    return size;
  }

  @Override
  public List<ParameterSpec> parameters() {
    return prior.parameters(size);
  }

  @Override
  public Value features(Scope s, Value head) {
    return s.graph().apply(new Split(size), List.of(head)).getFirst();
  }

  @Override
  public Value code(Scope s, Value head, Noise noise) {
    return features(s, head);
  }

  @Override
  public Trained train(Scope s, Value head, Noise noise) {
    if (prior instanceof Prior.Standard) {
      Value z = sample(s, head, noise, 1).getFirst();
      return new Trained(z, s.graph().apply(new GaussianKl(), List.of(head)).get(1));
    }
    Drawn drawn = draw(s, head, noise, 1);
    return new Trained(drawn.z(), drawn.ratio().mean(s.graph()));
  }

  private static List<Value> sample(Scope s, Value head, Noise noise, int samples) {
    return s.graph()
        .apply(
            new GaussianSample(noise.seed(), noise.first(), samples), List.of(head, noise.step()));
  }

  @Override
  public Drawn draw(Scope s, Value head, Noise noise, int samples) {
    Value z = sample(s, head, noise, samples).getFirst();
    Value posterior = s.apply(new GaussianMixture(1), z, head);
    return new Drawn(z, WeightedNats.of(posterior, 1).plus(WeightedNats.of(density(s, z), -1)));
  }

  /** log p(z), [M] f32. */
  private Value density(Scope s, Value z) {
    List<Value> in = new ArrayList<>(List.of(z, prior.moments(s, size)));
    Value logits = prior.logits(s);
    if (logits != null) {
      in.add(logits);
    }
    return s.graph().apply(new GaussianMixture(prior.components()), in).getFirst();
  }

  /** KL to N(0,1), whatever the prior: what of each latent differs from one that says nothing. */
  @Override
  public Value klByLatent(Scope s, Value head) {
    return s.graph().apply(new GaussianKl(), List.of(head)).get(1);
  }

  @Override
  public List<Value> prior(Scope s) {
    Value moments = prior.moments(s, size);
    Value logits = prior.logits(s);
    return logits == null ? List.of(moments) : List.of(moments, logits);
  }

  @Override
  public void draw(
      List<float[]> prior, Philox philox, int image, double temperature, float[] z, int at) {
    float[] moments = prior.getFirst();
    int component = component(prior, philox, image);
    for (int d = 0; d < size; d++) {
      double mean = moments[2 * component * size + d];
      double deviation = Math.exp(0.5 * moments[(2 * component + 1) * size + d]);
      double normal = philox.normal(Philox.Stream.LATENT, image, d);
      z[at + d] = (float) (mean + temperature * deviation * normal);
    }
  }

  private int component(List<float[]> prior, Philox philox, int image) {
    int components = this.prior.components();
    if (components == 1) {
      return 0;
    }
    double[] weights = new double[components];
    double total = 0;
    float[] logits = prior.size() > 1 ? prior.get(1) : new float[components];
    double most = Double.NEGATIVE_INFINITY;
    for (float logit : logits) {
      most = Math.max(most, logit);
    }
    for (int k = 0; k < components; k++) {
      weights[k] = Math.exp(logits[k] - most);
      total += weights[k];
    }
    // after the words that the normal numbers take
    double left = total * philox.uniform(Philox.Stream.LATENT, image, 2L * size);
    for (int k = 0; k < components - 1; k++) {
      left -= weights[k];
      if (left < 0) {
        return k;
      }
    }
    return components - 1;
  }
}
