package dev.gatun.ffi;

/**
 * A native library that could not be opened; the message lists every place tried and why it failed.
 */
public final class LibraryException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final String summary;

  public LibraryException(String message) {
    this(message, message);
  }

  public LibraryException(String message, Throwable cause) {
    super(message, cause);
    this.summary = message;
  }

  /**
   * @param summary the message without the places that merely had nothing
   */
  LibraryException(String message, String summary) {
    super(message);
    this.summary = summary;
  }

  /** The message, short: "not found", or what was wrong with the file that was there. */
  public String summary() {
    return summary;
  }
}
