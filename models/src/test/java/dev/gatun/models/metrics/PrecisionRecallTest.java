package dev.gatun.models.metrics;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@Tag("cpu")
class PrecisionRecallTest {
  @Test
  void identicalSets() {
    Features set = Sets.normal(300, 5, 0, 1, 1);
    assertEquals(new PrecisionRecall(1, 1), PrecisionRecall.of(set, set));
  }

  @Test
  void setsFarApart() {
    assertEquals(
        new PrecisionRecall(0, 0),
        PrecisionRecall.of(Sets.normal(300, 5, 0, 1, 1), Sets.normal(280, 5, 100, 1, 2)));
  }

  /** Two modes far apart, of which the generated images have one: 70 of 100 real ones. */
  @Test
  void aDroppedMode() {
    Features kept = Sets.normal(350, 2, 0, 1, 1);
    Features dropped = Sets.normal(150, 2, 1000, 1, 2);
    int[] rows = new int[300];
    Arrays.setAll(rows, i -> i);
    Features generated = kept.rows(rows); // of the mode that is kept, and real: all good
    PrecisionRecall found = PrecisionRecall.of(Sets.join(kept, dropped), generated);
    assertEquals(1, found.precision());
    // the 300 are found, of the 50 others near those most
    assertTrue(found.recall() >= 300 / 500.0 && found.recall() <= 350 / 500.0, found.toString());
    PrecisionRecall other = PrecisionRecall.of(generated, Sets.join(kept, dropped));
    assertEquals(1, other.recall());
    assertEquals(found.recall(), other.precision());
  }

  /** Real 0 1 3 7 on a line, generated 2 8.5 20 23; k = 1: radii 1 1 2 4 and 6.5 6.5 3 3. */
  @Test
  void aCaseByHand() {
    Features real = Sets.of(1, 0, 1, 3, 7);
    Features generated = Sets.of(1, 2, 8.5, 20, 23);
    // 2 is within 1 of 1, 8.5 within 4 of 7, the others within nothing
    // 0 1 3 7 are within 6.5 of 2
    assertEquals(new PrecisionRecall(0.5, 1), PrecisionRecall.of(real, generated, 1));
    // on the edge is inside: 11 is 4 from 7
    assertEquals(0.75, PrecisionRecall.of(real, Sets.of(1, 2, 8.5, 11, 23), 1).precision());
  }

  @Test
  void itIsTheShareThatAPlainSearchFinds() {
    Features real = Sets.normal(700, 37, 0, 1, 3);
    Features generated = Sets.normal(530, 37, 0.15, 0.9, 4);
    PrecisionRecall found = PrecisionRecall.of(real, generated);
    assertEquals(share(generated, real), found.precision());
    assertEquals(share(real, generated), found.recall());
    assertTrue(found.precision() > 0.05 && found.recall() > 0.05, found.toString());
    assertTrue(found.precision() < 0.99 && found.recall() < 0.99, found.toString());
  }

  private static double share(Features asked, Features set) {
    double[] radii = new double[set.count()];
    for (int i = 0; i < radii.length; i++) {
      double[] all = new double[set.count()];
      for (int j = 0; j < all.length; j++) {
        all[j] = squared(set, i, set, j);
      }
      Arrays.sort(all); // the image itself first
      radii[i] = all[PrecisionRecall.NEIGHBOURS];
    }
    int inside = 0;
    for (int i = 0; i < asked.count(); i++) {
      boolean found = false;
      for (int j = 0; j < radii.length; j++) {
        found |= squared(asked, i, set, j) <= radii[j];
      }
      inside += found ? 1 : 0;
    }
    return (double) inside / asked.count();
  }

  private static double squared(Features a, int i, Features b, int j) {
    double sum = 0;
    for (int k = 0; k < a.size(); k++) {
      double difference = (double) a.values()[i * a.size() + k] - b.values()[j * b.size() + k];
      sum += difference * difference;
    }
    return sum;
  }

  @Test
  void fewImagesAreRefused() {
    Features few = Sets.normal(3, 2, 0, 1, 1);
    Features more = Sets.normal(4, 2, 0, 1, 1);
    assertThrows(IllegalArgumentException.class, () -> PrecisionRecall.of(more, few));
    assertEquals(new PrecisionRecall(1, 1), PrecisionRecall.of(more, more));
  }
}
