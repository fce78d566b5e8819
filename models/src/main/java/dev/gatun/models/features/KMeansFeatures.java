package dev.gatun.models.features;

import dev.gatun.models.metrics.Features;
import java.util.List;
import java.util.stream.IntStream;
import org.hipparchus.clustering.CentroidCluster;
import org.hipparchus.clustering.DoublePoint;
import org.hipparchus.clustering.KMeansPlusPlusClusterer;
import org.hipparchus.random.Well19937c;

/**
 * How near data are to each of k centroids, which k-means finds. Feature j of x is max(0, m - z_j),
 * with z_j the distance to centroid j and m the mean of all k distances: about half of the features
 * are 0.
 *
 * @see "Coates, Lee and Ng 2011, An Analysis of Single-Layer Networks in Unsupervised Feature
 *     Learning, section 3.2.1"
 * @see "Arthur and Vassilvitskii 2007, k-means++: The Advantages of Careful Seeding"
 */
public final class KMeansFeatures {
  private static final int ITERATIONS = 10;

  private final int size;
  private final double[][] centroids; // (k, F)
  private final double[][] transposed; // (F, k)

  private KMeansFeatures(double[][] centroids) {
    this.centroids = centroids;
    size = centroids[0].length;
    transposed = new double[size][centroids.length];
    for (int k = 0; k < centroids.length; k++) {
      for (int i = 0; i < size; i++) {
        transposed[i][k] = centroids[k][i];
      }
    }
  }

  /**
   * Finds the centroids of data, in {@value #ITERATIONS} iterations at most.
   *
   * @param data [N,F]; time grows with N F k
   * @param seed of the first centroids, by k-means++
   * @throws IllegalArgumentException in one line unless there are 1 to N centroids
   */
  public static KMeansFeatures fit(Features data, int centroids, long seed) {
    if (centroids < 1 || centroids > data.count()) {
      throw new IllegalArgumentException(
          centroids + " centroids of " + data.count() + " images: ask for 1 to " + data.count());
    }
    List<DoublePoint> points =
        IntStream.range(0, data.count()).mapToObj(n -> new DoublePoint(row(data, n))).toList();
    List<CentroidCluster<DoublePoint>> clusters =
        new KMeansPlusPlusClusterer<DoublePoint>(
                centroids, ITERATIONS, KMeansFeatures::distance, new Well19937c(seed))
            .cluster(points);
    return new KMeansFeatures(
        clusters.stream()
            .map(cluster -> cluster.getCenter().getPoint().clone())
            .toArray(double[][]::new));
  }

  private static double[] row(Features data, int n) {
    int size = data.size();
    double[] row = new double[size];
    for (int i = 0; i < size; i++) {
      row[i] = data.values()[n * size + i];
    }
    return row;
  }

  /** In four sums: the processor need not wait for one addition to begin the next. */
  private static double distance(double[] a, double[] b) {
    double s0 = 0;
    double s1 = 0;
    double s2 = 0;
    double s3 = 0;
    int i = 0;
    for (; i + 4 <= a.length; i += 4) {
      double d0 = a[i] - b[i];
      double d1 = a[i + 1] - b[i + 1];
      double d2 = a[i + 2] - b[i + 2];
      double d3 = a[i + 3] - b[i + 3];
      s0 += d0 * d0;
      s1 += d1 * d1;
      s2 += d2 * d2;
      s3 += d3 * d3;
    }
    for (; i < a.length; i++) {
      s0 += (a[i] - b[i]) * (a[i] - b[i]);
    }
    return Math.sqrt(s0 + s1 + s2 + s3);
  }

  /** A centroid: [F]. */
  public double[] centroid(int k) {
    return centroids[k].clone();
  }

  /** Centroids, and features of an image. */
  public int count() {
    return centroids.length;
  }

  /**
   * The features of data.
   *
   * @param data [N,F]
   * @return [N,k]
   */
  public Features transform(Features data) {
    return Rows.map(data, size, centroids.length, this::triangle);
  }

  private void triangle(float[] x, double[] y) {
    for (int i = 0; i < x.length; i++) {
      double value = x[i];
      double[] row = transposed[i];
      for (int k = 0; k < y.length; k++) {
        double difference = value - row[k];
        y[k] += difference * difference;
      }
    }
    double mean = 0;
    for (int k = 0; k < y.length; k++) {
      y[k] = Math.sqrt(y[k]);
      mean += y[k] / y.length;
    }
    for (int k = 0; k < y.length; k++) {
      y[k] = Math.max(0, mean - y[k]);
    }
  }
}
