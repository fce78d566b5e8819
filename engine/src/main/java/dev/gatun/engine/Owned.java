package dev.gatun.engine;

import java.util.ArrayDeque;
import java.util.Deque;

/**
 * What one owner opened, closed together: the last first, and all of it even where some of it
 * fails. Not thread-safe.
 */
public final class Owned implements AutoCloseable {
  private final Deque<AutoCloseable> resources = new ArrayDeque<>();

  /** Takes over {@code resource} and returns it. */
  public <T extends AutoCloseable> T add(T resource) {
    resources.push(resource);
    return resource;
  }

  /**
   * Closes everything; a second call finds nothing left to close.
   *
   * @throws RuntimeException the first failure, with the others suppressed; a checked one as the
   *     cause of an {@link IllegalStateException}
   */
  @Override
  public void close() {
    Throwable failure = null;
    while (!resources.isEmpty()) {
      try {
        resources.pop().close();
      } catch (Throwable e) {
        if (failure == null) {
          failure = e;
        } else {
          failure.addSuppressed(e);
        }
      }
    }
    switch (failure) {
      case null -> {}
      case RuntimeException e -> throw e;
      case Error e -> throw e;
      case Throwable e -> throw new IllegalStateException(e);
    }
  }
}
