package dev.gatun.ffi;

import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import jcuda.driver.CUresult;
import jcuda.driver.JCudaDriver;
import jcuda.jcudnn.JCudnn;

/** A call of the CUDA driver, of cuDNN or of cuBLASLt that failed. */
public final class CudaException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** After these the context is of no more use: every later call returns the same. */
  private static final Set<String> FATAL =
      Set.of(
          "CUDA_ERROR_ECC_UNCORRECTABLE",
          "CUDA_ERROR_NVLINK_UNCORRECTABLE",
          "CUDA_ERROR_ILLEGAL_ADDRESS",
          "CUDA_ERROR_LAUNCH_TIMEOUT",
          "CUDA_ERROR_ASSERT",
          "CUDA_ERROR_HARDWARE_STACK_ERROR",
          "CUDA_ERROR_ILLEGAL_INSTRUCTION",
          "CUDA_ERROR_MISALIGNED_ADDRESS",
          "CUDA_ERROR_INVALID_ADDRESS_SPACE",
          "CUDA_ERROR_INVALID_PC",
          "CUDA_ERROR_LAUNCH_FAILED",
          "CUDA_ERROR_CONTAINED",
          "CUDA_ERROR_TENSOR_MEMORY_LEAK",
          "CUDA_ERROR_UNKNOWN");

  /** The module has nothing that this GPU, or this driver, can run. */
  private static final Set<String> MISSING_IMAGE =
      Set.of(
          "CUDA_ERROR_NO_BINARY_FOR_GPU",
          "CUDA_ERROR_INVALID_PTX",
          "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
          "CUDA_ERROR_JIT_COMPILER_NOT_FOUND",
          "CUDA_ERROR_JIT_COMPILATION_DISABLED");

  /** What JCuda and JCudnn say of a status that their version does not know. */
  private static final Pattern UNKNOWN_STATUS =
      Pattern.compile("INVALID (?:CUresult|cudnnStatus): (\\d+)");

  private final String call;
  private final String name;
  private final String text;

  CudaException(String call, String name, String text) {
    super(call + ": " + name + (text.isEmpty() ? "" : " (" + text + ")"));
    this.call = call;
    this.name = name;
    this.text = text;
  }

  /** A call through JCuda, which returns a status or throws. */
  public interface Call {
    int status();
  }

  /** Runs a driver call through JCuda, whether or not JCuda's own exceptions are enabled. */
  static void check(String call, Call body) {
    int status;
    try {
      status = body.status();
    } catch (jcuda.CudaException e) {
      throw ofName(call, e.getMessage());
    }
    if (status != 0) {
      throw ofStatus(call, status);
    }
  }

  /** Runs a call that cleans up after a failure, which is what will be told. */
  static void quietly(Call body) {
    try {
      body.status();
    } catch (jcuda.CudaException e) {
      // the failure before it says more
    }
  }

  /**
   * Runs a cuDNN call.
   *
   * @throws CudaException unless it returns CUDNN_STATUS_SUCCESS
   */
  public static void checkDnn(String call, Call body) {
    String name;
    try {
      int status = body.status();
      if (status == 0) {
        return;
      }
      name = JCudnn.cudnnGetErrorString(status);
    } catch (jcuda.CudaException e) {
      // JCudnn has the names of cuDNN 8 and gives the number of all others
      Matcher unknown = UNKNOWN_STATUS.matcher(String.valueOf(e.getMessage()));
      name =
          unknown.matches()
              ? JCudnn.cudnnGetErrorString(Integer.parseInt(unknown.group(1)))
              : String.valueOf(e.getMessage());
    }
    throw new CudaException(
        call, name, name.contains("EXECUTION_FAILED") ? CudaEmulator.faultText() : "");
  }

  /** What a call made through the Foreign Function and Memory API returned. */
  static CudaException ofStatus(String call, int status) {
    String[] name = new String[1];
    try {
      JCudaDriver.cuGetErrorName(status, name);
    } catch (jcuda.CudaException e) {
      // an error newer than the driver's table: the number says it
    }
    String known = name[0];
    if (known == null || known.isEmpty()) {
      String table = CUresult.stringFor(status);
      known = UNKNOWN_STATUS.matcher(table).matches() ? "CUDA error " + status : table;
    }
    return new CudaException(call, known, describe(status, known));
  }

  /** What JCuda threw: it has the name, or at least the number. */
  static CudaException ofName(String call, String name) {
    Matcher unknown = UNKNOWN_STATUS.matcher(name);
    if (unknown.matches()) {
      return ofStatus(call, Integer.parseInt(unknown.group(1)));
    }
    int status = -1;
    try {
      status = CUresult.class.getField(name).getInt(null);
    } catch (ReflectiveOperationException e) {
      // no such name: the message stands as it is
    }
    return new CudaException(call, name, status < 0 ? "" : describe(status, name));
  }

  private static String describe(int status, String name) {
    String[] text = new String[1];
    try {
      JCudaDriver.cuGetErrorString(status, text);
    } catch (jcuda.CudaException e) {
      // no description: the name has to do
    }
    String described = text[0] == null ? "" : text[0];
    String fault = FATAL.contains(name) ? CudaEmulator.faultText() : "";
    return fault.isEmpty() ? described : described + ": " + fault;
  }

  /** The call that returned it: {@code cuStreamSynchronize}. */
  public String call() {
    return call;
  }

  /** The error's own name: {@code CUDA_ERROR_ILLEGAL_ADDRESS}. */
  public String name() {
    return name;
  }

  /** What the driver says of it; on the emulator also which kernel, block and thread. */
  public String text() {
    return text;
  }

  /** True where the context cannot be used any more. */
  public boolean isFatal() {
    return FATAL.contains(name);
  }

  /** True where the device had no room. */
  public boolean isOutOfMemory() {
    return name.equals("CUDA_ERROR_OUT_OF_MEMORY") || name.equals("CUBLAS_STATUS_ALLOC_FAILED");
  }

  /** True where a module has no code for this GPU, or none that this driver takes. */
  public boolean isMissingImage() {
    return MISSING_IMAGE.contains(name);
  }
}
