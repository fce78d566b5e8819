package dev.gatun.models.metrics;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.data.Dataset;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

@Tag("cpu")
class NearestImagesTest {
  private static final int SIZE = 12 * 12 * 3;

  private static Dataset random(int count, long seed) {
    byte[] pixels = new byte[count * SIZE];
    new Random(seed).nextBytes(pixels);
    return Dataset.of("random", 12, 12, 3, pixels, null, 0, List.of());
  }

  /** Copies, one of them off by 3 in a pixel and by 4 in another, are found among 600 images. */
  @Test
  void plantedCopiesAreFound() {
    Dataset training = random(600, 1);
    byte[] images = random(40, 2).images(IntStream.range(0, 40).toArray());
    int[] planted = {0, 255, 256, 599};
    for (int i = 0; i < planted.length; i++) {
      training.image(planted[i], images, 10 * i * SIZE);
    }
    images[30 * SIZE] = moved(images[30 * SIZE], 3);
    images[31 * SIZE - 1] = moved(images[31 * SIZE - 1], 4);
    NearestImages nearest = NearestImages.byPixels(images, 40, training, 3);
    for (int i = 0; i < planted.length; i++) {
      assertEquals(planted[i], nearest.index(10 * i, 0));
      assertEquals(i == 3 ? 5 : 0, nearest.distance(10 * i, 0));
      assertTrue(nearest.distance(10 * i, 1) > 1000);
    }
  }

  private static byte moved(byte pixel, int by) {
    int value = pixel & 0xFF;
    return (byte) (value < 128 ? value + by : value - by);
  }

  /** Indices and distances are those of a plain search in whole numbers, in its order. */
  @Test
  void theyAreThoseOfAPlainSearch() {
    Dataset all = random(333, 3);
    Dataset training = all.subset(IntStream.range(0, 300).toArray());
    int[] asked = IntStream.range(290, 333).toArray();
    int k = 5;
    NearestImages nearest = NearestImages.byPixels(all.images(asked), asked.length, training, k);
    for (int i = 0; i < asked.length; i++) {
      int image = asked[i];
      List<Integer> order =
          IntStream.range(0, 300)
              .boxed()
              .sorted(Comparator.comparing(j -> squared(all, image, j)))
              .toList();
      for (int rank = 0; rank < k; rank++) {
        assertEquals(order.get(rank), nearest.index(i, rank));
        assertEquals(Math.sqrt(squared(all, image, order.get(rank))), nearest.distance(i, rank));
      }
    }
  }

  private static long squared(Dataset data, int i, int j) {
    byte[] both = data.images(i, j);
    long sum = 0;
    for (int p = 0; p < SIZE; p++) {
      int difference = (both[p] & 0xFF) - (both[SIZE + p] & 0xFF);
      sum += difference * difference;
    }
    return sum;
  }

  /** All white against all black: no sum is too large to be exact. */
  @Test
  void theFarthestImages() {
    byte[] white = new byte[64 * 64 * 3];
    Arrays.fill(white, (byte) 255);
    Dataset black = Dataset.of("black", 64, 64, 3, new byte[white.length], null, 0, List.of());
    assertEquals(
        Math.sqrt(255.0 * 255 * white.length),
        NearestImages.byPixels(white, 1, black, 1).distance(0, 0));
  }

  @Test
  void byFeatures() {
    Features training = Sets.of(1, 5, 1, 3, 1);
    NearestImages nearest = NearestImages.byFeatures(Sets.of(1, 1.5), training, 3);
    // of equal ones the first
    assertEquals(
        List.of(1, 3, 2), IntStream.range(0, 3).map(r -> nearest.index(0, r)).boxed().toList());
    assertEquals(1.5, nearest.distance(0, 2));
    assertEquals(1, NearestImages.byFeatures(Sets.of(1, 1.5), training, 1).index(0, 0));
  }

  @Test
  void whatDoesNotFitIsRefused() {
    Dataset training = random(4, 1);
    IllegalArgumentException e =
        assertThrows(
            IllegalArgumentException.class,
            () -> NearestImages.byPixels(new byte[SIZE + 1], 1, training, 1));
    assertEquals("433 bytes are not 1 images of 432, the size of those of random", e.getMessage());
    e =
        assertThrows(
            IllegalArgumentException.class,
            () -> NearestImages.byPixels(new byte[SIZE], 1, training, 5));
    assertEquals("there are 4 training images: no 5 nearest", e.getMessage());
  }
}
