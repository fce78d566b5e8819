package dev.gatun.models.vae;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.models.EncodingModel;

/** A model that makes a latent of an image, and an image of a latent. */
public interface CodingModel extends EncodingModel {
  /** How what is decoded is to be read. */
  Pixels pixels();

  /** D: numbers of a latent. */
  int latentSize();

  /**
   * The latents that stand for images.
   *
   * @param step [1] f64, of the noise where there is any
   * @return [N,1,1,D] f32
   */
  Value code(Graph graph, Weights weights, Input input, Value step);

  /**
   * What the decoder says.
   *
   * @param z [M,1,1,D] f32
   * @param type of activations
   * @return [M,H,W,P*C] f32, for {@link #pixels}
   */
  Value decode(Graph graph, Weights weights, Value z, DType type);
}
