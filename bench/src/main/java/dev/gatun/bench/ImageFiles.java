package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Shape;
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
    int columns = (int) Math.ceil(Math.sqrt(count));
    int scale = scale(shape);
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
                scale)));
  }

  /** The images as a NumPy array. */
  static void npy(Path file, byte[] images, int count, ImageShape shape) throws IOException {
    Npy.write(
        file,
        Shape.of(count, shape.height(), shape.width(), shape.channels()),
        DType.U8,
        MemorySegment.ofArray(images));
  }
}
