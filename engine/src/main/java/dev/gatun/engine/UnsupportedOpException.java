package dev.gatun.engine;

import java.util.List;

/** An op that a device has no implementation of, for the inputs it was given. */
public final class UnsupportedOpException extends DeviceException {
  private static final long serialVersionUID = 1L;

  public UnsupportedOpException(Op op, List<TensorSpec> inputs, String device, String why) {
    super(op.name() + " " + inputs + " has no implementation on " + device + ": " + why);
  }
}
