package dev.gatun.engine.io;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Path;

/**
 * What an image file says of itself before its pixels.
 *
 * @param kind its format, by its first bytes, whatever its name
 * @param height rows
 * @param width columns
 * @param grey whether it stores grey values only, with or without alpha
 */
public record ImageHeader(Kind kind, int height, int width, boolean grey) {
  /** The formats read. */
  public enum Kind {
    PNG,
    JPEG
  }

  private static final long MAX_PIXELS = 64L << 20;

  /** Reads a header and refuses dimensions that a file of {@code fileBytes} cannot hold. */
  static ImageHeader read(Path file, InputStream in, long fileBytes) throws IOException {
    byte[] start = in.readNBytes(Png.HEADER_BYTES);
    if (Png.isPng(start)) {
      Png.Header png = Png.Header.parse(file, start);
      check(file, png.height(), png.width(), png.inflatedBytes() / 1032 <= fileBytes);
      return new ImageHeader(Kind.PNG, png.height(), png.width(), png.isGrey());
    }
    if (Jpeg.isJpeg(start)) {
      Jpeg.Header jpeg = Jpeg.Header.read(file, start, in);
      // The DC coefficient of each 8x8 block takes at least one bit: 512 pixels a byte.
      long pixels = (long) jpeg.height() * jpeg.width();
      check(file, jpeg.height(), jpeg.width(), pixels / 512 <= fileBytes);
      return new ImageHeader(Kind.JPEG, jpeg.height(), jpeg.width(), jpeg.components() == 1);
    }
    throw new FormatException(
        file, "neither PNG nor JPEG, whatever its name", "convert or remove it");
  }

  private static void check(Path file, int height, int width, boolean plausible)
      throws FormatException {
    if ((long) height * width > MAX_PIXELS) {
      throw new FormatException(
          file,
          "claims " + width + "x" + height + " pixels, more than " + MAX_PIXELS,
          "scale it down");
    }
    if (!plausible) {
      throw new FormatException(
          file,
          "claims " + width + "x" + height + " pixels, more than a file of its size can hold",
          "it is truncated or damaged, copy or convert it again");
    }
  }
}
