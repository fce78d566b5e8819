package dev.gatun.engine;

/** A shape or dtype that does not fit the op it was given to; thrown before any launch. */
public final class ShapeException extends IllegalArgumentException {
  private static final long serialVersionUID = 1L;

  public ShapeException(String message) {
    super(message);
  }
}
