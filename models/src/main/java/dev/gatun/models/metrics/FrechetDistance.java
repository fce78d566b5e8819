package dev.gatun.models.metrics;

import org.ejml.data.DMatrixRMaj;
import org.ejml.dense.row.CommonOps_DDRM;
import org.ejml.dense.row.factory.DecompositionFactory_DDRM;
import org.ejml.interfaces.decomposition.EigenDecomposition_F64;

/**
 * The squared Fréchet distance between two sets of features, each taken for a Gaussian:
 *
 * <p>||m1 - m2||^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), in f64, with unbiased covariances. The trace of
 * the root is that of (S1^(1/2) S2 S1^(1/2))^(1/2), which is symmetric: its eigenvalues are real.
 * An eigenvalue of 0 comes out as up to 2^-52 of the largest, whose root counts: where covariances
 * are singular the result is good to about d * 2^-26 of their norm.
 *
 * <p>Estimated from n images of each kind it is too large on average by about a constant over n, so
 * only distances at equal n can be compared.
 *
 * @see "Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule, section 3"
 * @see "Chong and Forsyth 2020, Effectively Unbiased FID and Inception Score, section 3"
 */
public final class FrechetDistance {
  private FrechetDistance() {}

  /**
   * A Gaussian.
   *
   * @param mean [d]
   * @param covariance [d,d], symmetric, row by row
   */
  public record Gaussian(double[] mean, double[] covariance) {
    public Gaussian {
      if (mean.length == 0 || covariance.length != mean.length * mean.length) {
        throw new IllegalArgumentException(
            "a covariance of "
                + covariance.length
                + " values for a mean of "
                + mean.length
                + " is not square");
      }
    }

    /**
     * Mean and unbiased covariance of features.
     *
     * @throws IllegalArgumentException if there are fewer than 2 images
     */
    public static Gaussian of(Features features) {
      int n = features.count();
      int d = features.size();
      if (n < 2) {
        throw new IllegalArgumentException("a covariance needs 2 images or more, not " + n);
      }
      float[] x = features.values();
      double[] mean = new double[d];
      for (int i = 0; i < n; i++) {
        for (int j = 0; j < d; j++) {
          mean[j] += x[i * d + j];
        }
      }
      for (int j = 0; j < d; j++) {
        mean[j] /= n;
      }
      double[][] rows = new double[d][d];
      double[] centred = new double[d];
      for (int i = 0; i < n; i++) {
        for (int j = 0; j < d; j++) {
          centred[j] = x[i * d + j] - mean[j];
        }
        for (int j = 0; j < d; j++) {
          addScaled(rows[j], centred[j] / (n - 1), centred);
        }
      }
      double[] covariance = new double[d * d];
      for (int j = 0; j < d; j++) {
        System.arraycopy(rows[j], 0, covariance, j * d, d);
      }
      return new Gaussian(mean, covariance);
    }

    private static void addScaled(double[] y, double scale, double[] x) {
      for (int j = 0; j < y.length; j++) {
        y[j] += scale * x[j];
      }
    }
  }

  /**
   * Between two sets; 0 for the same.
   *
   * @throws IllegalArgumentException if their sizes differ, or one has fewer than 2 images
   */
  public static double between(Features a, Features b) {
    Features.requireAlike(a, b);
    return between(Gaussian.of(a), Gaussian.of(b));
  }

  /** Between two Gaussians. */
  public static double between(Gaussian a, Gaussian b) {
    int d = a.mean.length;
    if (b.mean.length != d) {
      throw new IllegalArgumentException(
          "Gaussians of " + d + " and " + b.mean.length + " dimensions cannot be compared");
    }
    double means = 0;
    double traces = 0;
    for (int j = 0; j < d; j++) {
      double difference = a.mean[j] - b.mean[j];
      means += difference * difference;
      traces += a.covariance[j * d + j] + b.covariance[j * d + j];
    }
    DMatrixRMaj root = root(matrix(a.covariance, d));
    DMatrixRMaj product = new DMatrixRMaj(d, d);
    CommonOps_DDRM.mult(root, matrix(b.covariance, d), product);
    DMatrixRMaj middle = new DMatrixRMaj(d, d);
    CommonOps_DDRM.mult(product, root, middle);
    EigenDecomposition_F64<DMatrixRMaj> eigen = eigen(middle, false);
    double roots = 0;
    for (int i = 0; i < d; i++) {
      roots += Math.sqrt(Math.max(0, eigen.getEigenvalue(i).getReal()));
    }
    return Math.max(0, means + traces - 2 * roots); // below 0 is rounding
  }

  private static DMatrixRMaj matrix(double[] values, int d) {
    return new DMatrixRMaj(d, d, true, values);
  }

  /** V diag(sqrt(l)) V^T of a symmetric matrix; what rounding made of eigenvalues of 0 is 0. */
  private static DMatrixRMaj root(DMatrixRMaj symmetric) {
    int d = symmetric.numRows;
    EigenDecomposition_F64<DMatrixRMaj> eigen = eigen(symmetric, true);
    DMatrixRMaj half = new DMatrixRMaj(d, d); // V diag(l^(1/4)), so that half * half^T is the root
    for (int i = 0; i < d; i++) {
      double scale = Math.sqrt(Math.sqrt(Math.max(0, eigen.getEigenvalue(i).getReal())));
      DMatrixRMaj vector = eigen.getEigenVector(i);
      for (int j = 0; j < d; j++) {
        half.set(j, i, scale * vector.get(j));
      }
    }
    DMatrixRMaj root = new DMatrixRMaj(d, d);
    CommonOps_DDRM.multTransB(half, half, root);
    return root;
  }

  private static EigenDecomposition_F64<DMatrixRMaj> eigen(DMatrixRMaj matrix, boolean vectors) {
    int d = matrix.numRows;
    DMatrixRMaj symmetric = matrix.copy(); // products are symmetric up to rounding only
    for (int i = 0; i < d; i++) {
      for (int j = 0; j < i; j++) {
        double value = (matrix.get(i, j) + matrix.get(j, i)) / 2;
        symmetric.set(i, j, value);
        symmetric.set(j, i, value);
      }
    }
    EigenDecomposition_F64<DMatrixRMaj> eigen = DecompositionFactory_DDRM.eig(d, vectors, true);
    if (!eigen.decompose(symmetric)) {
      throw new ArithmeticException(
          "the eigenvalues of a covariance of "
              + d
              + " features do not converge: are they finite?");
    }
    return eigen;
  }
}
