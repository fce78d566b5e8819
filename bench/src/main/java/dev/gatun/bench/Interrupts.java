package dev.gatun.bench;

import java.util.concurrent.CountDownLatch;

/**
 * Ctrl-C (SIGINT, SIGTERM) while something is under way that must end well: the JVM waits until
 * this is closed, and then exits with the signal's code, 130 or 143.
 */
final class Interrupts implements AutoCloseable {
  private final CountDownLatch ended = new CountDownLatch(1);
  private final Thread hook;
  private volatile boolean requested;

  Interrupts() {
    hook =
        new Thread(
            () -> {
              requested = true;
              try {
                ended.await();
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              }
            },
            "gatun-interrupt");
    Runtime.getRuntime().addShutdownHook(hook);
  }

  /** Whether the work should come to its end. */
  boolean requested() {
    return requested;
  }

  @Override
  public void close() {
    ended.countDown();
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      return; // the JVM is exiting, which is what the hook was for
    }
  }
}
