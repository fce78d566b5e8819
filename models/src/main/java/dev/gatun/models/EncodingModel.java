package dev.gatun.models;

import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.engine.train.ParameterSpec;
import java.util.List;

/** A model with an encoder: what it makes of an image serves other tasks, too. */
public interface EncodingModel extends Model {
  /**
   * The model as one that has an encoder.
   *
   * @throws IllegalArgumentException in one line if it has none
   */
  static EncodingModel of(Model model) {
    if (model instanceof EncodingModel encoding) {
      return encoding;
    }
    throw new IllegalArgumentException(
        model.name() + " has no encoder: features are those of an autoencoder or a VAE");
  }

  /** How many features an image has: F. */
  int features();

  /** Those of {@link #parameters} that the encoder reads. */
  List<ParameterSpec> encoderParameters();

  /**
   * The features of images, without noise: where there is a posterior, its mean.
   *
   * @param input whose labels are not looked at
   * @return [N,F] f32
   */
  Value encode(Graph graph, Weights weights, Input input);
}
