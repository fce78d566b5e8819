package dev.gatun.engine.io;

/**
 * A decoded image.
 *
 * @param height rows
 * @param width columns
 * @param channels 1 (grey) or 3 (RGB)
 * @param pixels u8 {@code [H,W,C]}; not copied
 */
public record Image(int height, int width, int channels, byte[] pixels) {
  /**
   * Checks that the pixels fit the extents.
   *
   * @throws IllegalArgumentException if not
   */
  public Image {
    if (channels != 1 && channels != 3) {
      throw new IllegalArgumentException("image: channels is " + channels + ", not 1 or 3");
    }
    if (height <= 0 || width <= 0 || (long) height * width * channels != pixels.length) {
      throw new IllegalArgumentException(
          "image: ["
              + height
              + ","
              + width
              + ","
              + channels
              + "] from "
              + pixels.length
              + " bytes");
    }
  }

  /** The image with three channels, grey repeated; itself if it has them. */
  public Image toRgb() {
    if (channels == 3) {
      return this;
    }
    byte[] rgb = new byte[Math.multiplyExact(pixels.length, 3)];
    for (int i = 0; i < pixels.length; i++) {
      rgb[3 * i] = pixels[i];
      rgb[3 * i + 1] = pixels[i];
      rgb[3 * i + 2] = pixels[i];
    }
    return new Image(height, width, 3, rgb);
  }
}
