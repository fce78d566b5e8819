package dev.gatun.models;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;

/**
 * A model of images by latents, whose likelihood is an integral: it can be bounded from below, and
 * estimated by importance sampling.
 *
 * @see "Burda et al. 2016, Importance Weighted Autoencoders, section 3"
 */
public interface BoundedModel extends Model {
  /** The most samples of an image that are of use; 1 where latents follow from the image. */
  int mostSamples();

  /** Throws {@link IllegalArgumentException} in one line if so many samples are not to be had. */
  default void requireSamples(int samples) {
    if (samples < 1) {
      throw new IllegalArgumentException("samples " + samples + ": must be positive");
    }
    if (samples > mostSamples()) {
      throw new IllegalArgumentException(
          "samples "
              + samples
              + ": "
              + name()
              + (mostSamples() == 1
                  ? " has one latent for an image; leave it out"
                  : " is given at most " + mostSamples() + " of an image"));
    }
  }

  /**
   * Samples of latents, with what makes them importance samples: the negative logarithms of their
   * weights, log q(z|x) - log p(x,z).
   *
   * @param input the images, outside training
   * @param step [1] f64, a whole number: others are drawn at another one
   * @param seed of what is drawn
   * @param samples of each image; several only of one image at a time
   */
  WeightedNats weighted(
      Graph graph, Weights weights, Input input, Value step, long seed, int samples);

  /** What nats of an image are divided by for people: 1, or what makes them bits a dimension. */
  default double natsOfUnit() {
    return objective() == Objective.BITS_PER_DIM ? imageShape().dimensions() * Math.log(2) : 1;
  }
}
