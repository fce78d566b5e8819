package dev.gatun.engine.cuda;

import static dev.gatun.engine.cuda.CudaTestSupport.assertOneLine;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.gatun.engine.DeviceException;
import dev.gatun.ffi.CudaContext;
import dev.gatun.ffi.CudaLibrary;
import dev.gatun.ffi.CudaLibrary.Kind;
import dev.gatun.ffi.CudaLibrary.Properties;
import dev.gatun.ffi.NvrtcException;
import dev.gatun.ffi.TestProcesses;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Which code a GPU gets, and NVRTC's part in it, played by a stub: there is no GPU here. */
class CudaKernelsTest {
  private static final Properties A10 = new Properties("A10", 8, 6, 1, 1);
  private static final Properties H100 = new Properties("H100", 9, 0, 1, 1);
  private static final List<Integer> KNOWN = List.of(75, 80, 86, 89, 90, 100);

  /** Its cubin is what it was given, and how often it was asked; "bad" sources do not compile. */
  private static final String STUB =
      """
      #include <stdio.h>
      #include <stdlib.h>
      #include <string.h>
      struct Program { char text[4096]; int bad; };
      static int compiled;
      const char* nvrtcGetErrorString(int r) { return "NVRTC_ERROR_COMPILATION"; }
      int nvrtcVersion(int* major, int* minor) { *major = MAJOR; *minor = 8; return 0; }
      int nvrtcGetNumSupportedArchs(int* n) { *n = 3; return 0; }
      int nvrtcGetSupportedArchs(int* a) { a[0] = 80; a[1] = 86; a[2] = 90; return 0; }
      int nvrtcCreateProgram(struct Program** p, const char* source, const char* name, int n,
                             const char* const* headers, const char* const* names) {
        *p = calloc(1, sizeof **p);
        (*p)->bad = strstr(source, "bad") != 0;
        char* at = (*p)->text + sprintf((*p)->text, "%s", name);
        for (int i = 0; i < n; ++i) at += sprintf(at, "|%s=%.9s", names[i], headers[i]);
        return 0;
      }
      int nvrtcDestroyProgram(struct Program** p) { free(*p); return 0; }
      int nvrtcCompileProgram(struct Program* p, int n, const char* const* options) {
        char* at = p->text + strlen(p->text);
        for (int i = 0; i < n; ++i) at += sprintf(at, " %s", options[i]);
        sprintf(at, " #%d", ++compiled);
        return p->bad ? 6 : 0;
      }
      static const char log[] = "op.cu(2): error: bad is undefined\\n1 error\\n";
      int nvrtcGetProgramLogSize(struct Program* p, size_t* n) { *n = sizeof log; return 0; }
      int nvrtcGetProgramLog(struct Program* p, char* out) { strcpy(out, log); return 0; }
      int nvrtcGetCUBINSize(struct Program* p, size_t* n) { *n = strlen(p->text); return 0; }
      int nvrtcGetCUBIN(struct Program* p, char* out) { memcpy(out, p->text, strlen(p->text)); return 0; }
      int nvrtcGetPTXSize(struct Program* p, size_t* n) { *n = 4; return 0; }
      int nvrtcGetPTX(struct Program* p, char* out) { strcpy(out, "ptx"); return 0; }
      """;

  @TempDir Path folder;
  @TempDir static Path stubs;

  private String cache;
  private Path kernels;

  @BeforeEach
  void prepare() throws Exception {
    cache = System.getProperty("gatun.cache");
    System.setProperty("gatun.cache", folder.resolve("cache").toString());
    kernels = Files.createDirectories(folder.resolve("kernels/common")).getParent();
    Files.writeString(kernels.resolve("common/a.cuh"), "// a\n#include \"common/b.cuh\"\n");
    Files.writeString(kernels.resolve("common/b.cuh"), "// b\n");
    source("op", "#include \"common/a.cuh\"\n  # include \"not_carried.h\"\n");
    source("group_norm", "\n");
  }

  @AfterEach
  void restore() {
    System.clearProperty("gatun.nvrtc");
    System.clearProperty("gatun.cuda.kernels");
    if (cache == null) {
      System.clearProperty("gatun.cache");
    } else {
      System.setProperty("gatun.cache", cache);
    }
  }

  private void source(String name, String text) throws IOException {
    Files.writeString(kernels.resolve(name + ".cu"), text);
  }

  /** Has the property name a stub of NVRTC of that major version. */
  private static void stub(int major) throws Exception {
    Path library = stubs.resolve("libnvrtc.so." + major);
    if (!Files.exists(library)) {
      Path source = Files.writeString(stubs.resolve("stub.c"), STUB);
      TestProcesses.Outcome outcome;
      try {
        outcome =
            TestProcesses.run(
                List.of(
                    "gcc",
                    "-shared",
                    "-fPIC",
                    "-DMAJOR=" + major,
                    source.toString(),
                    "-o",
                    library.toString()),
                stubs.resolve("log"),
                120);
      } catch (IOException e) {
        if ("true".equals(System.getenv("CI"))) {
          fail("no gcc: install it");
        }
        assumeTrue(false, "no gcc: install it to run this test");
        return;
      }
      assertEquals(0, outcome.exitCode(), outcome.output());
    }
    System.setProperty("gatun.nvrtc", library.toString());
  }

  private CudaKernels kernels() {
    return new CudaKernels(Kind.REAL, kernels);
  }

  private static String text(byte[] image) {
    return new String(image, StandardCharsets.UTF_8).replaceAll(" #\\d+$", "");
  }

  private static String refusal(org.junit.jupiter.api.function.Executable work) {
    DeviceException e = assertThrows(DeviceException.class, work);
    assertOneLine(e.getMessage());
    return e.getMessage();
  }

  @Test
  void nvccsCodeIsTakenWhereTheDriverLoadsIt() throws Exception {
    Files.write(kernels.resolve("op.fatbin"), new byte[] {1, 2});
    Files.write(kernels.resolve("group_norm.fatbin"), new byte[] {1, 2});
    assertArrayEquals(new byte[] {1, 2}, kernels().on(A10, 13_000).image("op"));
    assertArrayEquals(new byte[] {1, 2}, kernels().on(A10, 13_020).image("op"));
    assertEquals("built by nvcc", kernels().on(A10, 13_000).describe());
    stub(12);
    CudaKernels older = kernels().on(A10, 12_080);
    assertTrue(text(older.image("op")).startsWith("op.cu|"));
    assertEquals(
        "compiled at first use by NVRTC 12.8 for sm_86, since the driver is for CUDA 12.8 and"
            + " nvcc's code for 13.0",
        older.describe());
    System.setProperty("gatun.kernels.dir", kernels.toString());
    System.setProperty("gatun.cuda.kernels", "nvrtc");
    try {
      assertTrue(
          text(CudaKernels.fromProperty(Kind.REAL).on(A10, 12_080).image("op"))
              .startsWith("op.cu|"));
      assertEquals(
          "compiled at first use by NVRTC 12.8 for sm_86, since gatun.cuda.kernels=nvrtc",
          CudaKernels.fromProperty(Kind.REAL).on(A10, 12_080).describe());
      System.setProperty("gatun.cuda.kernels", "jit");
      assertTrue(refusal(() -> CudaKernels.fromProperty(Kind.REAL)).contains("nvcc or nvrtc"));
    } finally {
      System.clearProperty("gatun.kernels.dir");
    }
  }

  @Test
  void theCompilerGetsSourceHeadersAndOptions() throws Exception {
    stub(12);
    assertEquals(
        "op.cu|common/a.cuh=// a\n#inc|common/b.cuh=// b\n -std=c++17 -lineinfo"
            + " --gpu-architecture=sm_86",
        text(kernels().on(A10, 12_080).image("op")));
    assertTrue(text(kernels().on(H100, 12_000).image("op")).endsWith("=sm_90a"));
  }

  @Test
  void whatWasCompiledIsNotCompiledAgain() throws Exception {
    stub(12);
    byte[] first = kernels().on(A10, 12_080).image("op");
    assertArrayEquals(first, kernels().on(A10, 12_080).image("op"));
    Path stored = onlyFile();
    assertTrue(stored.getFileName().toString().startsWith("op-sm_86-"), stored.toString());

    byte[] bytes = Files.readAllBytes(stored);
    bytes[bytes.length - 1] ^= 1;
    Files.write(stored, bytes);
    byte[] again = kernels().on(A10, 12_080).image("op");
    assertFalse(java.util.Arrays.equals(first, again));
    assertArrayEquals(again, kernels().on(A10, 12_080).image("op"));

    // each of these is another kernel
    Files.writeString(kernels.resolve("common/b.cuh"), "// B\n");
    byte[] header = kernels().on(A10, 12_080).image("op");
    source("op", "#include \"common/a.cuh\"\n//\n");
    byte[] source = kernels().on(A10, 12_080).image("op");
    byte[] architecture = kernels().on(H100, 12_080).image("op");
    assertNotEquals(text(again), text(header));
    assertFalse(java.util.Arrays.equals(header, source));
    assertNotEquals(text(source), text(architecture));
  }

  private Path onlyFile() throws IOException {
    try (var files = Files.list(folder.resolve("cache/kernels"))) {
      List<Path> all = files.toList();
      assertEquals(1, all.size(), all.toString());
      return all.getFirst();
    }
  }

  @Test
  void whatDoesNotCompileIsNamedWithItsLine() throws Exception {
    stub(12);
    source("op", "bad\n");
    CudaKernels on = kernels().on(A10, 12_080);
    DeviceException e = assertThrows(DeviceException.class, () -> on.image("op"));
    assertEquals(
        "the CUDA kernels (op) do not compile for sm_86 with NVRTC 12.8:"
            + " op.cu:2: bad is undefined",
        e.getMessage());
    assertTrue(((NvrtcException) e.getCause()).log().contains("1 error"));
    assertTrue(refusal(() -> on.image("none")).contains("(none) cannot be read"));
    assertFalse(Files.exists(folder.resolve("cache/kernels")));
  }

  @Test
  void withoutNvrtcTheWayOutIsSaid() {
    // no machine has a library of CUDA 0
    String built = refusal(() -> kernels().on(A10, 900).image("op"));
    assertTrue(built.contains("since the driver is for CUDA 0.90"), built);
    assertTrue(built.contains("pip install nvidia-cuda-nvrtc-cu12"), built);
    assertTrue(built.contains("NVRTC 0: not found"), built);
    assertTrue(built.contains("or install driver 580 or newer"), built);
    String unbuilt = refusal(() -> kernels().image("op"));
    assertTrue(unbuilt.contains("install nvcc of CUDA 13"), unbuilt);
  }

  @Test
  void theArchitectureFollowsCudasRules() {
    assertEquals("sm_86", CudaKernels.architecture(13_010, KNOWN, A10, 13_000));
    assertEquals("sm_90a", CudaKernels.architecture(12_080, KNOWN, H100, 13_000));
    // code for 8.6 runs on 8.7; what is for 9.0a runs on nothing else
    assertEquals("sm_86", CudaKernels.architecture(13_000, KNOWN, gpu(8, 7), 13_000));
    assertEquals("sm_90", CudaKernels.architecture(13_000, KNOWN, gpu(9, 1), 13_000));
    assertEquals("sm_100", CudaKernels.architecture(13_000, KNOWN, gpu(10, 3), 13_000));
    // a GPU newer than NVRTC: PTX, from an NVRTC that is no newer than the driver
    assertEquals("compute_100", CudaKernels.architecture(13_000, KNOWN, gpu(12, 0), 13_000));
    assertEquals(
        "compute_90", CudaKernels.architecture(12_040, List.of(80, 90), gpu(12, 0), 12_080));
    String newer = refusal(() -> CudaKernels.architecture(13_010, KNOWN, gpu(12, 0), 13_000));
    assertTrue(newer.contains("NVRTC 13.1 makes no code for GPU"), newer);
    String major = refusal(() -> CudaKernels.architecture(13_000, KNOWN, A10, 12_080));
    assertTrue(major.contains("NVRTC 13.0 is too new for the driver for CUDA 12.8"), major);
    refusal(() -> CudaKernels.architecture(13_000, KNOWN, gpu(7, 0), 13_000));
  }

  private static Properties gpu(int major, int minor) {
    return new Properties("GPU", major, minor, 1, 1);
  }

  @Test
  void codeThatTheDriverDoesNotTakeIsNamed() throws Exception {
    CudaTestSupport.requireEmulator();
    CudaLibrary library = CudaLibrary.open(Kind.EMULATED);
    // a fatbin's magic number
    Files.write(kernels.resolve("op.host.so"), new byte[] {0x50, (byte) 0xed, 0x55, (byte) 0xba});
    try (CudaContext context = CudaContext.retain(library, 0)) {
      CudaKernels on = new CudaKernels(Kind.EMULATED, kernels).on(gpu(12, 1), 13_000);
      KernelImageException e =
          assertThrows(KernelImageException.class, () -> on.load(context, "op"));
      assertOneLine(e.getMessage());
      for (String part :
          List.of("(op)", "compute capability 12.1", "CUDA_ERROR_NO_BINARY_FOR_GPU", "install")) {
        assertTrue(e.getMessage().contains(part), e.getMessage());
      }
      CudaKernels built = new CudaKernels(Kind.EMULATED, null).on(gpu(9, 0), 13_000);
      built.load(context, "group_norm").close();
      assertEquals("built by g++", built.describe());
    }
  }
}
