package dev.gatun.engine;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;

/** Work done at the same time, such as that of the lanes of a device. */
public final class Together {
  private Together() {}

  /**
   * Runs tasks, the first on the caller's thread and each other on a virtual one, since what a lane
   * is given runs on the lane's own thread and is only waited for; returns when all have ended. An
   * interrupt does not cut the wait short, since tasks use memory that the caller may free; it is
   * kept for the caller to see.
   *
   * @throws RuntimeException or Error: the failure that came first
   */
  public static void run(List<? extends Runnable> tasks) {
    AtomicReference<Throwable> failure = new AtomicReference<>();
    List<Thread> others = new ArrayList<>();
    for (Runnable task : tasks.subList(1, tasks.size())) {
      others.add(Thread.ofVirtual().start(() -> attempt(task, failure)));
    }
    attempt(tasks.getFirst(), failure);
    joinQuietly(others);
    switch (failure.get()) {
      case null -> {}
      case Error e -> throw e;
      case Throwable e -> throw (RuntimeException) e;
    }
  }

  private static void attempt(Runnable task, AtomicReference<Throwable> failure) {
    try {
      task.run();
    } catch (RuntimeException | Error e) {
      failure.compareAndSet(null, e);
    }
  }

  private static void joinQuietly(List<Thread> threads) {
    boolean interrupted = false;
    for (Thread thread : threads) {
      while (thread.isAlive()) {
        try {
          thread.join();
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }
}
