package dev.gatun.engine.cpu;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * Threads that take a share of the device thread's loops; idle ones sleep and leave oneDNN the
 * cores.
 */
final class Workers implements AutoCloseable {
  /** A block of a loop; blocks may run at the same time and in any order. */
  interface Body {
    void run(int from, int to);
  }

  /** One loop, in blocks that threads take one after another until there are none. */
  private static final class Loop {
    final Body body;
    final int n;
    final int block;
    final AtomicInteger next = new AtomicInteger();
    final CountDownLatch helpers;
    volatile Throwable failure;

    Loop(Body body, int n, int block, int helpers) {
      this.body = body;
      this.n = n;
      this.block = block;
      this.helpers = new CountDownLatch(helpers);
    }

    void work() {
      try {
        for (int from = take(); from < n && failure == null; from = take()) {
          body.run(from, Math.min(n, from + block));
        }
      } catch (Throwable e) {
        failure = e;
      }
    }

    private int take() {
      int i = next.getAndIncrement();
      return i < Math.ceilDiv(n, block) ? i * block : n;
    }
  }

  private static final Loop STOP = new Loop(null, 0, 1, 0);

  private final LinkedBlockingQueue<Loop> queue = new LinkedBlockingQueue<>();
  private final int count;

  Workers(int count) {
    this.count = count;
    for (int i = 0; i < count; i++) {
      Thread.ofPlatform().daemon().name("gatun-worker-" + i).start(this::work);
    }
  }

  /** How many threads may be in a loop at once, the caller's among them. */
  int threads() {
    return count + 1;
  }

  private void work() {
    try {
      for (Loop loop = queue.take(); loop != STOP; loop = queue.take()) {
        loop.work();
        loop.helpers.countDown();
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /**
   * Runs {@code body} over 0..n-1 in blocks. Blocks are small so that a loop starts to run compiled
   * code soon after it has been compiled, and so that a thread held up elsewhere delays nobody.
   *
   * @param block iterations a call
   */
  void forRange(int n, int block, Body body) {
    int helpers = Math.min(count, Math.ceilDiv(n, block) / 4);
    Loop loop = new Loop(body, n, block, helpers);
    for (int i = 0; i < helpers; i++) {
      queue.add(loop);
    }
    loop.work();
    awaitQuietly(loop.helpers);
    switch (loop.failure) {
      case null -> {}
      case RuntimeException e -> throw e;
      case Error e -> throw e;
      case Throwable e -> throw new IllegalStateException(e);
    }
  }

  private static void awaitQuietly(CountDownLatch done) {
    boolean interrupted = false;
    while (true) {
      try {
        done.await();
        break;
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public void close() {
    for (int i = 0; i < count; i++) {
      queue.add(STOP);
    }
  }
}
