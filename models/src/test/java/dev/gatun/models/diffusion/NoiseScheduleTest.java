package dev.gatun.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.op.Diffuse;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The forward process: its numbers, and what it makes of an image. */
class NoiseScheduleTest {
  @Test
  void linearIsThePapers() {
    NoiseSchedule s = NoiseSchedule.linear(1000);
    assertEquals(1, s.alphaBar(0));
    assertEquals(1 - 1e-4, s.alphaBar(1), 1e-15);
    assertEquals((1 - 1e-4) * (1 - 1e-4 - (0.02 - 1e-4) / 999), s.alphaBar(2), 1e-15);
    // as good as nothing: the prior's KL is below 1e-5 bits a dimension in the paper
    assertTrue(s.alphaBar(1000) < 4.1e-5 && s.alphaBar(1000) > 3.9e-5, "" + s.alphaBar(1000));
  }

  @Test
  void cosineIsThePapersAndItsBetasAreBounded() {
    NoiseSchedule s = NoiseSchedule.cosine(4000);
    double middle = Math.pow(Math.cos((0.5 + 0.008) / 1.008 * Math.PI / 2), 2);
    double start = Math.pow(Math.cos(0.008 / 1.008 * Math.PI / 2), 2);
    assertEquals(middle / start, s.alphaBar(2000), 1e-12);
    for (int t = 1; t <= 4000; t++) {
      double beta = 1 - s.alphaBar(t) / s.alphaBar(t - 1);
      assertTrue(beta > 0 && beta <= 0.999 + 1e-12, "beta " + beta + " at " + t);
    }
    assertEquals(0.999, 1 - s.alphaBar(4000) / s.alphaBar(3999), 1e-12);
  }

  @Test
  void noisyImagesHaveTheMeanAndVarianceOfTheProcess() {
    NoiseSchedule schedule = NoiseSchedule.cosine(1000);
    try (Device device = WithDevice.open();
        Tensor images = Tensor.allocate(device, DType.U8, 1, 64, 64, 3);
        Tensor coefficients = Tensor.allocate(device, DType.F32, 1, 4);
        Tensor step = Tensor.allocate(device, DType.F64, 1)) {
      byte[] grey = new byte[64 * 64 * 3];
      Arrays.fill(grey, (byte) 204); // 0.6 of -1 to 1
      images.write(grey);
      for (int t : new int[] {1, 300, 1000}) {
        double alpha = schedule.alpha(t);
        double sigma = schedule.sigma(t);
        Prediction p = Prediction.VELOCITY;
        coefficients.writeDoubles(
            new double[] {alpha, sigma, p.ofImage(alpha, sigma), p.ofNoise(alpha, sigma)});
        step.writeDoubles(new double[] {t});
        List<Tensor> out = device.apply(new Diffuse(11, 0, DType.F32), images, coefficients, step);
        double[] x = out.getFirst().toDoubles();
        double[] v = out.get(1).toDoubles();
        out.forEach(Tensor::close);
        double n = x.length;
        double mean = Arrays.stream(x).sum() / n;
        double variance = Arrays.stream(x).map(a -> (a - mean) * (a - mean)).sum() / n;
        // five standard errors
        assertEquals(0.6 * alpha, mean, 5 * sigma / Math.sqrt(n));
        assertEquals(sigma * sigma, variance, 5 * sigma * sigma * Math.sqrt(2 / n));
        // x and v are a rotation of image and noise: the image comes back from them
        for (int i = 0; i < x.length; i++) {
          assertEquals(0.6, alpha * x[i] - sigma * v[i], 1e-5);
        }
      }
    }
  }

  @Test
  void whatIsPredictedGivesTheImageBack() {
    NoiseSchedule schedule = NoiseSchedule.linear(1000);
    for (int t : new int[] {1, 17, 500, 1000}) {
      double alpha = schedule.alpha(t);
      double sigma = schedule.sigma(t);
      double image = 0.37;
      double noise = -1.2;
      double x = alpha * image + sigma * noise;
      for (Prediction p : Prediction.values()) {
        double target = p.ofImage(alpha, sigma) * image + p.ofNoise(alpha, sigma) * noise;
        double back = p.fromNoisy(alpha, sigma) * x + p.fromTarget(alpha, sigma) * target;
        assertEquals(image, back, 1e-12, p.label());
        // the squared error of the image is that of the target times pF^2: the weights agree
        double snr = alpha * alpha / (sigma * sigma);
        double ofImage = p.fromTarget(alpha, sigma) * p.fromTarget(alpha, sigma);
        assertEquals(
            Math.min(snr, 5) * ofImage,
            p.minSnrWeight(alpha, sigma, 5),
            1e-9 * Math.min(snr, 5),
            p.label());
      }
    }
  }
}
