package dev.gatun.engine.cuda;

import dev.gatun.engine.DeviceException;

/**
 * A fault that ended a GPU's context: every device open on that GPU, and all memory on it, is lost.
 * Opening a device afterwards starts afresh.
 */
public final class CudaFaultException extends DeviceException {
  private static final long serialVersionUID = 1L;

  CudaFaultException(String message, Throwable cause) {
    super(message, cause);
  }
}
