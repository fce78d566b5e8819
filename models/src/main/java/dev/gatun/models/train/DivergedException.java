package dev.gatun.models.train;

/** A loss or weights that are no longer finite. */
public final class DivergedException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final long step;

  public DivergedException(long step, double value) {
    super(
        "the loss or a weight became "
            + value
            + " at step "
            + step
            + ": the last checkpoint is kept; resume with a smaller --lr, or with --dtype f32");
    this.step = step;
  }

  /** The step at which it happened, counted from 1. */
  public long step() {
    return step;
  }
}
