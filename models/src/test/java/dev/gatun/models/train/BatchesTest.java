package dev.gatun.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import dev.gatun.engine.data.Dataset;
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
}
