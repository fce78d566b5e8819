package dev.gatun.models.metrics;

import java.util.Random;

/** Sets of features to measure. */
final class Sets {
  private Sets() {}

  /** Independent standard normal features, scaled and shifted. */
  static Features normal(int count, int size, double mean, double deviation, long seed) {
    Random random = new Random(seed);
    float[] values = new float[count * size];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (mean + deviation * random.nextGaussian());
    }
    return new Features(count, size, values);
  }

  /** The rows of both. */
  static Features join(Features a, Features b) {
    float[] values = new float[a.values().length + b.values().length];
    System.arraycopy(a.values(), 0, values, 0, a.values().length);
    System.arraycopy(b.values(), 0, values, a.values().length, b.values().length);
    return new Features(a.count() + b.count(), a.size(), values);
  }

  static Features of(int size, double... values) {
    float[] narrow = new float[values.length];
    for (int i = 0; i < values.length; i++) {
      narrow[i] = (float) values[i];
    }
    return new Features(values.length / size, size, narrow);
  }
}
