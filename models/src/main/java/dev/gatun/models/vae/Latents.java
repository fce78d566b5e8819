package dev.gatun.models.vae;

import dev.gatun.engine.Philox;
import dev.gatun.engine.Value;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.models.WeightedNats;
import java.util.List;

/**
 * What lies between the encoder and the decoder: how latents are distributed, given an image and
 * without one.
 *
 * <p>Letters: N images, S samples of each, M = S*N, sample s of image n at row s*N + n; D numbers
 * of a latent.
 */
interface Latents {
  /** D: what the decoder takes. */
  int size();

  /** What the encoder gives for an image. */
  int headSize();

  /** Numbers of {@link #features}. */
  int featureSize();

  /** Latents that people look at one by one: D, or fewer where several numbers make one. */
  default int count() {
    return size();
  }

  /** Apart from the encoder's and the decoder's. */
  List<ParameterSpec> parameters();

  /**
   * What the encoder says of images, without noise.
   *
   * @param head [N,1,1,headSize] f32
   * @return [N,1,1,featureSize] f32
   */
  Value features(Scope scope, Value head);

  /**
   * The latent that stands for an image: what is decoded for a reconstruction. Noise is drawn only
   * where there is no mean.
   *
   * @param head [N,1,1,headSize] f32
   * @return [N,1,1,D] f32
   */
  Value code(Scope scope, Value head, Noise noise);

  /**
   * Latents drawn for training: differentiable, and one for each image.
   *
   * @param head [N,1,1,headSize] f32
   */
  Trained train(Scope scope, Value head, Noise noise);

  /**
   * For training.
   *
   * @param z [N,1,1,D] f32
   * @param kl [E] f32, nats of each latent, or of all of them, in the mean over the images
   */
  record Trained(Value z, Value kl) {}

  /** Latents with the densities that make them importance samples. */
  Drawn draw(Scope scope, Value head, Noise noise, int samples);

  /**
   * Latents z that were drawn.
   *
   * @param z [M,1,1,D] f32
   * @param ratio log q(z|x) - log p(z), of terms [M] f32
   */
  record Drawn(Value z, WeightedNats ratio) {}

  /**
   * KL of each latent, for people to see which are used; an estimate where there is no closed form.
   *
   * @param head [N,1,1,headSize] f32
   * @return [count] f32, nats, the mean over the images
   */
  Value klByLatent(Scope scope, Value head);

  /** What {@link #draw(List, Philox, int, double, float[], int)} has to know, computed once. */
  List<Value> prior(Scope scope);

  /**
   * Draws a latent without an image.
   *
   * @param prior the values of {@link #prior}
   * @param image its number: the draw follows from it and the generator's seed
   * @param temperature of the prior
   * @param z written from {@code at} on, D numbers
   */
  void draw(List<float[]> prior, Philox philox, int image, double temperature, float[] z, int at);
}
