package dev.gatun.models.train;

import dev.gatun.engine.DType;

/**
 * How a model is trained.
 *
 * @param batch images a step
 * @param learningRate Adam's, after warm-up
 * @param warmupSteps steps over which the rate rises from 0
 * @param decay what the rate is multiplied by at each step
 * @param beta1 Adam's decay of the first moment
 * @param beta2 Adam's decay of the second moment
 * @param clipNorm the largest norm of the whole gradient; what is longer is scaled down
 * @param emaDecay decay of the averaged weights that are saved, scored and sampled from
 * @param flip whether every second image, by chance, is shown mirrored, left to right
 * @param dtype of activations; parameters are f32
 * @param seed of the initial weights and of the order of the images
 */
public record TrainConfig(
    int batch,
    double learningRate,
    int warmupSteps,
    double decay,
    double beta1,
    double beta2,
    double clipNorm,
    double emaDecay,
    boolean flip,
    DType dtype,
    long seed) {
  public TrainConfig {
    require(batch > 0, "batch must be positive, not " + batch);
    require(
        learningRate > 0 && learningRate < Double.POSITIVE_INFINITY,
        "learningRate must be positive and finite, not " + learningRate);
    require(warmupSteps >= 0, "warmupSteps must not be negative");
    require(decay > 0 && decay <= 1, "decay must be in (0,1]");
    require(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1, "beta1, beta2 must be in [0,1)");
    require(clipNorm > 0, "clipNorm must be positive");
    require(emaDecay >= 0 && emaDecay < 1, "emaDecay must be in [0,1)");
  }

  /** The same with activations of another dtype. */
  public TrainConfig withDType(DType other) {
    return new TrainConfig(
        batch,
        learningRate,
        warmupSteps,
        decay,
        beta1,
        beta2,
        clipNorm,
        emaDecay,
        flip,
        other,
        seed);
  }

  private static void require(boolean condition, String message) {
    if (!condition) {
      throw new IllegalArgumentException(message);
    }
  }
}
