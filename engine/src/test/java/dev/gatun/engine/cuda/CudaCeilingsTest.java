package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.CudaTestSupport.assertOneLine;
import static dev.gatun.engine.cuda.CudaTestSupport.openEmulated;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DeviceException;
import dev.gatun.ffi.CCompiler;
import dev.gatun.ffi.CudaEmulator;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Cooperative launches, clusters, graphs of many nodes: each says whether it was done. */
class CudaCeilingsTest {
  @AfterEach
  void usualOrder() {
    CudaEmulator.setOrder(CudaEmulator.Order.FIFO, 0);
  }

  @ParameterizedTest
  @EnumSource
  void everyCeilingIsMeasured(CudaEmulator.Order order) {
    try (CudaDevice device = openEmulated()) {
      CudaEmulator.setOrder(order, 1);
      Map<String, Double> all = CudaCeilings.measure(device, 1e-3);
      assertEquals(
          List.of(
              "copyGigabytesPerSecond",
              "launchMicros",
              "graphNodeMicros",
              "gridSyncMicros",
              "clusterSyncMicros"),
          List.copyOf(all.keySet()));
      all.forEach((name, value) -> assertTrue(value > 0, name + " " + value));
      assertEquals(0, device.allocatedBytes());
    }
  }

  /** cuBLASLt as far as this needs it; the emulated GPU's memory is the host's. */
  private static final String STUB =
      """
      #include <stdlib.h>
      #include <string.h>
      #include "cublaslt_minimal.h"

      static unsigned long columns;
      static int made(void* out) { return (*(void**)out = malloc(1)) == 0; }
      static int gone(void* object) { free(object); return 0; }
      size_t cublasLtGetVersion(void) { return 130102; }
      const char* cublasLtGetStatusName(cublasStatus_t s) { return "CUBLAS_STATUS_OTHER"; }
      const char* cublasLtGetStatusString(cublasStatus_t s) { return ""; }
      cublasStatus_t cublasLtCreate(cublasLtHandle_t* h) { return made(h); }
      cublasStatus_t cublasLtDestroy(cublasLtHandle_t h) { return gone(h); }
      cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* d, cublasComputeType_t c, cudaDataType_t s) {
        return made(d);
      }
      cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) { return gone(d); }
      cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t a,
                                                    const void* v, size_t n) { return 0; }
      cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* l, cudaDataType_t t, uint64_t r, uint64_t c,
                                                int64_t ld) {
        columns = c;
        return t == CUDA_R_16BF && r == c ? made(l) : 15;
      }
      cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) { return gone(l); }
      cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* p) { return made(p); }
      cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) { return gone(p); }
      cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p,
          cublasLtMatmulPreferenceAttributes_t a, const void* v, size_t n) { return 0; }
      cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t h, cublasLtMatmulDesc_t desc,
          cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
          cublasLtMatmulPreference_t p, int requested, cublasLtMatmulHeuristicResult_t* r, int* returned) {
        memset(r, 0, sizeof *r);
        *returned = 1;
        return 0;
      }
      static float wide(unsigned short v) {
        unsigned bits = (unsigned)v << 16;
        float f;
        memcpy(&f, &bits, 4);
        return f;
      }
      cublasStatus_t cublasLtMatmul(cublasLtHandle_t h, cublasLtMatmulDesc_t desc, const void* alpha, const void* a,
          cublasLtMatrixLayout_t la, const void* b, cublasLtMatrixLayout_t lb, const void* beta, const void* c,
          cublasLtMatrixLayout_t lc, void* d, cublasLtMatrixLayout_t ld, const cublasLtMatmulAlgo_t* algo,
          void* workspace, size_t bytes, cudaStream_t stream) {
        const unsigned short *x = a, *w = b;
        for (unsigned long i = 0; i < columns; ++i) for (unsigned long j = 0; j < columns; ++j) {
          float sum = 0;
          for (unsigned long t = 0; t < columns; ++t) sum += wide(x[t * columns + i]) * wide(w[j * columns + t]);
          unsigned bits;
          memcpy(&bits, &sum, 4);
          ((unsigned short*)d)[j * columns + i] = (unsigned short)(bits >> 16);
        }
        return 0;
      }
      """;

  @Test
  void productsAreThoseOfCublasLt(@TempDir Path folder) throws Exception {
    CCompiler.require();
    Path headers = Path.of("../native/headers").toAbsolutePath();
    Path stub = CCompiler.library(folder, "libcublasLt.so.13", STUB, "-I", headers.toString());
    System.setProperty("gatun.cublaslt", stub.toString());
    try (CudaDevice device = openEmulated()) {
      assertTrue(CudaCeilings.matmulTeraflops(device, 64) > 0);
      // a sum that bf16 cannot hold is not what was asked for
      assertThrows(IllegalStateException.class, () -> CudaCeilings.matmulTeraflops(device, 515));
      System.setProperty("gatun.cublaslt", folder.resolve("none").toString());
      DeviceException e =
          assertThrows(DeviceException.class, () -> CudaCeilings.matmulTeraflops(device, 64));
      assertOneLine(e.getMessage());
      assertTrue(e.getMessage().startsWith("no bf16 product by cuBLASLt: "), e.getMessage());
      assertEquals(0, device.allocatedBytes());
    } finally {
      System.clearProperty("gatun.cublaslt");
    }
  }
}
