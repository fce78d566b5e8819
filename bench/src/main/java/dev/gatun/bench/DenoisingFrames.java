package dev.gatun.bench;

import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.diffusion.DenoisingSampler;
import java.io.IOException;
import java.nio.file.Path;

/** Keeps images as they come out of the noise, to be looked at afterwards. */
final class DenoisingFrames implements DenoisingSampler.Listener {
  private static final int FRAMES = 40;
  private static final int HUNDREDTHS = 8;
  private static final int STRIP_COLUMNS = 10;
  private static final int STRIP_ROWS = 8;

  private final int count;
  private final ImageShape shape;
  private final int steps;
  private final byte[][] frames; // [frame][count,H,W,C]

  /**
   * Has seen nothing yet.
   *
   * @param steps runs of the network that each image takes
   */
  DenoisingFrames(int count, ImageShape shape, int steps) {
    this.count = count;
    this.shape = shape;
    this.steps = steps;
    frames = new byte[Math.min(FRAMES, steps)][count * shape.dimensions()];
  }

  /** After which step a frame is taken: evenly, the last one after the last. */
  private int step(int frame) {
    return (int) ((long) steps * (frame + 1) / frames.length);
  }

  @Override
  public void after(DenoisingSampler.Step step) {
    for (int i = 0; i < frames.length; i++) {
      if (step(i) == step.number()) {
        byte[] now = step.noisy();
        System.arraycopy(now, 0, frames[i], step.first() * shape.dimensions(), now.length);
      }
    }
  }

  /** All images, as they change. */
  void writeGif(Path file) throws IOException {
    AnimatedGif.write(file, frames.length, HUNDREDTHS, count, shape, i -> frames[i]);
  }

  /** A row for each of the first images, from noise on the left to the image on the right. */
  void writeStrip(Path file) throws IOException {
    int rows = Math.min(STRIP_ROWS, count);
    int columns = Math.min(STRIP_COLUMNS, frames.length);
    int size = shape.dimensions();
    byte[] all = new byte[rows * columns * size];
    for (int row = 0; row < rows; row++) {
      for (int column = 0; column < columns; column++) {
        int frame = (column + 1) * frames.length / columns - 1;
        System.arraycopy(frames[frame], row * size, all, (row * columns + column) * size, size);
      }
    }
    ImageFiles.grid(file, all, rows * columns, shape, columns);
  }
}
