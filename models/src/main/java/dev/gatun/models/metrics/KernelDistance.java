package dev.gatun.models.metrics;

import dev.gatun.engine.Philox;
import java.util.Arrays;
import java.util.stream.IntStream;

/**
 * The kernel distance (KID): the squared maximum mean discrepancy under the kernel (x.y/d + 1)^3,
 * estimated without bias, so that two samples of one distribution have 0 on average, at any size;
 * single estimates may be negative.
 *
 * <p>Both sets are shuffled and cut into as many blocks, of at most {@value #BLOCK} images each and
 * {@value #LEAST_BLOCKS} or more; no image is in two of them, so that the blocks' estimates are
 * independent and their standard error is that of the mean.
 *
 * @param mean of the blocks' estimates
 * @param standardError of the mean
 * @param blocks how many
 * @see "Binkowski et al. 2018, Demystifying MMD GANs, section 4"
 */
public record KernelDistance(double mean, double standardError, int blocks) {
  private static final int BLOCK = 1_000;
  private static final int LEAST_BLOCKS = 10;

  /**
   * Between two sets, which should be independent: with images in common it comes out too small.
   *
   * @throws IllegalArgumentException if their sizes differ, or one has fewer than 20 images
   */
  public static KernelDistance between(Features a, Features b) {
    Features.requireAlike(a, b);
    int least = Math.min(a.count(), b.count());
    int most = Math.max(a.count(), b.count());
    int blocks = Math.max(LEAST_BLOCKS, Math.ceilDiv(most, BLOCK));
    if (least < 2 * blocks) {
      throw new IllegalArgumentException(
          "the kernel distance of "
              + a.count()
              + " and "
              + b.count()
              + " images needs at least "
              + 2 * blocks
              + " of each: give more");
    }
    // in an order of its own each, and not in that of classes
    Philox philox = new Philox(0);
    int[] orderA = philox.permutation(a.count(), Philox.Stream.SHUFFLE, 0);
    int[] orderB = philox.permutation(b.count(), Philox.Stream.SHUFFLE, 1);
    double[] estimates =
        IntStream.range(0, blocks)
            .parallel()
            .mapToDouble(
                i -> squaredDiscrepancy(block(a, orderA, i, blocks), block(b, orderB, i, blocks)))
            .toArray();
    double mean = 0;
    for (double estimate : estimates) {
      mean += estimate / blocks;
    }
    double variance = 0;
    for (double estimate : estimates) {
      variance += (estimate - mean) * (estimate - mean) / (blocks - 1);
    }
    return new KernelDistance(mean, Math.sqrt(variance / blocks), blocks);
  }

  private static Features block(Features all, int[] order, int block, int blocks) {
    int from = (int) ((long) all.count() * block / blocks);
    int to = (int) ((long) all.count() * (block + 1) / blocks);
    return all.rows(Arrays.copyOfRange(order, from, to));
  }

  /** The unbiased estimate from two sets of 2 images or more. */
  static double squaredDiscrepancy(Features a, Features b) {
    double n = a.count();
    double m = b.count();
    return sum(a, a, true) / (n * (n - 1))
        + sum(b, b, true) / (m * (m - 1))
        - 2 * sum(a, b, false) / (n * m);
  }

  /** The kernel summed over all pairs, but for those of an image with itself where asked. */
  private static double sum(Features a, Features b, boolean withoutSelf) {
    int d = a.size();
    int m = b.count();
    double[][] columns = new double[d][m];
    for (int j = 0; j < m; j++) {
      for (int k = 0; k < d; k++) {
        columns[k][j] = b.values()[j * d + k];
      }
    }
    double[] products = new double[m];
    double sum = 0;
    for (int i = 0; i < a.count(); i++) {
      Arrays.fill(products, 0);
      for (int k = 0; k < d; k++) {
        addScaled(products, a.values()[i * d + k], columns[k]);
      }
      for (int j = 0; j < m; j++) {
        double base = products[j] / d + 1;
        sum += withoutSelf && i == j ? 0 : base * base * base;
      }
    }
    return sum;
  }

  private static void addScaled(double[] y, double scale, double[] x) {
    for (int j = 0; j < y.length; j++) {
      y[j] += scale * x[j];
    }
  }
}
