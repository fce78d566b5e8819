package dev.gatun.models.vae;

import dev.gatun.engine.Philox;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.CategoricalKl;
import dev.gatun.engine.op.CategoricalLogProbability;
import dev.gatun.engine.op.CategoricalSample;
import dev.gatun.engine.op.GumbelSoftmax;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.models.WeightedNats;
import java.util.Arrays;
import java.util.List;

/**
 * Latents that are one of K categories each, by a softmax that the encoder says; the prior has each
 * as likely as any other. They are relaxed for training, and drawn exactly for everything else.
 *
 * @param latents how many
 * @param categories K
 * @see "Jang et al. 2017, Categorical Reparameterization with Gumbel-Softmax, sections 2 and 4"
 */
record CategoricalLatents(int latents, int categories, GumbelSoftmax.Temperature temperature)
    implements Latents {
  CategoricalLatents {
    if (latents < 1 || categories < 2) {
      throw new IllegalArgumentException(
          "latents must be positive and categories 2 up, not " + latents + " and " + categories);
    }
  }

  @Override
  public int size() {
    return latents * categories;
  }

  @Override
  public int headSize() {
    return size();
  }

  @Override
  public int featureSize() {
    return size();
  }

  @Override
  public int count() {
    return latents;
  }

  @Override
  public List<ParameterSpec> parameters() {
    return List.of();
  }

  /** The logits. */
  @Override
  public Value features(Scope s, Value head) {
    return head;
  }

  @Override
  public Value code(Scope s, Value head, Noise noise) {
    return sample(s, head, noise, 1);
  }

  private Value sample(Scope s, Value head, Noise noise, int samples) {
    return s.apply(
        new CategoricalSample(categories, noise.seed(), noise.first(), samples),
        head,
        noise.step());
  }

  @Override
  public Trained train(Scope s, Value head, Noise noise) {
    GumbelSoftmax relaxed =
        new GumbelSoftmax(categories, noise.seed(), noise.first(), 1, temperature);
    return new Trained(
        s.apply(relaxed, head, noise.step()),
        s.graph().apply(new CategoricalKl(categories), List.of(head)).get(1));
  }

  @Override
  public Drawn draw(Scope s, Value head, Noise noise, int samples) {
    Value z = sample(s, head, noise, samples);
    Value posterior = s.apply(new CategoricalLogProbability(categories), z, head);
    double prior = latents * Math.log(categories); // -log p(z), of whatever z
    return new Drawn(z, new WeightedNats(List.of(posterior), List.of(1.0), prior));
  }

  @Override
  public Value klByLatent(Scope s, Value head) {
    return s.graph().apply(new CategoricalKl(categories), List.of(head)).get(1);
  }

  @Override
  public List<Value> prior(Scope scope) {
    return List.of();
  }

  /** One category of each latent, each as likely; the temperature changes nothing. */
  @Override
  public void draw(
      List<float[]> prior, Philox philox, int image, double temperature, float[] z, int at) {
    Arrays.fill(z, at, at + size(), 0);
    for (int l = 0; l < latents; l++) {
      z[at + l * categories + philox.below(categories, Philox.Stream.LATENT, image, l)] = 1;
    }
  }
}
