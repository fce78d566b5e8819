package dev.gatun.models.metrics;

import dev.gatun.engine.Philox;
import java.util.Arrays;

/**
 * What a network says of each image of a set: [n,d] f32, row by row.
 *
 * @param count n
 * @param size d
 * @param values n * d, all finite; not copied
 */
public record Features(int count, int size, float[] values) implements Rows {
  public Features {
    if (count < 0 || size < 1 || values.length != (long) count * size) {
      throw new IllegalArgumentException(
          values.length + " values are not features [" + count + "," + size + "]");
    }
    for (int i = 0; i < values.length; i++) {
      if (!Float.isFinite(values[i])) {
        throw new IllegalArgumentException(
            "feature " + i % size + " of image " + i / size + " is " + values[i]);
      }
    }
  }

  @Override
  public void copy(int row, float[] to, int at) {
    System.arraycopy(values, row * size, to, at, size);
  }

  /** Some rows, in the order of {@code indices}. */
  public Features rows(int... indices) {
    float[] chosen = new float[indices.length * size];
    for (int i = 0; i < indices.length; i++) {
      copy(indices[i], chosen, i * size);
    }
    return new Features(indices.length, size, chosen);
  }

  /** {@code wanted} rows drawn without replacement, in random order; the same for the same seed. */
  Features draw(int wanted, long seed) {
    int[] order = new Philox(seed).permutation(count, Philox.Stream.SHUFFLE, 0);
    return rows(Arrays.copyOf(order, wanted));
  }

  /** Throws {@link IllegalArgumentException} if two sets have features of different sizes. */
  static void requireAlike(Features a, Features b) {
    if (a.size != b.size) {
      throw new IllegalArgumentException(
          "features of "
              + a.size
              + " and of "
              + b.size
              + " dimensions cannot be compared: use the same classifier for both");
    }
  }

  @Override
  public String toString() {
    return "features [" + count + "," + size + "] f32";
  }
}
