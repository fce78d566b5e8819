package dev.gatun.models.features;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.engine.WithDevice;
import dev.gatun.models.metrics.Features;
import java.util.Random;
import org.junit.jupiter.api.Test;

class LinearProbeTest extends WithDevice {
  private record Examples(Features features, int[] labels) {}

  /**
   * Points about the corners of a triangle, of widths that differ, and a third feature that says
   * nothing, since it is constant.
   */
  private static Examples triangle(int count, long seed) {
    Random random = new Random(seed);
    float[] values = new float[count * 3];
    int[] labels = new int[count];
    for (int n = 0; n < count; n++) {
      labels[n] = random.nextInt(3);
      values[3 * n] = 1000 * (labels[n] == 1 ? 1 : 0) + 300 * random.nextFloat();
      values[3 * n + 1] = 0.001f * (labels[n] == 2 ? 1 : 0) + 0.0003f * random.nextFloat();
      values[3 * n + 2] = 5;
    }
    return new Examples(new Features(count, 3, values), labels);
  }

  private static Examples noise(int count, int size, int classes, long seed) {
    Random random = new Random(seed);
    float[] values = new float[count * size];
    int[] labels = new int[count];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    for (int n = 0; n < count; n++) {
      labels[n] = random.nextInt(classes);
    }
    return new Examples(new Features(count, size, values), labels);
  }

  private LinearProbe fit(Examples examples, int classes, long seed) {
    return LinearProbe.fit(device, examples.features, examples.labels, classes, seed);
  }

  @Test
  void classesThatCanBeToldApartAre() {
    LinearProbe probe = fit(triangle(200, 1), 3, 0);
    Examples others = triangle(500, 2);
    assertEquals(1, probe.accuracy(others.features, others.labels));
  }

  /** Labels that have nothing to do with the features: those of other examples are guessed. */
  @Test
  void ofLabelsThatMeanNothingItKnowsNothing() {
    Examples examples = noise(100, 30, 4, 1);
    LinearProbe probe = fit(examples, 4, 0);
    assertEquals(1, probe.penalty(), "the largest: every weight is one too many");
    Examples others = noise(4_000, 30, 4, 2);
    double deviation = Math.sqrt(0.25 * 0.75 / 4_000); // of a binomial share
    assertEquals(0.25, probe.accuracy(others.features, others.labels), 5 * deviation);
  }

  /**
   * One feature of two values: the likeliest probabilities are the shares of the classes where it
   * has each, so that the cross-entropy is their conditional entropy.
   */
  @Test
  void theCrossEntropyIsTheLeastThereCanBe() {
    int[][] counts = {{300, 500, 200}, {100, 250, 650}}; // of each value, of each class
    float[] values = new float[2_000];
    int[] labels = new int[2_000];
    double entropy = 0;
    int n = 0;
    for (int value = 0; value < 2; value++) {
      for (int k = 0; k < 3; k++) {
        entropy -= counts[value][k] / 2_000.0 * Math.log(counts[value][k] / 1_000.0);
        for (int i = 0; i < counts[value][k]; i++) {
          values[n] = value;
          labels[n++] = k;
        }
      }
    }
    Examples examples = new Examples(new Features(2_000, 1, values), labels);
    LinearProbe probe = fit(examples, 3, 0);
    double nats = probe.crossEntropy(examples.features, examples.labels);
    // the penalty moves weights, of about 1, by about itself, and the nats by its square; the
    // iterations stop 1e-6 above the least
    double allowed = 1e-6 + probe.penalty() * probe.penalty();
    assertEquals(entropy, nats, allowed, "penalty " + probe.penalty());
  }

  @Test
  void theSeedDecides() {
    Examples examples = noise(60, 6, 3, 3);
    double once = fit(examples, 3, 1).crossEntropy(examples.features, examples.labels);
    double again = fit(examples, 3, 1).crossEntropy(examples.features, examples.labels);
    assertEquals(once, again);
  }

  @Test
  void tooFewExamplesAreRefusedInOneLine() {
    Examples examples = noise(4, 2, 2, 1);
    Exception e = assertThrows(IllegalArgumentException.class, () -> fit(examples, 2, 0));
    assertEquals(
        "a linear probe of 4 examples with 4 labels: give 5 or more, and as many labels",
        e.getMessage());
  }
}
