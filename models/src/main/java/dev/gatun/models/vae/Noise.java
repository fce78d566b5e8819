package dev.gatun.models.vae;

import dev.gatun.engine.Value;
import dev.gatun.models.Model;

/**
 * What random numbers are drawn by.
 *
 * @param step [1] f64, a whole number: others are drawn at another one
 * @param first number of the first image in its batch
 */
record Noise(Value step, long seed, int first) {
  static Noise of(Model.Training training) {
    return new Noise(training.step(), training.seed(), training.first());
  }
}
