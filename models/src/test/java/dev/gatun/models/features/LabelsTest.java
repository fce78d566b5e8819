package dev.gatun.models.features;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.data.Dataset;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class LabelsTest {
  private static final Dataset DATA = TinyEncoder.squares(90, 1);

  private static int[] counts(Dataset data, int[] images) {
    int[] counts = new int[data.classes()];
    for (int image : images) {
      counts[data.label(image)]++;
    }
    return counts;
  }

  private static Set<Integer> set(int[] images) {
    return new TreeSet<>(Arrays.stream(images).boxed().toList());
  }

  @Test
  void eachClassHasTheSameShare() {
    int[] images = Labels.balanced(DATA, 30, 0);
    assertEquals(30, set(images).size(), "none is there twice");
    assertArrayEquals(new int[] {10, 10, 10}, counts(DATA, images));
    assertArrayEquals(new int[] {11, 11, 10}, counts(DATA, Labels.balanced(DATA, 32, 0)));
    assertTrue(set(images).containsAll(set(Labels.balanced(DATA, 12, 0))), "more have the fewer");
    assertFalse(set(images).equals(set(Labels.balanced(DATA, 30, 1))), "another seed");
  }

  @Test
  void theOrderOfTheImagesDoesNotMatter() {
    List<String> chosen = new ArrayList<>();
    for (Dataset data :
        List.of(DATA, DATA.subset(IntStream.range(0, 90).map(i -> 89 - i).toArray()))) {
      Set<String> images = new TreeSet<>();
      for (int image : Labels.balanced(data, 30, 0)) {
        images.add(Arrays.toString(data.images(image)));
      }
      chosen.add(images.toString());
    }
    assertEquals(chosen.get(0), chosen.get(1));
  }

  @Test
  void whatCannotBeIsRefusedInOneLine() {
    Exception e = assertThrows(IllegalArgumentException.class, () -> Labels.balanced(DATA, 2, 0));
    assertEquals("2 labels are too few for the 3 classes of squares", e.getMessage());
    Dataset uneven = DATA.subset(new int[] {0, 1, 2, 3, 4, 6, 9});
    e = assertThrows(IllegalArgumentException.class, () -> Labels.balanced(uneven, 6, 0));
    assertEquals(
        "6 labels in equal shares need 2 images of class 2; squares has 1: ask for fewer, or for"
            + " all",
        e.getMessage());
    Dataset bare = Dataset.of("bare", 2, 2, 1, new byte[8], null, 0, List.of());
    e = assertThrows(IllegalArgumentException.class, () -> Labels.balanced(bare, 2, 0));
    assertEquals(
        "bare has no labels: use data with labels, or folders of images named after their classes",
        e.getMessage());
  }
}
