package dev.gatun.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.op.DenoiseStep;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Samplers with a network that is never wrong: of points from two normal distributions the denoised
 * one is known, so the only error is the sampler's.
 */
class SamplerStepsTest {
  private static final double[] MEANS = {-0.6, 0.5};
  private static final double[] DEVIATIONS = {0.1, 0.2};
  private static final double[] WEIGHTS = {0.3, 0.7};

  private static Device device;

  @BeforeAll
  static void open() {
    device = WithDevice.open();
  }

  @AfterAll
  static void close() {
    device.close();
  }

  /** The mean of p, given x = alpha p + sigma e. */
  private static double denoised(double x, double alpha, double sigma) {
    double all = 0;
    double mean = 0;
    for (int i = 0; i < MEANS.length; i++) {
      double own = DEVIATIONS[i] * DEVIATIONS[i];
      double variance = alpha * alpha * own + sigma * sigma;
      double off = x - alpha * MEANS[i];
      double density = WEIGHTS[i] * Math.exp(-off * off / variance / 2) / Math.sqrt(variance);
      all += density;
      mean += density * (MEANS[i] + alpha * own / variance * off);
    }
    return mean / all;
  }

  /** What a network would be told and say. */
  private interface Network {
    double say(double input, double time);
  }

  /** Draws points; all arithmetic but the network's is the device's. */
  private static double[] draw(SamplerSteps sampler, Network network, int points, int seed) {
    return draw(sampler, network, new double[points], seed);
  }

  private static double[] draw(SamplerSteps sampler, Network network, double[] start, int seed) {
    int points = start.length;
    int rows = sampler.evaluations() + 1;
    try (Owned owned = new Owned()) {
      Tensor x = owned.add(Tensor.allocate(device, DType.F64, points, 1, 1, 1));
      Tensor previous = owned.add(Tensor.allocate(device, DType.F64, points, 1, 1, 1));
      Tensor said = owned.add(Tensor.allocate(device, DType.F32, points, 1, 1, 1));
      Tensor table = owned.add(Tensor.allocate(device, DType.F64, rows, DenoiseStep.COLUMNS));
      Tensor state = owned.add(Tensor.allocate(device, DType.I32, 4));
      Tensor shown = owned.add(Tensor.allocate(device, DType.F32, points, 1, 1, 1));
      Tensor times = owned.add(Tensor.allocate(device, DType.F32, points));
      table.writeDoubles(sampler.table());
      state.writeDoubles(new double[] {seed, 0, 0, 0});
      x.writeDoubles(start);
      List<Tensor> in = List.of(x, previous, said, table, state);
      DenoiseStep step = new DenoiseStep(DenoiseStep.Thresholding.NONE, 1, false);
      device.run(step, in, List.of(shown, times));
      for (int i = 1; i < rows; i++) {
        double[] inputs = shown.toDoubles();
        double time = times.toDoubles()[0];
        double[] answers = new double[points];
        for (int k = 0; k < points; k++) {
          answers[k] = network.say(inputs[k], time);
        }
        said.writeDoubles(answers);
        device.run(step, in, List.of(shown, times));
      }
      return x.toDoubles();
    }
  }

  private static Network discrete(NoiseSchedule schedule, Prediction prediction) {
    return (x, time) -> {
      double alpha = schedule.alpha((int) time);
      double sigma = schedule.sigma((int) time);
      double p = denoised(x, alpha, sigma);
      double e = (x - alpha * p) / sigma;
      return prediction.ofImage(alpha, sigma) * p + prediction.ofNoise(alpha, sigma) * e;
    };
  }

  private static Network edm(Preconditioning edm) {
    return (input, time) -> {
      double sigma = Math.exp(4 * time);
      double x = input / edm.ofInput(sigma);
      return (denoised(x, 1, sigma) - edm.skip(sigma) * x) / edm.output(sigma);
    };
  }

  private static double mean(double[] x) {
    double sum = 0;
    for (double v : x) {
      sum += v / x.length;
    }
    return sum;
  }

  private static double deviation(double[] x) {
    double mean = mean(x);
    double sum = 0;
    for (double v : x) {
      sum += (v - mean) * (v - mean) / x.length;
    }
    return Math.sqrt(sum);
  }

  /** The largest difference of the shares below a value. */
  private static double distance(double[] x) {
    double[] sorted = x.clone();
    Arrays.sort(sorted);
    double worst = 0;
    for (int i = 0; i < sorted.length; i++) {
      double share = 0;
      for (int k = 0; k < MEANS.length; k++) {
        share += WEIGHTS[k] * normalShare((sorted[i] - MEANS[k]) / DEVIATIONS[k]);
      }
      worst = Math.max(worst, Math.abs(share - (i + 0.5) / sorted.length));
    }
    return worst;
  }

  /** The share of a normal distribution below z: Abramowitz and Stegun 7.1.26. */
  private static double normalShare(double z) {
    double u = Math.abs(z) / Math.sqrt(2);
    double t = 1 / (1 + 0.3275911 * u);
    double erf =
        1
            - t
                * (0.254829592
                    + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
                * Math.exp(-u * u);
    return z < 0 ? (1 - erf) / 2 : (1 + erf) / 2;
  }

  @Test
  void eachSamplerDrawsTheDistribution() {
    NoiseSchedule schedule = NoiseSchedule.cosine(1000);
    Network noise = discrete(schedule, Prediction.NOISE);
    int points = 4000;
    // 1.63 / sqrt(n) is exceeded by one sample of n in a hundred
    double most = 1.63 / Math.sqrt(points);
    for (Function<Prediction, SamplerSteps> sampler :
        List.<Function<Prediction, SamplerSteps>>of(
            p -> SamplerSteps.ddpm(NoisePath.of(schedule, p, 500)),
            p -> SamplerSteps.ddim(NoisePath.of(schedule, p, 500), 1),
            p -> SamplerSteps.ddim(NoisePath.of(schedule, p, 500), 0.5),
            p -> SamplerSteps.ddim(NoisePath.of(schedule, p, 200), 0),
            p -> SamplerSteps.repaint(NoisePath.of(schedule, p, 250), 2),
            p -> SamplerSteps.heun(NoisePath.near(schedule, p, Preconditioning.EDM, 40)),
            p -> SamplerSteps.dpmSolver(NoisePath.of(schedule, p, 40)))) {
      double[] drawn = draw(sampler.apply(Prediction.NOISE), noise, points, 3);
      assertTrue(distance(drawn) < most, distance(drawn) + " of at most " + most);
    }
    Preconditioning edm = Preconditioning.EDM;
    for (SamplerSteps sampler :
        List.of(
            SamplerSteps.heun(edm.path(40)),
            SamplerSteps.heun(edm, 40, new SamplerSteps.Churn(20, 0.05, 50, 1)),
            SamplerSteps.ddim(edm.path(200), 0),
            SamplerSteps.ddim(edm.path(200), 1),
            SamplerSteps.ddpm(edm.path(200)),
            SamplerSteps.dpmSolver(edm.path(40)))) {
      double[] drawn = draw(sampler, edm(edm), points, 3);
      assertTrue(distance(drawn) < most, distance(drawn) + " of at most " + most);
    }
  }

  @Test
  void whatIsPredictedMakesNoDifference() {
    NoiseSchedule schedule = NoiseSchedule.linear(1000);
    double[] expected = null;
    for (Prediction p : Prediction.values()) {
      double[] drawn =
          draw(SamplerSteps.ddim(NoisePath.of(schedule, p, 50), 0), discrete(schedule, p), 100, 5);
      expected = expected == null ? drawn : expected;
      // the network speaks in f32, and early on its noise is divided by alpha
      assertArrayEquals(expected, drawn, 2e-3, p.label());
    }
  }

  /** By how much the error falls when the steps are halved in length. */
  private static double order(Function<Integer, double[]> draw, int steps) {
    double[] exact = draw.apply(16 * steps);
    return Math.log(error(draw.apply(steps), exact) / error(draw.apply(2 * steps), exact))
        / Math.log(2);
  }

  private static double error(double[] x, double[] exact) {
    double sum = 0;
    for (int i = 0; i < x.length; i++) {
      sum += (x[i] - exact[i]) * (x[i] - exact[i]);
    }
    return Math.sqrt(sum / x.length);
  }

  /** So many that a few near the edge between two modes do not decide. */
  private static final int DRAWS = 4000;

  @Test
  void theErrorFallsAtTheSamplersOrder() {
    NoiseSchedule schedule = NoiseSchedule.cosine(4000);
    Network noise = discrete(schedule, Prediction.IMAGE);
    double ddim =
        order(
            steps ->
                draw(
                    SamplerSteps.ddim(NoisePath.of(schedule, Prediction.IMAGE, steps), 0),
                    noise,
                    DRAWS,
                    7),
            40);
    double multistep =
        order(
            steps ->
                draw(
                    SamplerSteps.dpmSolver(NoisePath.of(schedule, Prediction.IMAGE, steps)),
                    noise,
                    DRAWS,
                    7),
            20);
    double heun =
        order(
            steps ->
                draw(
                    SamplerSteps.heun(Preconditioning.EDM.path(steps)),
                    edm(Preconditioning.EDM),
                    DRAWS,
                    7),
            20);
    System.out.printf("orders: ddim %.2f, dpm-solver++ %.2f, heun %.2f%n", ddim, multistep, heun);
    assertTrue(ddim > 0.8 && ddim < 1.4, "ddim " + ddim);
    assertTrue(multistep > 1.5, "dpm-solver++ " + multistep);
    assertTrue(heun > 1.6, "heun " + heun);
  }

  @Test
  void samplersWithoutNoiseRepeatThemselvesAndTheOthersFollowTheSeed() {
    NoiseSchedule schedule = NoiseSchedule.cosine(100);
    Network network = discrete(schedule, Prediction.VELOCITY);
    SamplerSteps ancestral = SamplerSteps.ddpm(NoisePath.of(schedule, Prediction.VELOCITY, 20));
    double[] first = draw(ancestral, network, 50, 1);
    assertArrayEquals(first, draw(ancestral, network, 50, 1));
    assertTrue(error(first, draw(ancestral, network, 50, 2)) > 0.1);
    // the image of a number is the same in any batch
    assertArrayEquals(Arrays.copyOf(first, 10), draw(ancestral, network, 10, 1));
    double[] heun =
        draw(SamplerSteps.heun(Preconditioning.EDM.path(10)), edm(Preconditioning.EDM), 50, 1);
    assertArrayEquals(
        heun,
        draw(SamplerSteps.heun(Preconditioning.EDM.path(10)), edm(Preconditioning.EDM), 50, 1));
  }

  /** The noise that an image is encoded to makes the image again, the better the more steps. */
  @Test
  void whatIsEncodedIsDecoded() {
    NoiseSchedule schedule = NoiseSchedule.cosine(4000);
    Network network = discrete(schedule, Prediction.VELOCITY);
    double[] images = {-0.7, -0.55, 0.1, 0.4, 0.62};
    double before = Double.POSITIVE_INFINITY;
    for (int steps : new int[] {50, 200, 800}) {
      NoisePath path = NoisePath.of(schedule, Prediction.VELOCITY, steps);
      double[] noise = draw(SamplerSteps.encode(path), network, images, 1);
      double[] again = draw(SamplerSteps.decode(path), network, noise, 2);
      double error = error(again, images);
      assertTrue(error < before / 2, steps + " steps: " + error + " after " + before);
      before = error;
    }
    assertTrue(before < 0.01, "" + before);
  }

  /** With no churn at all the sampler with churn is the one without. */
  @Test
  void withoutChurnHeunIsDeterministic() {
    Preconditioning edm = Preconditioning.EDM;
    double[] none = SamplerSteps.heun(edm, 18, SamplerSteps.Churn.NONE).table();
    assertArrayEquals(SamplerSteps.heun(edm.path(18)).table(), none, 1e-12);
    for (int row = 1; row < none.length / DenoiseStep.COLUMNS; row++) {
      assertEquals(0, none[row * DenoiseStep.COLUMNS + 5], "noise in row " + row);
    }
    double[] some = SamplerSteps.heun(edm, 18, new SamplerSteps.Churn(40, 0.05, 50, 1)).table();
    assertEquals(none.length, some.length);
    assertTrue(Arrays.stream(some).sum() != Arrays.stream(none).sum());
  }

  /** The trap: no noise at the last step. */
  @Test
  void theLastStepIsTheDenoisedImage() {
    NoiseSchedule schedule = NoiseSchedule.linear(1000);
    for (SamplerSteps sampler :
        List.of(
            SamplerSteps.ddpm(NoisePath.of(schedule, Prediction.IMAGE, 50)),
            SamplerSteps.ddim(NoisePath.of(schedule, Prediction.IMAGE, 50), 1),
            SamplerSteps.dpmSolver(NoisePath.of(schedule, Prediction.IMAGE, 50)),
            SamplerSteps.heun(Preconditioning.EDM.path(50)))) {
      double[] table = sampler.table();
      double[] last = Arrays.copyOfRange(table, table.length - DenoiseStep.COLUMNS, table.length);
      assertEquals(0, last[2], 1e-15, "x itself");
      assertEquals(1, last[3], 1e-15, "D");
      assertEquals(0, last[4], 1e-15, "P");
      assertEquals(0, last[5], "noise");
    }
  }

  /** The trap: DDIM's variance with eta 1 is the posterior's, also between steps left out. */
  @Test
  void ddimWithNoiseIsAncestralSampling() {
    for (NoiseSchedule schedule : List.of(NoiseSchedule.linear(1000), NoiseSchedule.cosine(1000))) {
      for (int steps : new int[] {1000, 50}) {
        double[] a = SamplerSteps.ddpm(NoisePath.of(schedule, Prediction.NOISE, steps)).table();
        double[] b = SamplerSteps.ddim(NoisePath.of(schedule, Prediction.NOISE, steps), 1).table();
        for (int i = 0; i < a.length; i++) {
          assertEquals(a[i], b[i], 1e-9 * (1 + Math.abs(a[i])), "number " + i);
        }
      }
    }
  }

  private static double[] row(SamplerSteps sampler, int row) {
    int n = DenoiseStep.COLUMNS;
    return Arrays.copyOfRange(sampler.table(), row * n, (row + 1) * n);
  }

  /** Equation 15, between the two steps' own alphas; the last step has no noise to learn. */
  @Test
  void aLearnedVarianceLiesBetweenThePosteriorsAndTheSteps() {
    NoiseSchedule schedule = NoiseSchedule.cosine(40);
    SamplerSteps sampler = SamplerSteps.learned(NoisePath.of(schedule, Prediction.NOISE, 4));
    assertEquals(4, sampler.evaluations());
    for (int i = 0; i < 3; i++) {
      double t = schedule.alphaBar(40 - 10 * i);
      double s = schedule.alphaBar(30 - 10 * i);
      double[] row = row(sampler, i + 1);
      assertEquals(1, row[5], "noise of the learned size");
      assertEquals(Math.log((1 - s) / (1 - t) * (1 - t / s)), row[8], 1e-9, "the posterior's");
      assertEquals(Math.log(1 - t / s), row[9], 1e-9, "the step's");
    }
    assertEquals(0, row(sampler, 4)[5]);
  }

  /** Algorithm 1: from x_t to x_s, back to x_t by fresh noise, and again. */
  @Test
  void repaintTakesEachStepSeveralTimes() {
    NoiseSchedule schedule = NoiseSchedule.cosine(40);
    NoisePath path = NoisePath.of(schedule, Prediction.NOISE, 5);
    SamplerSteps once = SamplerSteps.ddpm(path);
    SamplerSteps thrice = SamplerSteps.repaint(path, 3);
    assertEquals(5 * 3 - 2, thrice.evaluations(), "but the last, which ends without noise");
    for (int i = 0; i < 4; i++) {
      double t = schedule.alphaBar(40 - 8 * i);
      double s = schedule.alphaBar(32 - 8 * i);
      double k = Math.sqrt(t / s);
      double[] plain = row(once, i + 1);
      for (int again = 0; again < 2; again++) {
        double[] row = row(thrice, 3 * i + again + 1);
        assertEquals(k * plain[2], row[2], 1e-12, "x");
        assertEquals(k * plain[3], row[3], 1e-12, "D");
        assertEquals(k * k * plain[5] * plain[5] + 1 - t / s, row[5] * row[5], 1e-12, "noise");
        assertEquals(40 - 8 * i, row[7], 1e-12, "the network is asked at t again");
      }
      assertArrayEquals(plain, row(thrice, 3 * i + 3), 1e-12);
    }
  }

  /** Algorithm 2: gamma = min(S_churn / N, sqrt(2) - 1) in range; noise of S_noise. */
  @Test
  void churnAddsWhatSigmaGrowsBy() {
    Preconditioning edm = Preconditioning.EDM;
    NoisePath path = edm.path(18);
    for (double churn : new double[] {3, 40}) {
      double gamma = churn == 3 ? 3.0 / 18 : Math.sqrt(2) - 1;
      SamplerSteps some = SamplerSteps.heun(edm, 18, SamplerSteps.Churn.of(churn));
      int within = 0;
      for (int i = 0; i < 17; i++) {
        double sigma = path.levels().get(i + 1).sigma();
        boolean inRange = sigma >= 0.05 && sigma <= 50;
        within += inRange ? 1 : 0;
        double grown = inRange ? sigma * (1 + gamma) : sigma;
        double[] row = row(some, 2 * i + 2);
        double added = 1.003 * Math.sqrt(Math.max(0, grown * grown - sigma * sigma));
        assertEquals(added, row[5], 1e-9 * (1 + added), "noise after step " + i);
        assertEquals(edm.time(grown), row[7], 1e-9, "asked where sigma is larger");
      }
      assertTrue(within > 5 && within < 17, within + " sigmas in range");
    }
  }

  @Test
  void badStepsAreRefusedInOneLine() {
    NoiseSchedule schedule = NoiseSchedule.linear(10);
    assertEquals(
        "sampling in 11 steps: 1 to the 10 that the model has",
        assertThrows(
                IllegalArgumentException.class,
                () -> SamplerSteps.ddpm(NoisePath.of(schedule, Prediction.NOISE, 11)))
            .getMessage());
    assertThrows(
        IllegalArgumentException.class,
        () -> SamplerSteps.ddim(NoisePath.of(schedule, Prediction.NOISE, 5), 1.5));
    NoisePath path = NoisePath.of(schedule, Prediction.NOISE, 5);
    assertThrows(IllegalArgumentException.class, () -> SamplerSteps.repaint(path, 0));
    assertThrows(IllegalArgumentException.class, () -> new SamplerSteps.Churn(-1, 0, 1, 1));
    assertThrows(IllegalArgumentException.class, () -> NoiseSchedule.cosine(0));
    assertThrows(
        IllegalArgumentException.class, () -> SamplerSteps.heun(Preconditioning.EDM.path(0)));
  }
}
