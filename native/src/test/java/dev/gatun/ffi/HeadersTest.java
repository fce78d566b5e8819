package dev.gatun.ffi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.gatun.ffi.cublaslt.CublasLtLibrary;
import dev.gatun.ffi.cublaslt.cublasLtMatmulAlgo_t;
import dev.gatun.ffi.cublaslt.cublasLtMatmulHeuristicResult_t;
import dev.gatun.ffi.cuda.CUlaunchAttributeValue_union;
import dev.gatun.ffi.cuda.CUlaunchAttribute_st;
import dev.gatun.ffi.cuda.CUlaunchConfig_st;
import dev.gatun.ffi.cuda.CUtensorMap_st;
import dev.gatun.ffi.cuda.CudaDriver;
import dev.gatun.ffi.nvrtc.NvrtcLibrary;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Bindings against the numbers they are known to have, and against NVIDIA's headers where a machine
 * has them; {@code -Dgatun.cuda.include=FOLDER} names further ones.
 */
class HeadersTest {
  private static final Path HEADERS = Path.of("headers").toAbsolutePath();

  @TempDir Path folder;

  /** What C says of the driver's structures: CUDA 13.0, x86-64. */
  private static Map<String, Long> driverLayout() {
    Map<String, Long> all = new LinkedHashMap<>();
    all.put("sizeof(CUlaunchConfig)", 56L);
    all.put("offsetof(CUlaunchConfig, gridDimX)", 0L);
    all.put("offsetof(CUlaunchConfig, blockDimX)", 12L);
    all.put("offsetof(CUlaunchConfig, sharedMemBytes)", 24L);
    all.put("offsetof(CUlaunchConfig, hStream)", 32L);
    all.put("offsetof(CUlaunchConfig, attrs)", 40L);
    all.put("offsetof(CUlaunchConfig, numAttrs)", 48L);
    all.put("sizeof(CUlaunchAttribute)", 72L);
    all.put("offsetof(CUlaunchAttribute, id)", 0L);
    all.put("offsetof(CUlaunchAttribute, value)", 8L);
    all.put("sizeof(CUlaunchAttributeValue)", 64L);
    all.put("offsetof(CUlaunchAttributeValue, clusterDim.x)", 0L);
    all.put("offsetof(CUlaunchAttributeValue, clusterDim.z)", 8L);
    all.put("sizeof(CUtensorMap)", 128L);
    all.put("_Alignof(CUtensorMap)", 128L);
    return all;
  }

  private static Map<String, Long> cublasLtLayout() {
    Map<String, Long> all = new LinkedHashMap<>();
    all.put("sizeof(cublasLtMatmulAlgo_t)", 64L);
    all.put("sizeof(cublasLtMatmulHeuristicResult_t)", 96L);
    all.put("offsetof(cublasLtMatmulHeuristicResult_t, algo)", 0L);
    all.put("offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize)", 64L);
    all.put("offsetof(cublasLtMatmulHeuristicResult_t, state)", 72L);
    all.put("offsetof(cublasLtMatmulHeuristicResult_t, wavesCount)", 76L);
    return all;
  }

  @Test
  void bindingsHaveTheKnownLayout() {
    Map<String, Long> bound = new LinkedHashMap<>();
    bound.put("sizeof(CUlaunchConfig)", CUlaunchConfig_st.sizeof());
    bound.put("offsetof(CUlaunchConfig, gridDimX)", CUlaunchConfig_st.gridDimX$offset());
    bound.put("offsetof(CUlaunchConfig, blockDimX)", CUlaunchConfig_st.blockDimX$offset());
    bound.put(
        "offsetof(CUlaunchConfig, sharedMemBytes)", CUlaunchConfig_st.sharedMemBytes$offset());
    bound.put("offsetof(CUlaunchConfig, hStream)", CUlaunchConfig_st.hStream$offset());
    bound.put("offsetof(CUlaunchConfig, attrs)", CUlaunchConfig_st.attrs$offset());
    bound.put("offsetof(CUlaunchConfig, numAttrs)", CUlaunchConfig_st.numAttrs$offset());
    bound.put("sizeof(CUlaunchAttribute)", CUlaunchAttribute_st.sizeof());
    bound.put("offsetof(CUlaunchAttribute, id)", CUlaunchAttribute_st.id$offset());
    bound.put("offsetof(CUlaunchAttribute, value)", CUlaunchAttribute_st.value$offset());
    bound.put("sizeof(CUlaunchAttributeValue)", CUlaunchAttributeValue_union.sizeof());
    bound.put(
        "offsetof(CUlaunchAttributeValue, clusterDim.x)",
        CUlaunchAttributeValue_union.clusterDim$offset()
            + CUlaunchAttributeValue_union.clusterDim.x$offset());
    bound.put(
        "offsetof(CUlaunchAttributeValue, clusterDim.z)",
        CUlaunchAttributeValue_union.clusterDim$offset()
            + CUlaunchAttributeValue_union.clusterDim.z$offset());
    bound.put("sizeof(CUtensorMap)", CUtensorMap_st.sizeof());
    bound.put("_Alignof(CUtensorMap)", CudaTensorMap.ALIGNMENT);
    assertEquals(driverLayout(), bound);

    Map<String, Long> lt = new LinkedHashMap<>();
    lt.put("sizeof(cublasLtMatmulAlgo_t)", cublasLtMatmulAlgo_t.sizeof());
    lt.put("sizeof(cublasLtMatmulHeuristicResult_t)", cublasLtMatmulHeuristicResult_t.sizeof());
    lt.put(
        "offsetof(cublasLtMatmulHeuristicResult_t, algo)",
        cublasLtMatmulHeuristicResult_t.algo$offset());
    lt.put(
        "offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize)",
        cublasLtMatmulHeuristicResult_t.workspaceSize$offset());
    lt.put(
        "offsetof(cublasLtMatmulHeuristicResult_t, state)",
        cublasLtMatmulHeuristicResult_t.state$offset());
    lt.put(
        "offsetof(cublasLtMatmulHeuristicResult_t, wavesCount)",
        cublasLtMatmulHeuristicResult_t.wavesCount$offset());
    assertEquals(cublasLtLayout(), lt);
  }

  @Test
  void theDriversHeaderAgrees() throws Exception {
    // of an older toolkit the tensor map is aligned to 64 bytes: a multiple does as well
    Map<String, Long> layout = driverLayout();
    layout.remove("_Alignof(CUtensorMap)");
    layout.put(CudaTensorMap.ALIGNMENT + " % _Alignof(CUtensorMap)", 0L);
    agrees("cuda.h", "", layout, constants("cuda", CudaDriver.class), "");
  }

  @Test
  void nvrtcsHeaderAgrees() throws Exception {
    agrees(
        "nvrtc.h",
        "nvrtc_minimal.h",
        Map.of(),
        constants("nvrtc", NvrtcLibrary.class),
        "nvrtcResult nvrtcVersion(int*, long*);");
  }

  @Test
  void cublasLtsHeaderAgrees() throws Exception {
    agrees(
        "cublasLt.h",
        "cublaslt_minimal.h",
        cublasLtLayout(),
        constants("cublaslt", CublasLtLibrary.class),
        "cublasStatus_t cublasLtCreate(cublasLtHandle_t);");
  }

  /**
   * Compiles our declarations after NVIDIA's: one that differs is a conflict.
   *
   * @param wrong a declaration that must not compile, to know that the check can fail
   */
  private void agrees(
      String header, String ours, Map<String, Long> layout, Map<String, Long> values, String wrong)
      throws Exception {
    List<Path> includes = new ArrayList<>(includes());
    Path first =
        includes.stream().filter(f -> Files.isReadable(f.resolve(header))).findFirst().orElse(null);
    assumeTrue(first != null, "no " + header + " here: nothing to compare with");
    CCompiler.require();
    includes.remove(first);
    includes.addFirst(first);
    includes.addFirst(HEADERS);
    StringBuilder source = new StringBuilder("#include <stddef.h>\n#include <" + header + ">\n");
    if (!ours.isEmpty()) {
      source.append("#define GATUN_BESIDE_THE_REAL_HEADER\n#include <" + ours + ">\n");
    }
    assertTrue(!values.isEmpty());
    layout.forEach((what, value) -> source.append(claim(what, value)));
    values.forEach((what, value) -> source.append(claim(what, value)));
    TestProcesses.Outcome outcome = CCompiler.check(folder, source.toString(), includes);
    assertEquals(0, outcome.exitCode(), first + "\n" + outcome.output());
    String constant = values.keySet().iterator().next();
    for (String bad : List.of(wrong, claim(constant, values.get(constant) + 1))) {
      if (!bad.isEmpty()) {
        outcome = CCompiler.check(folder, source + bad + "\n", includes);
        assertNotEquals(0, outcome.exitCode(), bad);
      }
    }
  }

  private static String claim(String what, long value) {
    return "_Static_assert(" + what + " == " + value + ", \"" + what + "\");\n";
  }

  /** The constants bound, with the values that the bindings give them. */
  private static Map<String, Long> constants(String includes, Class<?> bindings) throws Exception {
    Map<String, Long> all = new LinkedHashMap<>();
    for (String line : Files.readAllLines(HEADERS.resolve(includes + ".includes"))) {
      if (line.startsWith("--include-constant ")) {
        String name = line.substring(line.indexOf(' ') + 1);
        all.put(name, ((Number) bindings.getMethod(name).invoke(null)).longValue());
      }
    }
    return all;
  }

  /** Where toolkits and wheels have headers. */
  private static List<Path> includes() throws Exception {
    List<Path> all = new ArrayList<>();
    String named = System.getProperty("gatun.cuda.include");
    if (named != null) {
      all.add(Path.of(named));
    }
    for (String variable : List.of("CUDA_PATH", "CUDA_HOME")) {
      if (System.getenv(variable) != null) {
        all.add(Path.of(System.getenv(variable), "include"));
      }
    }
    all.add(Path.of("/usr/local/cuda/include"));
    for (Path packages : PythonPackages.folders()) {
      for (String wheel : List.of("cu13", "cublas", "cuda_nvrtc", "cuda_runtime")) {
        all.add(packages.resolve("nvidia").resolve(wheel).resolve("include"));
      }
    }
    all.removeIf(include -> !Files.isDirectory(include));
    return all;
  }
}
