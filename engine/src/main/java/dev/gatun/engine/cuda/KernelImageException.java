package dev.gatun.engine.cuda;

import dev.gatun.engine.DeviceException;

/** Kernels that have no code for a GPU, or none that its driver takes. */
public final class KernelImageException extends DeviceException {
  private static final long serialVersionUID = 1L;

  KernelImageException(String message, Throwable cause) {
    super(message, cause);
  }
}
