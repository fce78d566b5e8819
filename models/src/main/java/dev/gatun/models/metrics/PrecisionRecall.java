package dev.gatun.models.metrics;

import java.util.Arrays;

/**
 * Improved precision and recall. The images of a set stand for all that is no farther from one of
 * them than its k-th nearest neighbour in the set is. Precision is the share of generated images
 * among what the real ones stand for: are they good; recall the share of real images among what the
 * generated ones stand for: is nothing missing.
 *
 * <p>Both depend on how many images there are of each kind, and two real sets do not have 1 either.
 *
 * @see "Kynkäänniemi et al. 2019, Improved Precision and Recall Metric for Assessing Generative
 *     Models, algorithm 1"
 */
public record PrecisionRecall(double precision, double recall) {
  /** k of the paper. */
  public static final int NEIGHBOURS = 3;

  /**
   * Of generated images against real ones, by their {@value #NEIGHBOURS} nearest neighbours.
   *
   * @throws IllegalArgumentException if features differ in size, or a set has 3 images or fewer
   */
  public static PrecisionRecall of(Features real, Features generated) {
    return of(real, generated, NEIGHBOURS);
  }

  /** With another k. */
  public static PrecisionRecall of(Features real, Features generated, int neighbours) {
    Features.requireAlike(real, generated);
    int least = Math.min(real.count(), generated.count());
    if (neighbours < 1 || least <= neighbours) {
      throw new IllegalArgumentException(
          "precision and recall by the "
              + neighbours
              + " nearest neighbours need more images than that of each kind, not "
              + least);
    }
    return new PrecisionRecall(
        share(generated, real, squaredRadii(real, neighbours)),
        share(real, generated, squaredRadii(generated, neighbours)));
  }

  /** Each image's squared distance to its k-th nearest other image of the set. */
  private static double[] squaredRadii(Features set, int neighbours) {
    Nearest nearest = new Nearest(set.count(), neighbours);
    Distances.scan(
        set,
        set,
        (query, first, count, squared) -> {
          if (query >= first && query < first + count) {
            squared[query - first] = Double.POSITIVE_INFINITY; // itself
          }
          nearest.offer(query, first, count, squared);
        });
    double[] radii = new double[set.count()];
    Arrays.setAll(radii, i -> nearest.squared(i, neighbours - 1));
    return radii;
  }

  /** The share of {@code asked} that lies within the radius of some image of the set. */
  private static double share(Features asked, Features set, double[] squaredRadii) {
    boolean[] inside = new boolean[asked.count()];
    Distances.scan(
        asked,
        set,
        (query, first, count, squared) -> {
          for (int j = 0; j < count && !inside[query]; j++) {
            inside[query] = squared[j] <= squaredRadii[first + j];
          }
        });
    int found = 0;
    for (boolean one : inside) {
      found += one ? 1 : 0;
    }
    return (double) found / asked.count();
  }
}
