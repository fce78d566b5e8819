package dev.gatun.models;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import java.util.List;

/**
 * A model of images by latents, whose likelihood is an integral: it can be bounded from below, and
 * estimated by importance sampling.
 *
 * @see "Burda et al. 2016, Importance Weighted Autoencoders, section 3"
 */
public interface BoundedModel extends Model {
  /** The most samples of an image that are of use; 1 where latents follow from the image. */
  int mostSamples();

  /**
   * Samples of latents, with what makes them importance samples.
   *
   * @param input the images, outside training
   * @param step [1] f64, a whole number: others are drawn at another one
   * @param seed of what is drawn
   * @param samples of each image; several only of one image at a time
   */
  Weighted weighted(Graph graph, Weights weights, Input input, Value step, long seed, int samples);

  /**
   * Negative logarithms of importance weights, log q(z|x) - log p(x,z): the sum of some terms, each
   * with its factor, and of a constant.
   *
   * @param terms [S*N] f32 each, sample s of image n at s*N + n; nats
   */
  record Weighted(List<Value> terms, List<Double> factors, double constant) {}

  /** What nats of an image are divided by for people: 1, or what makes them bits a dimension. */
  default double natsOfUnit() {
    return objective() == Objective.BITS_PER_DIM ? imageShape().dimensions() * Math.log(2) : 1;
  }
}
