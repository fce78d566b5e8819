package dev.gatun.models;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import dev.gatun.models.Model.ImageShape;
import org.junit.jupiter.api.Test;

class ConditionTest {
  private static final ImageShape GREY = new ImageShape(4, 4, 1);
  private static final ImageShape RGB = new ImageShape(2, 2, 3);

  @Test
  void smallerImagesAreMeansOfSquares() {
    byte[] images = new byte[2 * 16];
    for (int i = 0; i < 16; i++) {
      images[i] = (byte) (16 * i);
      images[16 + i] = (byte) 255;
    }
    byte[] half = {40, 72, (byte) 168, (byte) 200, -1, -1, -1, -1};
    assertArrayEquals(half, Condition.HALF.shrink(images, 2, GREY));
    byte[] shown = Condition.HALF.of(images, 2, GREY);
    for (int i = 0; i < 32; i++) {
      assertEquals(half[i / 16 * 4 + i % 16 / 8 * 2 + i % 4 / 2], shown[i], "pixel " + i);
    }
    byte[] quarter = {120, -1};
    assertArrayEquals(quarter, Condition.QUARTER.shrink(images, 2, GREY));
  }

  @Test
  void coloursStayApartWhenImagesShrink() {
    byte[] image = {0, 10, 100, 0, 10, 100, 4, 30, 100, 4, 30, 104};
    assertArrayEquals(new byte[] {2, 20, 101}, Condition.HALF.shrink(image, 1, RGB));
  }

  @Test
  void greyIsLuma() {
    byte[] image = {-1, 0, 0, 0, -1, 0, 0, 0, -1, 10, 10, 10};
    assertArrayEquals(new byte[] {76, (byte) 150, 29, 10}, Condition.GREY.of(image, 1, RGB));
  }

  @Test
  void imagesThatCannotBeShownSoAreRefusedInOneLine() {
    assertEquals(
        "condition grey: the images are grey already; leave it out, or train on coloured ones",
        assertThrows(IllegalArgumentException.class, () -> Condition.GREY.requireFits(GREY))
            .getMessage());
    assertThrows(
        IllegalArgumentException.class,
        () -> Condition.QUARTER.requireFits(new ImageShape(6, 8, 1)));
    Condition.QUARTER.requireFits(GREY);
    assertEquals(0, Condition.NONE.of(new byte[16], 1, GREY).length);
  }
}
