package dev.gatun.bench;

import dev.gatun.models.Model.ImageShape;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;

/**
 * Images being drawn, as an animated GIF: pixels appear in the order in which they were drawn,
 * those to come are grey.
 */
final class DrawingGif {
  private static final int FRAMES = 56;
  private static final int HUNDREDTHS = 7;
  private static final byte TO_COME = (byte) 128;

  private DrawingGif() {}

  /**
   * Writes the animation.
   *
   * @param images [count,H,W,C] u8
   * @param givenRows are there from the beginning
   */
  static void write(Path file, byte[] images, int count, ImageShape shape, int givenRows)
      throws IOException {
    int pixels = shape.height() * shape.width();
    int given = givenRows * shape.width();
    int frames = Math.max(1, Math.min(FRAMES, pixels - given));
    AnimatedGif.write(
        file,
        frames + 1,
        HUNDREDTHS,
        count,
        shape,
        i -> {
          int drawn = given + (int) ((long) (pixels - given) * i / frames);
          return drawn(images, count, shape, drawn);
        });
  }

  private static byte[] drawn(byte[] images, int count, ImageShape shape, int drawn) {
    byte[] now = images.clone();
    int size = shape.dimensions();
    for (int n = 0; n < count; n++) {
      Arrays.fill(now, n * size + drawn * shape.channels(), (n + 1) * size, TO_COME);
    }
    return now;
  }
}
