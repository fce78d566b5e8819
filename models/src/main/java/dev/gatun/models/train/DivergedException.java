package dev.gatun.models.train;

/** A loss that is no longer a number. */
public final class DivergedException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final long step;

  public DivergedException(long step, double nats) {
    super(
        "the loss became "
            + nats
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
