package dev.gatun.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.gatun.engine.data.Dataset;
import dev.gatun.models.Condition;
import dev.gatun.models.Model;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;

class BatchesTest {
  private static final int COUNT = 10;
  private static final int SIZE = 3;

  /** Image k is all k, and has label k % 4. */
  private static Dataset data() {
    byte[] pixels = new byte[COUNT * 4];
    int[] labels = new int[COUNT];
    for (int n = 0; n < COUNT; n++) {
      Arrays.fill(pixels, 4 * n, 4 * n + 4, (byte) n);
      labels[n] = n % 4;
    }
    return Dataset.of("numbers", 2, 2, 1, pixels, labels, 4, List.of());
  }

  @Test
  void anEpochHasEachImageOnceWithItsLabel() {
    Batches batches = new Batches(data(), Batches.View.plain(SIZE, 4, 5));
    for (int epoch = 0; epoch < 3; epoch++) {
      int[] seen = new int[COUNT];
      for (int i = 0; i < COUNT / SIZE; i++) {
        Batches.Batch batch = batches.take(epoch * (COUNT / SIZE) + i);
        for (int n = 0; n < SIZE; n++) {
          int image = batch.images()[4 * n];
          seen[image]++;
          assertEquals(image, batch.images()[4 * n + 3]);
          assertEquals(image % 4, batch.labels()[n]);
        }
      }
      assertEquals(COUNT / SIZE * SIZE, Arrays.stream(seen).sum());
      assertEquals(1, Arrays.stream(seen).max().orElseThrow());
    }
  }

  /** Gathered ahead, asked for out of turn, or again: always the batch of that step. */
  @Test
  void aStepsBatchIsTheSameHoweverItIsComeBy() {
    Batches inTurn = new Batches(data(), Batches.View.plain(SIZE, 4, 7));
    byte[][] expected = new byte[9][];
    for (int step = 0; step < expected.length; step++) {
      expected[step] = inTurn.take(step).images();
    }
    assertFalse(Arrays.equals(expected[0], expected[3]), "each epoch has an order of its own");
    Batches jumping = new Batches(data(), Batches.View.plain(SIZE, 4, 7));
    for (int step : new int[] {0, 0, 1, 5, 6, 2, 8, 0, 7, 8, 3}) {
      assertArrayEquals(expected[step], jumping.take(step).images(), "step " + step);
    }
    byte[] first = inTurn.take(0).images();
    inTurn.take(1);
    assertArrayEquals(expected[0], first, "a batch is not written to while the next is gathered");
  }

  /** Image k has 4k at the left and 4k + 1 at the right, and label 0. */
  private static Dataset sided() {
    byte[] pixels = new byte[COUNT * 4];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) (i / 4 * 4 + i % 2);
    }
    return Dataset.of("sides", 2, 2, 1, pixels, new int[COUNT], 4, List.of());
  }

  /** Half of the images are mirrored, and a fifth has no label; both follow from the step. */
  @Test
  void imagesAreMirroredAndLabelsWithheldByChance() {
    Batches.View view = new Batches.View(SIZE, 3, 4, 0.2, true, Condition.NONE);
    Batches batches = new Batches(sided(), view);
    Batches again = new Batches(sided(), view);
    int mirrored = 0;
    int withheld = 0;
    int steps = 1000;
    for (int step = 0; step < steps; step++) {
      Batches.Batch batch = batches.take(step);
      for (int n = 0; n < SIZE; n++) {
        int left = batch.images()[4 * n];
        int right = batch.images()[4 * n + 1];
        assertEquals(left % 4 == 0 ? left + 1 : left - 1, right);
        assertEquals(left, batch.images()[4 * n + 2], "both rows");
        mirrored += left % 4;
        withheld += batch.labels()[n] == 4 ? 1 : 0;
      }
      if (step % 100 == 7) {
        Batches.Batch same = again.take(step);
        assertArrayEquals(batch.images(), same.images());
        assertArrayEquals(batch.labels(), same.labels());
      }
    }
    // four standard deviations
    double images = steps * SIZE;
    assertEquals(0.5, mirrored / images, 4 * Math.sqrt(0.25 / images));
    assertEquals(0.2, withheld / images, 4 * Math.sqrt(0.16 / images));
  }

  @Test
  void theConditionIsOfTheImageAsItIsShown() {
    Batches batches = new Batches(sided(), new Batches.View(SIZE, 3, 0, 0, true, Condition.HALF));
    for (int step = 0; step < 5; step++) {
      Batches.Batch batch = batches.take(step);
      assertArrayEquals(
          Condition.HALF.of(batch.images(), SIZE, new Model.ImageShape(2, 2, 1)),
          batch.condition());
      assertEquals(SIZE * 4, batch.condition().length);
    }
  }
}
