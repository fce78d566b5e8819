package dev.gatun.models.pixelcnn;

import java.util.function.IntConsumer;

/**
 * Draws images pixel by pixel. Image k of a seed is drawn with the uniforms numbered (k, pixel), so
 * it does not depend on how many images are drawn with it.
 */
public interface Sampler extends AutoCloseable {
  /** As on the command line. */
  String name();

  /**
   * Draws images.
   *
   * @param temperature logits are divided by it; below 1 is tamer, above 1 wilder
   * @param progress is told how many of {@code count * H} rows are done
   * @return [count,H,W,1] u8
   */
  byte[] sample(int count, long seed, double temperature, IntConsumer progress);

  @Override
  void close();
}
