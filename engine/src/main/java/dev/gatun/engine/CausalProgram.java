package dev.gatun.engine;

import java.util.function.IntConsumer;

/**
 * An autoregressive network that computes each value of each pixel once while its images are being
 * drawn. The images are shared out to lanes; a lane draws its images together, on a thread of its
 * own, and the lanes know nothing of each other.
 */
public interface CausalProgram extends AutoCloseable {
  /** Images that a lane draws together: N of the graph's image. */
  int laneImages();

  /** Lanes that run at the same time. */
  int lanes();

  /** Draws the colours of one pass. Called on the lanes' threads, at the same time. */
  @FunctionalInterface
  interface Draw {
    /**
     * Chooses the values of one pixel.
     *
     * @param parameters the network's output at this pixel, [N,P], that of the pass where there are
     *     several: [N,P/passes]; valid during the call
     * @param pixel [N,C], those drawn in earlier passes included; to be filled in
     */
    void draw(int lane, int row, int column, int pass, float[] parameters, byte[] pixel);
  }

  /**
   * Draws a batch of images.
   *
   * @param lanes how many of the lanes take part
   * @param labels for each lane its images' labels, [N]; null where the network has none
   */
  void run(int lanes, byte[][] labels, Draw draw);

  /**
   * What a batch is drawn from by the device itself.
   *
   * @param first number of the batch's first image: it and the seed decide which random numbers
   * @param count images that are wanted
   * @param given [count,H,W,C] u8, whose first {@code givenRows} rows are kept; null for none
   */
  record Drawing(
      PixelDistribution distribution,
      double temperature,
      long seed,
      int first,
      int count,
      byte[] given,
      int givenRows) {}

  /** Whether {@link #draw} can be asked for pixels of that distribution. */
  default boolean draws(PixelDistribution distribution) {
    return false;
  }

  /**
   * Draws a batch of images without the host: pixel p's k-th uniform number is {@link
   * Philox#uniform} of {@link Philox.Stream#SAMPLE}, the image's number, and p * (numbers a pixel
   * takes) + k.
   *
   * @param labels of the batch's images, [N]; null where the network has none
   * @param rows is told how many rows are done
   * @return [count,H,W,C] u8
   */
  default byte[] draw(byte[] labels, Drawing drawing, IntConsumer rows) {
    throw new UnsupportedOperationException("only the host can draw here");
  }

  /**
   * The time in which the library routines alone (matrix products and convolutions, in the same
   * order, on the same memory) run back to back: what the rest is measured against.
   *
   * @return seconds
   */
  double bareSeconds(int lanes);

  @Override
  void close();
}
