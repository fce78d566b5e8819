package dev.gatun.models.vae;

import dev.gatun.models.NormalQuantile;
import java.util.Arrays;
import java.util.stream.IntStream;

/** Latents to decode for people to look at, row by row. */
public final class LatentTour {
  /** How many standard deviations of the prior a traversal goes to either side. */
  private static final double REACH = 3;

  private LatentTour() {}

  /**
   * Two latents at the quantiles of the prior N(0,1), the centres of equal shares: the first grows
   * from left to right, the second from the bottom up.
   *
   * @param side points along each
   * @return [side*side,2]
   * @see "Kingma and Welling 2014, Auto-Encoding Variational Bayes, figure 4"
   */
  public static float[] manifold(int side) {
    float[] z = new float[2 * side * side];
    for (int row = 0; row < side; row++) {
      for (int column = 0; column < side; column++) {
        int at = 2 * (row * side + column);
        z[at] = (float) NormalQuantile.of((column + 0.5) / side);
        z[at + 1] = (float) NormalQuantile.of((side - row - 0.5) / side);
      }
    }
    return z;
  }

  /**
   * A row for each latent, which goes from -3 to 3 while the others stay as they are.
   *
   * @param from [D], where they stay
   * @param latents which, one a row
   * @param columns two or more
   * @return [latents*columns,D]
   */
  public static float[] traversal(float[] from, int[] latents, int columns) {
    float[] z = new float[latents.length * columns * from.length];
    for (int row = 0; row < latents.length; row++) {
      for (int column = 0; column < columns; column++) {
        int at = (row * columns + column) * from.length;
        System.arraycopy(from, 0, z, at, from.length);
        z[at + latents[row]] = (float) (REACH * (2.0 * column / (columns - 1) - 1));
      }
    }
    return z;
  }

  /** The latents that say most, the first of them first; of equals the lower number. */
  public static int[] byKl(double[] kl, int most) {
    return IntStream.range(0, kl.length)
        .boxed()
        .sorted((a, b) -> Double.compare(kl[b], kl[a]))
        .limit(most)
        .mapToInt(Integer::intValue)
        .toArray();
  }

  /**
   * A row for each pair, from the one to the other in equal steps.
   *
   * @param ends [2*pairs,D], the two of a pair one after the other
   * @param size D
   * @param columns two or more, both ends among them
   * @return [pairs*columns,D]
   */
  public static float[] interpolation(float[] ends, int size, int columns) {
    int pairs = ends.length / (2 * size);
    float[] z = new float[pairs * columns * size];
    for (int p = 0; p < pairs; p++) {
      float[] a = Arrays.copyOfRange(ends, 2 * p * size, (2 * p + 1) * size);
      float[] b = Arrays.copyOfRange(ends, (2 * p + 1) * size, (2 * p + 2) * size);
      for (int column = 0; column < columns; column++) {
        float share = (float) column / (columns - 1);
        for (int d = 0; d < size; d++) {
          z[(p * columns + column) * size + d] = (1 - share) * a[d] + share * b[d];
        }
      }
    }
    return z;
  }
}
