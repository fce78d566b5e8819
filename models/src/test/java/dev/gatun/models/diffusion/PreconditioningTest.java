package dev.gatun.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

/** What the paper's table is made for: variance 1 of what the network sees and is to say. */
class PreconditioningTest {
  @Test
  void inputAndTargetHaveVarianceOne() {
    for (double sigmaData : new double[] {0.5, 0.27}) {
      Preconditioning edm = new Preconditioning(sigmaData, 0.002, 80, 7);
      for (double sigma : new double[] {0.002, 0.1, sigmaData, 3, 80}) {
        double total = sigma * sigma + sigmaData * sigmaData;
        assertEquals(1, edm.ofInput(sigma) * edm.ofInput(sigma) * total, 1e-12);
        // the target is (p - skip x) / output, x = p + sigma e
        double skip = edm.skip(sigma);
        double variance =
            (1 - skip) * (1 - skip) * sigmaData * sigmaData + skip * skip * sigma * sigma;
        assertEquals(1, variance / (edm.output(sigma) * edm.output(sigma)), 1e-12);
      }
      assertEquals(0.5, edm.skip(sigmaData), 1e-15);
    }
    assertEquals(0.25 * Math.log(3), Preconditioning.EDM.time(3), 1e-15);
  }

  @Test
  void sigmasGoFromTheLargestToTheSmallestAndZero() {
    double[] sigmas =
        Preconditioning.EDM.path(18).levels().stream()
            .mapToDouble(NoisePath.Level::sigma)
            .toArray();
    assertEquals(19, sigmas.length);
    assertEquals(80, sigmas[0], 1e-12);
    assertEquals(0.002, sigmas[17], 1e-15);
    assertEquals(0, sigmas[18]);
    for (int i = 1; i < sigmas.length; i++) {
      assertTrue(sigmas[i] < sigmas[i - 1]);
    }
    // evenly in the seventh root
    double root = Math.pow(sigmas[0], 1.0 / 7) - Math.pow(sigmas[1], 1.0 / 7);
    assertEquals(root, Math.pow(sigmas[8], 1.0 / 7) - Math.pow(sigmas[9], 1.0 / 7), 1e-12);
  }
}
