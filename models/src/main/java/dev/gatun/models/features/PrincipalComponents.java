package dev.gatun.models.features;

import dev.gatun.models.metrics.Features;
import dev.gatun.models.metrics.FrechetDistance.Gaussian;
import java.util.Comparator;
import java.util.stream.IntStream;
import org.ejml.data.DMatrixRMaj;
import org.ejml.dense.row.factory.DecompositionFactory_DDRM;
import org.ejml.interfaces.decomposition.EigenDecomposition_F64;

/**
 * The directions in which data vary most: eigenvectors of their covariance, in f64. A direction's
 * sign is arbitrary.
 *
 * @see "Jolliffe 2002, Principal Component Analysis, section 1.1"
 */
public final class PrincipalComponents {
  private final double[] mean;
  private final double[] variances; // D
  private final double[][] loadings; // (F, D): a row for each of the data's dimensions

  private PrincipalComponents(double[] mean, double[] variances, double[][] loadings) {
    this.mean = mean;
    this.variances = variances;
    this.loadings = loadings;
  }

  /**
   * The first components of data.
   *
   * @param data [N,F]; time grows with N F^2 and F^3
   * @param components D, at most F
   * @throws IllegalArgumentException in one line if there are fewer than 2 rows, or D is not 1 to F
   */
  public static PrincipalComponents fit(Features data, int components) {
    int size = data.size();
    if (components < 1 || components > size) {
      throw new IllegalArgumentException(
          components + " principal components of " + size + " dimensions: ask for 1 to " + size);
    }
    Gaussian gaussian = Gaussian.of(data);
    EigenDecomposition_F64<DMatrixRMaj> eigen = DecompositionFactory_DDRM.eig(size, true, true);
    if (!eigen.decompose(new DMatrixRMaj(size, size, true, gaussian.covariance()))) {
      throw new ArithmeticException(
          "the eigenvalues of a covariance of " + size + " dimensions do not converge");
    }
    int[] largest =
        IntStream.range(0, size)
            .boxed()
            .sorted(Comparator.comparingDouble(i -> -eigen.getEigenvalue(i).getReal()))
            .limit(components)
            .mapToInt(i -> i)
            .toArray();
    double[] variances = new double[components];
    double[][] loadings = new double[size][components];
    for (int d = 0; d < components; d++) {
      variances[d] = Math.max(0, eigen.getEigenvalue(largest[d]).getReal()); // below is rounding
      DMatrixRMaj vector = eigen.getEigenVector(largest[d]);
      for (int i = 0; i < size; i++) {
        loadings[i][d] = vector.get(i);
      }
    }
    return new PrincipalComponents(gaussian.mean(), variances, loadings);
  }

  /** The variance along each component, the largest first: [D], unbiased. */
  public double[] variances() {
    return variances.clone();
  }

  /** A component: a unit vector [F]. */
  public double[] component(int d) {
    return IntStream.range(0, mean.length).mapToDouble(i -> loadings[i][d]).toArray();
  }

  /**
   * The place of data along the components, from the mean of the data these were fitted to.
   *
   * @param data [N,F]
   * @return [N,D]
   */
  public Features transform(Features data) {
    return Rows.map(
        data,
        mean.length,
        variances.length,
        (x, y) -> {
          for (int i = 0; i < x.length; i++) {
            double centred = x[i] - mean[i];
            double[] row = loadings[i];
            for (int d = 0; d < y.length; d++) {
              y[d] += centred * row[d];
            }
          }
        });
  }
}
