package dev.gatun.ffi;

import dev.gatun.ffi.cublaslt.CublasLtLibrary;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * cuBLASLt of CUDA 13 or 12, with a handle on the context that was current when it was opened.
 *
 * <p>Its declarations are held against NVIDIA's headers, and its calls against a stub library; it
 * has never run on a GPU.
 */
public final class CublasLt implements AutoCloseable {
  private final LibraryFinder.Opened library;
  private final MethodHandle getVersion;
  private final MethodHandle statusName;
  private final MethodHandle statusString;
  private final MethodHandle destroy;
  private final MemorySegment handle;
  private boolean closed;

  final MethodHandle descCreate;
  final MethodHandle descDestroy;
  final MethodHandle descSet;
  final MethodHandle layoutCreate;
  final MethodHandle layoutDestroy;
  final MethodHandle preferenceCreate;
  final MethodHandle preferenceDestroy;
  final MethodHandle preferenceSet;
  final MethodHandle heuristic;
  final MethodHandle matmul;

  private CublasLt(LibraryFunctions f) {
    library = f.library();
    getVersion = f.bind("cublasLtGetVersion", CublasLtLibrary::cublasLtGetVersion$descriptor);
    statusName = f.bind("cublasLtGetStatusName", CublasLtLibrary::cublasLtGetStatusName$descriptor);
    statusString =
        f.bind("cublasLtGetStatusString", CublasLtLibrary::cublasLtGetStatusString$descriptor);
    destroy = f.bind("cublasLtDestroy", CublasLtLibrary::cublasLtDestroy$descriptor);
    descCreate =
        f.bind("cublasLtMatmulDescCreate", CublasLtLibrary::cublasLtMatmulDescCreate$descriptor);
    descDestroy =
        f.bind("cublasLtMatmulDescDestroy", CublasLtLibrary::cublasLtMatmulDescDestroy$descriptor);
    descSet =
        f.bind(
            "cublasLtMatmulDescSetAttribute",
            CublasLtLibrary::cublasLtMatmulDescSetAttribute$descriptor);
    layoutCreate =
        f.bind(
            "cublasLtMatrixLayoutCreate", CublasLtLibrary::cublasLtMatrixLayoutCreate$descriptor);
    layoutDestroy =
        f.bind(
            "cublasLtMatrixLayoutDestroy", CublasLtLibrary::cublasLtMatrixLayoutDestroy$descriptor);
    preferenceCreate =
        f.bind(
            "cublasLtMatmulPreferenceCreate",
            CublasLtLibrary::cublasLtMatmulPreferenceCreate$descriptor);
    preferenceDestroy =
        f.bind(
            "cublasLtMatmulPreferenceDestroy",
            CublasLtLibrary::cublasLtMatmulPreferenceDestroy$descriptor);
    preferenceSet =
        f.bind(
            "cublasLtMatmulPreferenceSetAttribute",
            CublasLtLibrary::cublasLtMatmulPreferenceSetAttribute$descriptor);
    heuristic =
        f.bind(
            "cublasLtMatmulAlgoGetHeuristic",
            CublasLtLibrary::cublasLtMatmulAlgoGetHeuristic$descriptor);
    matmul = f.bind("cublasLtMatmul", CublasLtLibrary::cublasLtMatmul$descriptor);
    MethodHandle create = f.bind("cublasLtCreate", CublasLtLibrary::cublasLtCreate$descriptor);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment out = arena.allocate(CublasLtLibrary.C_POINTER);
      check("cublasLtCreate", (int) create.invokeExact(out));
      handle = out.get(CublasLtLibrary.C_POINTER, 0);
    } catch (Throwable e) {
      throw LibraryFunctions.rethrown(e);
    }
  }

  /**
   * Opens the library and makes a handle; the context it is for must be current.
   *
   * @param newestMajor the driver's major version of CUDA, 12 or more
   * @throws LibraryException naming each place tried
   * @throws CudaException if cuBLASLt makes no handle
   */
  public static CublasLt open(int newestMajor) {
    return open(NvidiaLibraries.cublasLt(newestMajor));
  }

  static CublasLt open(LibraryFinder finder) {
    return new CublasLt(new LibraryFunctions(finder.open()));
  }

  /**
   * Which file would be opened, and its version, without a handle.
   *
   * @throws LibraryException naming each place tried
   */
  public static String describe(int newestMajor) {
    LibraryFunctions functions = new LibraryFunctions(NvidiaLibraries.cublasLt(newestMajor).open());
    MethodHandle version =
        functions.bind("cublasLtGetVersion", CublasLtLibrary::cublasLtGetVersion$descriptor);
    return version(version) + ", " + functions.library().file();
  }

  /** Which file, and which rule found it. */
  public LibraryFinder.Opened library() {
    return library;
  }

  /** Such as {@code 13.1.0}. */
  public String version() {
    return version(getVersion);
  }

  private static String version(MethodHandle getVersion) {
    try {
      long version = (long) getVersion.invokeExact();
      return version / 10_000 + "." + version / 100 % 100 + "." + version % 100;
    } catch (Throwable e) {
      throw LibraryFunctions.rethrown(e);
    }
  }

  MemorySegment handle() {
    if (closed) {
      throw new IllegalStateException("cuBLASLt used after close");
    }
    return handle;
  }

  void check(String call, int status) {
    if (status != CublasLtLibrary.CUBLAS_STATUS_SUCCESS()) {
      throw failure(call, status);
    }
  }

  CudaException failure(String call, int status) {
    try {
      return new CudaException(
          call,
          LibraryFunctions.text((MemorySegment) statusName.invokeExact(status)),
          LibraryFunctions.text((MemorySegment) statusString.invokeExact(status)));
    } catch (Throwable e) {
      throw LibraryFunctions.rethrown(e);
    }
  }

  /** Gives the handle back; plans made with it must be closed before. */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    try {
      check("cublasLtDestroy", (int) destroy.invokeExact(handle));
    } catch (Throwable e) {
      throw LibraryFunctions.rethrown(e);
    }
  }
}
