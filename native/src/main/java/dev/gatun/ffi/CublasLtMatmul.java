package dev.gatun.ffi;

import static dev.gatun.ffi.cublaslt.CublasLtLibrary.*;

import dev.gatun.ffi.cublaslt.cublasLtMatmulHeuristicResult_t;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * One matrix product by cuBLASLt, planned once and run any number of times: {@code y = op(x) op(w)
 * [+ bias] [+ y]}, all row by row as they lie in memory.
 *
 * <p>The products and their sum are in f32, without tf32. Like {@link CublasLt} it has never run on
 * a GPU.
 */
public final class CublasLtMatmul implements AutoCloseable {
  /** What all matrices and the bias hold. */
  public enum Type {
    F32(CUDA_R_32F()),
    BF16(CUDA_R_16BF());

    final int code;

    Type(int code) {
      this.code = code;
    }
  }

  /**
   * @param m rows of y
   * @param n columns of y
   * @param k terms of each sum
   * @param transposeX x is [K,M], else [M,K]
   * @param transposeW w is [N,K], else [K,N]
   * @param accumulate adds to y, else writes it
   */
  public record Spec(
      Type type, int m, int n, int k, boolean transposeX, boolean transposeW, boolean accumulate) {
    /**
     * @throws IllegalArgumentException if a size is not positive
     */
    public Spec {
      java.util.Objects.requireNonNull(type, "type");
      if (m < 1 || n < 1 || k < 1) {
        throw new IllegalArgumentException(
            "matmul of M=%d, N=%d, K=%d: each must be at least 1".formatted(m, n, k));
      }
    }
  }

  /** What all addresses are multiples of. */
  public static final int ALIGNMENT_BYTES = 16;

  private record Held(String call, MethodHandle destroy, MemorySegment object) {}

  private final CublasLt library;
  private final Spec spec;
  private final Arena arena = Arena.ofShared();
  private final Deque<Held> held = new ArrayDeque<>();
  private final MemorySegment desc;
  private final MemorySegment wLayout;
  private final MemorySegment xLayout;
  private final MemorySegment yLayout;
  private final MemorySegment algorithm;
  private final MemorySegment one;
  private final MemorySegment beta;
  private final long workspaceBytes;
  private boolean closed;

  /**
   * Plans a product.
   *
   * @param bias address of [N] on the device, or 0
   * @param maxWorkspaceBytes what the algorithm may use of memory beside its matrices
   * @throws IllegalArgumentException if an argument is out of its range
   * @throws CudaException if cuBLASLt cannot do it
   */
  public CublasLtMatmul(CublasLt library, Spec spec, long bias, long maxWorkspaceBytes) {
    if (bias != 0) {
      requireAddress("bias", bias);
    }
    if (maxWorkspaceBytes < 0) {
      throw new IllegalArgumentException("workspace of " + maxWorkspaceBytes + " bytes");
    }
    this.library = library;
    this.spec = spec;
    MemorySegment handle = library.handle();
    try {
      // cuBLASLt goes column by column, where the same memory is the transposed: y' = w' x'
      desc = createDesc();
      setTransposed(CUBLASLT_MATMUL_DESC_TRANSA(), spec.transposeW);
      setTransposed(CUBLASLT_MATMUL_DESC_TRANSB(), spec.transposeX);
      if (bias != 0) {
        set(CUBLASLT_MATMUL_DESC_EPILOGUE(), arena.allocateFrom(C_INT, CUBLASLT_EPILOGUE_BIAS()));
        set(CUBLASLT_MATMUL_DESC_BIAS_POINTER(), arena.allocateFrom(C_LONG, bias));
      }
      wLayout = spec.transposeW ? layout(spec.k, spec.n) : layout(spec.n, spec.k);
      xLayout = spec.transposeX ? layout(spec.m, spec.k) : layout(spec.k, spec.m);
      yLayout = layout(spec.n, spec.m);
      one = arena.allocateFrom(C_FLOAT, 1f);
      beta = arena.allocateFrom(C_FLOAT, spec.accumulate ? 1f : 0f);
      MemorySegment result = chooseAlgorithm(handle, preference(maxWorkspaceBytes));
      algorithm = cublasLtMatmulHeuristicResult_t.algo(result);
      workspaceBytes = cublasLtMatmulHeuristicResult_t.workspaceSize(result);
    } catch (Throwable e) {
      destroyAll();
      arena.close();
      throw LibraryFunctions.rethrown(e);
    }
  }

  private MemorySegment created(String what, MemorySegment out, MethodHandle destroy) {
    MemorySegment object = out.get(C_POINTER, 0);
    held.push(new Held(what + "Destroy", destroy, object));
    return object;
  }

  private MemorySegment createDesc() throws Throwable {
    MemorySegment out = arena.allocate(C_POINTER);
    library.check(
        "cublasLtMatmulDescCreate",
        (int) library.descCreate.invokeExact(out, CUBLAS_COMPUTE_32F(), CUDA_R_32F()));
    return created("cublasLtMatmulDesc", out, library.descDestroy);
  }

  private void setTransposed(int attribute, boolean transposed) throws Throwable {
    set(attribute, arena.allocateFrom(C_INT, transposed ? CUBLAS_OP_T() : CUBLAS_OP_N()));
  }

  private void set(int attribute, MemorySegment value) throws Throwable {
    library.check(
        "cublasLtMatmulDescSetAttribute",
        (int) library.descSet.invokeExact(desc, attribute, value, value.byteSize()));
  }

  private MemorySegment layout(long rows, long columns) throws Throwable {
    MemorySegment out = arena.allocate(C_POINTER);
    library.check(
        "cublasLtMatrixLayoutCreate",
        (int) library.layoutCreate.invokeExact(out, spec.type.code, rows, columns, rows));
    return created("cublasLtMatrixLayout", out, library.layoutDestroy);
  }

  private MemorySegment preference(long maxWorkspaceBytes) throws Throwable {
    MemorySegment out = arena.allocate(C_POINTER);
    library.check(
        "cublasLtMatmulPreferenceCreate", (int) library.preferenceCreate.invokeExact(out));
    MemorySegment preference = created("cublasLtMatmulPreference", out, library.preferenceDestroy);
    prefer(
        preference,
        CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES(),
        arena.allocateFrom(C_LONG, maxWorkspaceBytes));
    MemorySegment alignment = arena.allocateFrom(C_INT, ALIGNMENT_BYTES);
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES(), alignment);
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES(), alignment);
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES(), alignment);
    prefer(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES(), alignment);
    return preference;
  }

  private void prefer(MemorySegment preference, int attribute, MemorySegment value)
      throws Throwable {
    library.check(
        "cublasLtMatmulPreferenceSetAttribute",
        (int) library.preferenceSet.invokeExact(preference, attribute, value, value.byteSize()));
  }

  private MemorySegment chooseAlgorithm(MemorySegment handle, MemorySegment preference)
      throws Throwable {
    String call = "cublasLtMatmulAlgoGetHeuristic";
    MemorySegment result = cublasLtMatmulHeuristicResult_t.allocate(arena);
    MemorySegment count = arena.allocate(C_INT);
    library.check(
        call,
        (int)
            library.heuristic.invokeExact(
                handle, desc, wLayout, xLayout, yLayout, yLayout, preference, 1, result, count));
    if (count.get(C_INT, 0) < 1) {
      throw library.failure(call + " for " + spec, CUBLAS_STATUS_NOT_SUPPORTED());
    }
    library.check(call + " for " + spec, cublasLtMatmulHeuristicResult_t.state(result));
    return result;
  }

  /** What {@link #run} needs of memory beside the matrices. */
  public long workspaceBytes() {
    return workspaceBytes;
  }

  /**
   * Puts the product on the stream; the library's context must be current.
   *
   * @param workspace address of {@link #workspaceBytes} on the device, or 0 where that is 0
   * @throws IllegalArgumentException if an address is missing or not a multiple of {@link
   *     #ALIGNMENT_BYTES}
   * @throws CudaException if cuBLASLt refuses
   */
  public void run(CudaStream stream, long x, long w, long y, long workspace) {
    run(stream.segment(), x, w, y, workspace);
  }

  void run(MemorySegment stream, long x, long w, long y, long workspace) {
    if (closed) {
      throw new IllegalStateException("matmul used after close");
    }
    requireAddress("x", x);
    requireAddress("w", w);
    requireAddress("y", y);
    if (workspaceBytes > 0) {
      requireAddress("workspace", workspace);
    }
    int status;
    try {
      status =
          (int)
              library.matmul.invokeExact(
                  library.handle(),
                  desc,
                  one,
                  MemorySegment.ofAddress(w),
                  wLayout,
                  MemorySegment.ofAddress(x),
                  xLayout,
                  beta,
                  MemorySegment.ofAddress(y),
                  yLayout,
                  MemorySegment.ofAddress(y),
                  yLayout,
                  algorithm,
                  MemorySegment.ofAddress(workspace),
                  workspaceBytes,
                  stream);
    } catch (Throwable e) {
      throw LibraryFunctions.rethrown(e);
    }
    library.check("cublasLtMatmul", status);
  }

  private static void requireAddress(String name, long address) {
    if (address == 0 || address % ALIGNMENT_BYTES != 0) {
      throw new IllegalArgumentException(
          "matmul: address of %s is 0x%x: expected a multiple of %d"
              .formatted(name, address, ALIGNMENT_BYTES));
    }
  }

  /** The first failure, after all have been tried; or null. */
  private CudaException destroyAll() {
    CudaException first = null;
    while (!held.isEmpty()) {
      Held next = held.pop();
      try {
        int status = (int) next.destroy.invokeExact(next.object);
        if (status != CUBLAS_STATUS_SUCCESS() && first == null) {
          first = library.failure(next.call, status);
        }
      } catch (Throwable e) {
        throw LibraryFunctions.rethrown(e);
      }
    }
    return first;
  }

  /** Gives everything back; no run may be under way. */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    CudaException failure = destroyAll();
    arena.close();
    if (failure != null) {
      throw failure;
    }
  }
}
