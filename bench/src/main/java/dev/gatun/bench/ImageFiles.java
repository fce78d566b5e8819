package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Shape;
import dev.gatun.engine.io.Image;
import dev.gatun.engine.io.Images;
import dev.gatun.engine.io.Npy;
import dev.gatun.models.Model.ImageShape;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;

/** Writes images where the user wants to see them. */
final class ImageFiles {
  private static final int PADDING = 2;

  private ImageFiles() {}

  /** Throws unless the name ends in {@code .png} or, where accepted, {@code .npy}. */
  static void requireSuffix(Path file, boolean npy) {
    String name = String.valueOf(file.getFileName());
    if (!name.endsWith(".png") && !(npy && name.endsWith(".npy"))) {
      throw new UsageException(
          "--out " + file + ": expected a name that ends in .png" + (npy ? " or .npy" : ""));
    }
  }

  /** How many times larger small images are shown. */
  static int scale(ImageShape shape) {
    return Math.max(1, 84 / Math.max(shape.height(), shape.width()));
  }

  /** A square grid of images, [N,H,W,C] u8. */
  static void grid(Path file, byte[] images, int count, ImageShape shape) throws IOException {
    grid(file, images, count, shape, (int) Math.ceil(Math.sqrt(count)));
  }

  /** A grid with so many images in a row. */
  static void grid(Path file, byte[] images, int count, ImageShape shape, int columns)
      throws IOException {
    Images.writePng(
        file,
        UsageException.ifRefused(() ->
            Images.grid(
                images,
                count,
                shape.height(),
                shape.width(),
                shape.channels(),
                columns,
                PADDING,
                scale(shape))));
  }

  /** The images as a NumPy array. */
  static void npy(Path file, byte[] images, int count, ImageShape shape) throws IOException {
    Npy.write(
        file,
        Shape.of(count, shape.height(), shape.width(), shape.channels()),
        DType.U8,
        MemorySegment.ofArray(images));
  }

  /**
   * Reads an image of the size and colours that a model has.
   *
   * @param option that named the file
   * @param run the model's folder
   * @return [H,W,C] u8
   */
  static byte[] pixels(String option, Path file, Path run, ImageShape shape) throws IOException {
    Image read = Images.read(file);
    if (read.height() != shape.height() || read.width() != shape.width()) {
      throw new UsageException(
          option
              + " "
              + file
              + ": is "
              + read.height()
              + "x"
              + read.width()
              + ", the model in "
              + run
              + " draws "
              + shape.height()
              + "x"
              + shape.width()
              + "; scale it first");
    }
    return colours(option, file, run, read, shape.channels());
  }

  /** An image's pixels with so many channels: grey or RGB. */
  static byte[] colours(String option, Path file, Path run, Image read, int channels) {
    if (read.channels() == channels) {
      return read.pixels();
    }
    if (channels == 3) {
      return read.toRgb().pixels();
    }
    byte[] grey = new byte[read.height() * read.width()];
    for (int i = 0; i < grey.length; i++) {
      byte[] p = read.pixels();
      if (p[3 * i] != p[3 * i + 1] || p[3 * i] != p[3 * i + 2]) {
        throw new UsageException(
            option + " " + file + ": has colours, the model in " + run + " draws grey images");
      }
      grey[i] = p[3 * i];
    }
    return grey;
  }

  /** One image as it is, or several as a grid. */
  static void write(Path file, byte[] images, int count, ImageShape shape) throws IOException {
    if (file.toString().endsWith(".npy")) {
      npy(file, images, count, shape);
    } else if (count == 1) {
      Images.writePng(file, new Image(shape.height(), shape.width(), shape.channels(), images));
    } else {
      grid(file, images, count, shape);
    }
  }
}
