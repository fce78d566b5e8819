package dev.gatun.bench;

import java.util.function.Supplier;

/** What the user asked for cannot be: one line that says what, where and what to do. */
final class UsageException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  UsageException(String message) {
    super(message);
  }

  UsageException(String message, Throwable cause) {
    super(message, cause);
  }

  /** The result of {@code action}; what it finds wrong with its arguments is the user's error. */
  static <T> T ifRefused(Supplier<T> action) {
    try {
      return action.get();
    } catch (IllegalArgumentException e) {
      throw new UsageException(e.getMessage(), e);
    }
  }
}
