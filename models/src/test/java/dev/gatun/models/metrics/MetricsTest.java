package dev.gatun.models.metrics;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@Tag("cpu")
class MetricsTest {
  private static final String HASH = "0123456789ab";
  private final Features real = Sets.normal(1_001, 8, 0, 1, 1);

  /** As good as real: each figure is about its floor. */
  @Test
  void imagesOfTheSameKind() {
    Metrics m = Metrics.ofHalves(real, Sets.normal(700, 8, 0, 1, 2), HASH);
    assertEquals(500, m.images());
    // 8 + 36 parameters, each off by about 1/n in both sets
    assertEquals(m.classifierFdFloor(), m.classifierFd(), m.classifierFdFloor());
    assertTrue(m.classifierFdFloor() > 0 && m.classifierFdFloor() < 0.2, m.toString());
    KernelDistance kid = m.kernelDistance();
    assertTrue(Math.abs(kid.mean()) < 4 * kid.standardError(), m.toString());
    KernelDistance floor = m.kernelDistanceFloor();
    assertTrue(Math.abs(floor.mean()) < 4 * floor.standardError(), m.toString());
    assertEquals(m.precisionRecallOfReal().precision(), m.precisionRecall().precision(), 0.1);
    assertEquals(m.precisionRecallOfReal().recall(), m.precisionRecall().recall(), 0.1);
    assertTrue(m.toString().endsWith("500 images of each kind, classifier " + HASH));
  }

  @Test
  void imagesOfAnotherKind() {
    Metrics m = Metrics.ofHalves(real, Sets.normal(300, 8, 1, 0.5, 2), HASH);
    assertEquals(300, m.images());
    double expected = 8 * 1 + 8 * 0.25; // of the distributions
    assertEquals(expected, m.classifierFd(), 1);
    assertTrue(m.classifierFdFloor() < 0.3, m.toString());
    assertTrue(m.kernelDistance().mean() > 10 * m.kernelDistance().standardError(), m.toString());
    assertTrue(m.precisionRecall().recall() < m.precisionRecallOfReal().recall(), m.toString());
  }

  /** Figure and floor are swapped where the sets are, and nothing else changes. */
  @Test
  void theFloorIsTheSameFigure() {
    Features a = Sets.normal(200, 4, 0, 1, 1);
    Features b = Sets.normal(200, 4, 0, 1, 2);
    Features c = Sets.normal(200, 4, 1, 1, 3);
    Metrics one = Metrics.of(a, b, c, HASH);
    Metrics two = Metrics.of(a, c, b, HASH);
    assertEquals(one.classifierFd(), two.classifierFdFloor());
    assertEquals(one.classifierFdFloor(), two.classifierFd());
    assertEquals(one.kernelDistance(), two.kernelDistanceFloor());
    assertEquals(one.precisionRecall(), two.precisionRecallOfReal());
  }

  /** Real images in the order of their classes: the halves have both. */
  @Test
  void halvesAreDrawnAtRandom() {
    Features sorted = Sets.join(Sets.normal(300, 4, -3, 1, 1), Sets.normal(300, 4, 3, 1, 2));
    Metrics m = Metrics.ofHalves(sorted, Sets.normal(300, 4, 0, 1, 3), HASH);
    assertTrue(m.classifierFdFloor() < 2, m.toString()); // halves by order: 4 * 6 * 6
  }

  @Test
  void fewImagesAreRefusedInOneLine() {
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class,
            () -> Metrics.ofHalves(real, Sets.normal(8, 8, 0, 1, 2), HASH));
    assertEquals(
        "figures on 8 features need more images than that of each kind: there are 8 generated ones"
            + " and 500 real ones in each half",
        e.getMessage());
  }
}
