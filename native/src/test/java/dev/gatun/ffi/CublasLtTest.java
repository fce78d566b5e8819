package dev.gatun.ffi;

import static dev.gatun.ffi.CudaTestSupport.assertOneLine;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.ffi.CublasLtMatmul.Spec;
import dev.gatun.ffi.CublasLtMatmul.Type;
import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * The calls of cuBLASLt, their order, arguments and what is given back when one fails, seen by a
 * stub in its place. The stub multiplies, by the rules of the real one, on the host.
 */
class CublasLtTest {
  /** Each object notes what it is given; the n-th call from now may be made to fail. */
  private static final String STUB =
      """
      #include <stdio.h>
      #include <stdlib.h>
      #include <string.h>
      #include "cublaslt_minimal.h"

      struct gatunMatmulDesc { int transA, transB; unsigned epilogue; const float* bias; };
      struct gatunMatrixLayout { int type; uint64_t rows, columns; int64_t ld; };
      struct gatunMatmulPreference { uint64_t workspace; unsigned alignment[4]; };
      static int live, failAt, calls, found = 1;
      static cublasStatus_t resultState;
      static size_t needed = 4096;
      static char log[1 << 16];

      void stubReset(int at, int results, int state, size_t workspace) {
        failAt = at; calls = 0; found = results; resultState = state; needed = workspace; log[0] = 0;
      }
      int stubLive(void) { return live; }
      const char* stubLog(void) { return log; }
      static int note(const char* line) {
        strcat(strcat(log, line), "\\n");
        return ++calls == failAt ? 14 : 0;
      }
      #define NOTE(...) do { char line[256]; snprintf(line, sizeof line, __VA_ARGS__); \\
          int status = note(line); if (status) return status; } while (0)

      size_t cublasLtGetVersion(void) { return 130102; }
      const char* cublasLtGetStatusName(cublasStatus_t s) {
        return s == 14 ? "CUBLAS_STATUS_INTERNAL_ERROR" : s == 15 ? "CUBLAS_STATUS_NOT_SUPPORTED" :
               s == 3 ? "CUBLAS_STATUS_ALLOC_FAILED" : "CUBLAS_STATUS_OTHER";
      }
      const char* cublasLtGetStatusString(cublasStatus_t s) { return s == 14 ? "an internal operation failed" : ""; }
      cublasStatus_t cublasLtCreate(cublasLtHandle_t* h) {
        NOTE("create"); ++live; *h = malloc(1); return 0;
      }
      cublasStatus_t cublasLtDestroy(cublasLtHandle_t h) { --live; free(h); NOTE("destroy"); return 0; }
      cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* d, cublasComputeType_t c, cudaDataType_t s) {
        NOTE("desc compute %d scale %d", c, s); ++live; *d = calloc(1, sizeof **d); (*d)->epilogue = 1; return 0;
      }
      cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) { --live; free(d); NOTE("desc destroy"); return 0; }
      cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t a,
                                                    const void* v, size_t n) {
        NOTE("desc %d of %zu bytes", a, n);
        memcpy(a == 3 ? (void*)&d->transA : a == 4 ? (void*)&d->transB : a == 7 ? (void*)&d->epilogue : (void*)&d->bias, v, n);
        return 0;
      }
      cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* l, cudaDataType_t t, uint64_t r, uint64_t c, int64_t ld) {
        NOTE("layout type %d %lux%lu ld %ld", t, r, c, ld);
        ++live; *l = malloc(sizeof **l); **l = (struct gatunMatrixLayout){t, r, c, ld}; return 0;
      }
      cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) { --live; free(l); NOTE("layout destroy"); return 0; }
      cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l, cublasLtMatrixLayoutAttribute_t a,
                                                      const void* v, size_t n) { NOTE("layout set"); return 0; }
      cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* p) {
        NOTE("preference"); ++live; *p = calloc(1, sizeof **p); return 0;
      }
      cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) { --live; free(p); NOTE("preference destroy"); return 0; }
      cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t a,
                                                          const void* v, size_t n) {
        NOTE("preference %d of %zu bytes", a, n);
        memcpy(a == 1 ? (void*)&p->workspace : (void*)&p->alignment[a - 5], v, n);
        return 0;
      }
      cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t h, cublasLtMatmulDesc_t desc, cublasLtMatrixLayout_t a,
          cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d, cublasLtMatmulPreference_t p,
          int requested, cublasLtMatmulHeuristicResult_t* r, int* returned) {
        NOTE("heuristic %d of at most %lu bytes, aligned %u %u %u %u", requested, p->workspace,
             p->alignment[0], p->alignment[1], p->alignment[2], p->alignment[3]);
        memset(r, 0, sizeof *r);
        for (int i = 0; i < 8; ++i) r->algo.data[i] = 100 + i;
        r->workspaceSize = needed;
        r->state = resultState;
        *returned = found;
        return 0;
      }
      static float element(const float* m, cublasLtMatrixLayout_t l, int transposed, uint64_t row, uint64_t column) {
        return transposed ? m[row * l->ld + column] : m[column * l->ld + row];
      }
      cublasStatus_t cublasLtMatmul(cublasLtHandle_t h, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
          cublasLtMatrixLayout_t la, const void* b, cublasLtMatrixLayout_t lb, const void* beta, const void* c,
          cublasLtMatrixLayout_t lc, void* d, cublasLtMatrixLayout_t ld, const cublasLtMatmulAlgo_t* algo,
          void* workspace, size_t bytes, cudaStream_t stream) {
        NOTE("matmul algo %lu..%lu workspace %p of %zu stream %p alpha %g beta %g", algo->data[0], algo->data[7],
             workspace, bytes, (void*)stream, *(const float*)alpha, *(const float*)beta);
        if (la->type != 0) return 0;
        uint64_t m = desc->transA ? la->columns : la->rows, k = desc->transA ? la->rows : la->columns;
        uint64_t n = desc->transB ? lb->rows : lb->columns, k2 = desc->transB ? lb->columns : lb->rows;
        if (m != ld->rows || n != ld->columns || k != k2) return 7;
        for (uint64_t j = 0; j < n; ++j) for (uint64_t i = 0; i < m; ++i) {
          float sum = 0;
          for (uint64_t t = 0; t < k; ++t) sum += element(a, la, desc->transA, i, t) * element(b, lb, desc->transB, t, j);
          sum = *(const float*)alpha * sum + *(const float*)beta * ((const float*)c)[j * lc->ld + i];
          ((float*)d)[j * ld->ld + i] = sum + (desc->epilogue == 4 ? desc->bias[i] : 0);
        }
        return 0;
      }
      """;

  private static final MemorySegment STREAM = MemorySegment.ofAddress(0xabc0);

  @TempDir static Path folder;
  private static Path file;
  private static SymbolLookup stub;

  @BeforeAll
  static void build() throws Exception {
    CCompiler.require();
    file =
        CCompiler.library(
            folder,
            "libcublasLt.so.13",
            STUB,
            "-I",
            Path.of("headers").toAbsolutePath().toString());
    stub = SymbolLookup.libraryLookup(file, Arena.global());
  }

  private static CublasLt open() {
    return CublasLt.open(new LibraryFinder("cuBLASLt").path(file.toString()));
  }

  private static void reset(int failAt, int results, int state, long workspace) {
    call(
        "stubReset",
        FunctionDescriptor.ofVoid(
            ValueLayout.JAVA_INT,
            ValueLayout.JAVA_INT,
            ValueLayout.JAVA_INT,
            ValueLayout.JAVA_LONG),
        failAt,
        results,
        state,
        workspace);
  }

  private static int live() {
    return (int) call("stubLive", FunctionDescriptor.of(ValueLayout.JAVA_INT));
  }

  private static List<String> log() {
    MemorySegment text =
        (MemorySegment) call("stubLog", FunctionDescriptor.of(ValueLayout.ADDRESS));
    return text.reinterpret(1 << 16).getString(0).lines().toList();
  }

  private static Object call(String name, FunctionDescriptor type, Object... arguments) {
    try {
      return Linker.nativeLinker()
          .downcallHandle(stub.findOrThrow(name), type)
          .invokeWithArguments(arguments);
    } catch (Throwable e) {
      throw new AssertionError(e);
    }
  }

  @BeforeEach
  void fresh() {
    reset(0, 1, 0, 4096);
  }

  @AfterEach
  void nothingIsLeft() {
    assertEquals(0, live());
  }

  @Test
  void callsComeInOrderWithTheirArguments() {
    try (CublasLt lt = open()) {
      assertEquals("13.1.2", lt.version());
      assertEquals(file, lt.library().file());
      Spec spec = new Spec(Type.BF16, 48, 64, 96, true, true, true);
      try (CublasLtMatmul matmul = new CublasLtMatmul(lt, spec, 0x5550, 1 << 20)) {
        assertEquals(4096, matmul.workspaceBytes());
        matmul.run(STREAM, 0x1000, 0x2000, 0x3000, 0x4000);
      }
    }
    assertEquals(
        List.of(
            "create",
            "desc compute 68 scale 0",
            "desc 3 of 4 bytes",
            "desc 4 of 4 bytes",
            "desc 7 of 4 bytes",
            "desc 8 of 8 bytes",
            "layout type 14 96x64 ld 96",
            "layout type 14 48x96 ld 48",
            "layout type 14 64x48 ld 64",
            "preference",
            "preference 1 of 8 bytes",
            "preference 5 of 4 bytes",
            "preference 6 of 4 bytes",
            "preference 7 of 4 bytes",
            "preference 8 of 4 bytes",
            "heuristic 1 of at most 1048576 bytes, aligned 16 16 16 16",
            "matmul algo 100..107 workspace 0x4000 of 4096 stream 0xabc0 alpha 1 beta 1",
            "preference destroy",
            "layout destroy",
            "layout destroy",
            "layout destroy",
            "desc destroy",
            "destroy"),
        log());
  }

  /** Every way of laying x and w, with and without a bias and what was there. */
  @Test
  void rowsAreRowsWhicheverWayTheMatricesLie() {
    int m = 3;
    int n = 5;
    int k = 4;
    for (int way = 0; way < 16; way++) {
      boolean transposeX = (way & 1) != 0;
      boolean transposeW = (way & 2) != 0;
      boolean biased = (way & 4) != 0;
      boolean accumulate = (way & 8) != 0;
      try (Arena arena = Arena.ofConfined();
          CublasLt lt = open()) {
        MemorySegment x = arena.allocate(4L * m * k, 16);
        MemorySegment w = arena.allocate(4L * k * n, 16);
        MemorySegment y = arena.allocate(4L * m * n, 16);
        MemorySegment bias = arena.allocate(4L * n, 16);
        for (int i = 0; i < m * k; i++) {
          x.setAtIndex(ValueLayout.JAVA_FLOAT, i, i + 1);
        }
        for (int i = 0; i < k * n; i++) {
          w.setAtIndex(ValueLayout.JAVA_FLOAT, i, 2 * i - 7);
        }
        for (int i = 0; i < m * n; i++) {
          y.setAtIndex(ValueLayout.JAVA_FLOAT, i, 1000 * i);
        }
        for (int i = 0; i < n; i++) {
          bias.setAtIndex(ValueLayout.JAVA_FLOAT, i, 50 * i);
        }
        reset(0, 1, 0, 0);
        Spec spec = new Spec(Type.F32, m, n, k, transposeX, transposeW, accumulate);
        try (CublasLtMatmul matmul = new CublasLtMatmul(lt, spec, biased ? bias.address() : 0, 0)) {
          assertEquals(0, matmul.workspaceBytes());
          matmul.run(STREAM, x.address(), w.address(), y.address(), 0);
        }
        for (int r = 0; r < m; r++) {
          for (int c = 0; c < n; c++) {
            float sum = (accumulate ? 1000 * (r * n + c) : 0) + (biased ? 50 * c : 0);
            for (int t = 0; t < k; t++) {
              sum +=
                  x.getAtIndex(ValueLayout.JAVA_FLOAT, transposeX ? t * m + r : r * k + t)
                      * w.getAtIndex(ValueLayout.JAVA_FLOAT, transposeW ? c * k + t : t * n + c);
            }
            assertEquals(
                sum, y.getAtIndex(ValueLayout.JAVA_FLOAT, r * n + c), spec + " at " + r + "," + c);
          }
        }
      }
    }
  }

  @Test
  void everyCallThatFailsIsNamedAndNothingIsLeft() {
    // the stub does not touch bf16 matrices, so that addresses may be made up
    Spec spec = new Spec(Type.BF16, 16, 16, 16, false, false, false);
    int failures = 0;
    boolean through = false;
    for (int at = 1; !through; at++) {
      reset(at, 1, 0, 4096);
      try (CublasLt lt = open();
          CublasLtMatmul matmul = new CublasLtMatmul(lt, spec, 0x10, 0)) {
        matmul.run(STREAM, 0x1000, 0x2000, 0x3000, 0x4000);
      } catch (CudaException e) {
        failures++;
        assertOneLine(e.getMessage());
        assertTrue(e.call().startsWith("cublasLt"), e.getMessage());
        assertTrue(
            e.getMessage().endsWith("CUBLAS_STATUS_INTERNAL_ERROR (an internal operation failed)"),
            e.getMessage());
        assertEquals(0, e.getSuppressed().length);
      }
      assertEquals(0, live(), "after call " + at + " failed: " + log());
      through = log().size() < at;
    }
    assertEquals(23, failures);
  }

  @Test
  void whatItCannotDoIsSaid() {
    Spec spec = new Spec(Type.BF16, 1, 2, 3, false, false, false);
    try (CublasLt lt = open()) {
      reset(0, 0, 0, 0);
      CudaException none =
          assertThrows(CudaException.class, () -> new CublasLtMatmul(lt, spec, 0, 0));
      assertOneLine(none.getMessage());
      assertEquals("CUBLAS_STATUS_NOT_SUPPORTED", none.name());
      assertTrue(none.getMessage().contains("m=1, n=2, k=3"), none.getMessage());
      reset(0, 1, 3, 0);
      CudaException state =
          assertThrows(CudaException.class, () -> new CublasLtMatmul(lt, spec, 0, 0));
      assertTrue(state.isOutOfMemory(), state.getMessage());
      assertFalse(state.isFatal());
    }
  }

  @Test
  void argumentsAreCheckedBeforeAnyCall() {
    assertThrows(
        IllegalArgumentException.class, () -> new Spec(Type.F32, 0, 1, 1, false, false, false));
    Spec spec = new Spec(Type.F32, 4, 4, 4, false, false, false);
    CublasLt lt = open();
    assertThrows(IllegalArgumentException.class, () -> new CublasLtMatmul(lt, spec, 8, 0));
    assertThrows(IllegalArgumentException.class, () -> new CublasLtMatmul(lt, spec, 0, -1));
    CublasLtMatmul matmul = new CublasLtMatmul(lt, spec, 0, 0);
    int before = log().size();
    long[][] bad = {{0, 16, 16, 16}, {16, 24, 16, 16}, {16, 16, 8, 16}, {16, 16, 16, 0}};
    for (long[] a : bad) {
      IllegalArgumentException e =
          assertThrows(
              IllegalArgumentException.class, () -> matmul.run(STREAM, a[0], a[1], a[2], a[3]));
      assertOneLine(e.getMessage());
    }
    assertEquals(before, log().size());
    matmul.close();
    matmul.close();
    assertThrows(IllegalStateException.class, () -> matmul.run(STREAM, 16, 16, 16, 16));
    lt.close();
    lt.close();
    assertThrows(IllegalStateException.class, () -> new CublasLtMatmul(lt, spec, 0, 0));
  }

  @Test
  void anotherLibraryIsRefusedInOneLine(@TempDir Path other) throws Exception {
    Path wrong =
        CCompiler.library(other, "libother.so", "int cublasLtGetVersion(void) { return 1; }");
    LibraryException e =
        assertThrows(
            LibraryException.class,
            () -> CublasLt.open(new LibraryFinder("cuBLASLt").path(wrong.toString())));
    assertOneLine(e.getMessage());
    assertTrue(e.getMessage().contains("has no cublasLtGetStatusName"), e.getMessage());
  }
}
