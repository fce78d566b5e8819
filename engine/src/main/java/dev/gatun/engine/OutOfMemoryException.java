package dev.gatun.engine;

/** A device that has no room for an allocation. */
public final class OutOfMemoryException extends DeviceException {
  private static final long serialVersionUID = 1L;

  public OutOfMemoryException(String message, Throwable cause) {
    super(message, cause);
  }
}
