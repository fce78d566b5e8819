package dev.gatun.engine;

/**
 * An op with its memory fixed, ready to run any number of times. Closing gives back what it holds.
 */
public interface Launch extends AutoCloseable {
  /**
   * Runs on the device's own stream of work; a device runs its launches one after another. What it
   * writes to is touched ({@link Buffer#touch}).
   */
  void run();

  @Override
  default void close() {}
}
