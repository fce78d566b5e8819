package dev.gatun.ffi;

/**
 * A native library that could not be opened; the message lists every place tried and why it failed.
 */
public final class LibraryException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  public LibraryException(String message) {
    super(message);
  }

  public LibraryException(String message, Throwable cause) {
    super(message, cause);
  }
}
