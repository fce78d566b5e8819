package dev.gatun.ffi;

import static dev.gatun.ffi.onednn.OneDnn.*;

/** A oneDNN call that did not return dnnl_success. */
public final class DnnlException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  private final int status;

  DnnlException(int status, String call) {
    super(call + " returned " + status + " (" + name(status) + ")");
    this.status = status;
  }

  /** True where oneDNN has no implementation of what was asked for on this CPU. */
  public boolean isUnimplemented() {
    return status == dnnl_unimplemented();
  }

  private static String name(int status) {
    if (status == dnnl_unimplemented()) {
      return "not implemented on this CPU for these shapes and dtypes";
    } else if (status == dnnl_invalid_arguments()) {
      return "invalid arguments";
    } else if (status == dnnl_out_of_memory()) {
      return "out of memory";
    } else if (status == dnnl_runtime_error()) {
      return "runtime error";
    }
    return "dnnl_status_t";
  }
}
