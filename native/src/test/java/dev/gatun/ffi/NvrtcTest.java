package dev.gatun.ffi;

import static dev.gatun.ffi.CudaTestSupport.assertOneLine;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The compiler's calls seen by a stub in its place, and the real one where a machine has it. */
class NvrtcTest {
  /** Its cubin is the list of what it was given; a source is its own log, unless it is "good". */
  private static final String STUB =
      """
      #include <stdio.h>
      #include <stdlib.h>
      #include <string.h>
      #include "nvrtc_minimal.h"

      struct _nvrtcProgram { char text[4096]; char log[4096]; };
      static int live, failAt, calls;
      void stubFail(int at) { failAt = at; calls = 0; }
      int stubLive(void) { return live; }
      #define NOTE() do { if (++calls == failAt) return 11; } while (0)

      const char* nvrtcGetErrorString(nvrtcResult r) {
        return r == 6 ? "NVRTC_ERROR_COMPILATION" : r == 11 ? "NVRTC_ERROR_INTERNAL_ERROR" : "other";
      }
      nvrtcResult nvrtcVersion(int* major, int* minor) { *major = 13; *minor = 1; return 0; }
      nvrtcResult nvrtcGetNumSupportedArchs(int* n) { *n = 3; return 0; }
      nvrtcResult nvrtcGetSupportedArchs(int* a) { a[0] = 90; a[1] = 80; a[2] = 86; return 0; }
      nvrtcResult nvrtcCreateProgram(nvrtcProgram* p, const char* source, const char* name, int n,
                                     const char* const* headers, const char* const* names) {
        NOTE();
        ++live;
        *p = calloc(1, sizeof **p);
        char* at = (*p)->text + sprintf((*p)->text, "%s:%s", name, source);
        for (int i = 0; i < n; ++i) at += sprintf(at, "|%s=%s", names[i], headers[i]);
        strcpy((*p)->log, strncmp(source, "good", 4) ? source : "");
        return 0;
      }
      nvrtcResult nvrtcDestroyProgram(nvrtcProgram* p) { --live; free(*p); *p = 0; NOTE(); return 0; }
      nvrtcResult nvrtcCompileProgram(nvrtcProgram p, int n, const char* const* options) {
        NOTE();
        char* at = p->text + strlen(p->text);
        for (int i = 0; i < n; ++i) at += sprintf(at, " %s", options[i]);
        return p->log[0] ? 6 : 0;
      }
      nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram p, size_t* n) { NOTE(); *n = strlen(p->log) + 1; return 0; }
      nvrtcResult nvrtcGetProgramLog(nvrtcProgram p, char* log) { NOTE(); strcpy(log, p->log); return 0; }
      nvrtcResult nvrtcGetCUBINSize(nvrtcProgram p, size_t* n) { NOTE(); *n = strlen(p->text); return 0; }
      nvrtcResult nvrtcGetCUBIN(nvrtcProgram p, char* out) { NOTE(); memcpy(out, p->text, strlen(p->text)); return 0; }
      nvrtcResult nvrtcGetPTXSize(nvrtcProgram p, size_t* n) { NOTE(); *n = 4; return 0; }
      nvrtcResult nvrtcGetPTX(nvrtcProgram p, char* out) { NOTE(); strcpy(out, "ptx"); return 0; }
      """;

  @TempDir static Path folder;
  private static Nvrtc nvrtc;
  private static SymbolLookup stub;

  @BeforeEach
  void open() throws Exception {
    if (nvrtc == null) {
      CCompiler.require();
      Path file =
          CCompiler.library(
              folder, "libnvrtc.so.13", STUB, "-I", Path.of("headers").toAbsolutePath().toString());
      stub = SymbolLookup.libraryLookup(file, Arena.global());
      nvrtc = Nvrtc.open(new LibraryFinder("NVRTC").path(file.toString()));
    }
    fail(0);
  }

  @AfterEach
  void nothingIsLeft() throws Throwable {
    assertEquals(
        0,
        (int)
            Linker.nativeLinker()
                .downcallHandle(
                    stub.findOrThrow("stubLive"), FunctionDescriptor.of(ValueLayout.JAVA_INT))
                .invokeExact());
  }

  private static void fail(int at) {
    try {
      Linker.nativeLinker()
          .downcallHandle(
              stub.findOrThrow("stubFail"), FunctionDescriptor.ofVoid(ValueLayout.JAVA_INT))
          .invokeExact(at);
    } catch (Throwable e) {
      throw new AssertionError(e);
    }
  }

  private static byte[] compile(String source, String architecture) {
    Map<String, String> headers = new LinkedHashMap<>();
    headers.put("common/a.cuh", "A");
    headers.put("common/b.cuh", "B");
    return nvrtc.compile(source, "op.cu", headers, architecture, List.of("-std=c++17", "-DX=1"));
  }

  private static String failure(String log) {
    NvrtcException e = assertThrows(NvrtcException.class, () -> compile(log, "sm_80"));
    assertOneLine(e.getMessage());
    assertEquals(log, e.log());
    return e.getMessage();
  }

  @Test
  void theCompilerGetsWhatItWasGiven() {
    assertEquals(13_010, nvrtc.version());
    assertEquals(List.of(80, 86, 90), nvrtc.architectures());
    assertEquals(
        "op.cu:good|common/a.cuh=A|common/b.cuh=B -std=c++17 -DX=1 --gpu-architecture=sm_90a",
        new String(compile("good", "sm_90a"), StandardCharsets.UTF_8));
    assertArrayEquals(new byte[] {'p', 't', 'x', 0}, compile("good", "compute_80"));
    assertEquals(
        "x.cu:good --gpu-architecture=sm_80",
        new String(
            nvrtc.compile("good", "x.cu", Map.of(), "sm_80", List.of()), StandardCharsets.UTF_8));
  }

  @Test
  void theFirstErrorIsTheMessageAndTheLogIsKept() {
    assertEquals(
        "op.cu:12: identifier \"y\" is undefined",
        failure(
            """
            op.cu(3): warning #177-D: variable "x" was declared but never referenced

            op.cu(12): error: identifier "y" is undefined
                y = 1;
                ^

            op.cu(13): error: expected a ";"
            2 errors detected in the compilation of "op.cu".
            """));
    assertEquals(
        "common/a.cuh:4: cannot open source file \"cuda_bf16.h\"",
        failure(
            "common/a.cuh(4): catastrophic error: cannot open source file \"cuda_bf16.h\"\n"
                + "1 catastrophic error detected\n"));
    assertEquals(
        "op.cu:7: calling a __host__ function is not allowed",
        failure("op.cu(7): error #20015-D: calling a __host__ function is not allowed\n"));
    assertEquals(
        "op.cu: nvrtc: error: invalid value for --gpu-architecture (-arch)",
        failure("\nnvrtc: error: invalid value for --gpu-architecture (-arch)\n"));
    assertEquals("op.cu: NVRTC_ERROR_COMPILATION", failure("\n \n"));
  }

  @Test
  void everyCallThatFailsIsNamedAndNothingIsLeft() throws Throwable {
    for (String architecture : List.of("sm_80", "compute_80")) {
      int failures = 0;
      for (int at = 1; at <= 4; at++) {
        fail(at);
        NvrtcException e = assertThrows(NvrtcException.class, () -> compile("good", architecture));
        assertOneLine(e.getMessage());
        assertTrue(e.getMessage().contains("op.cu"), e.getMessage());
        assertTrue(e.getMessage().contains("NVRTC_ERROR_INTERNAL_ERROR"), e.getMessage());
        nothingIsLeft();
        failures++;
      }
      assertEquals(4, failures);
      fail(5); // what giving the program back says hides no result
      assertTrue(compile("good", architecture).length > 0);
    }
  }

  @Test
  void anotherLibraryIsRefusedInOneLine(@TempDir Path other) throws Exception {
    Path wrong = CCompiler.library(other, "libother.so", "int nvrtcVersion(void) { return 0; }");
    LibraryException e =
        assertThrows(
            LibraryException.class,
            () -> Nvrtc.open(new LibraryFinder("NVRTC").path(wrong.toString())));
    assertOneLine(e.getMessage());
    assertTrue(e.getMessage().contains("has no nvrtcGetErrorString"), e.getMessage());
  }

  /** Of two libraries that export the same names each gets its own calls. */
  @Test
  void theLibraryThatWasOpenedIsTheOneThatIsCalled(@TempDir Path other) throws Exception {
    Path older =
        CCompiler.library(
            other,
            "libnvrtc.so.12",
            STUB.replace("*major = 13; *minor = 1", "*major = 12; *minor = 8"),
            "-I",
            Path.of("headers").toAbsolutePath().toString());
    assertEquals(12_080, Nvrtc.open(new LibraryFinder("NVRTC").path(older.toString())).version());
    assertEquals(13_010, nvrtc.version());
  }

  @Test
  void theRealOneCompilesWhereItIsFound() {
    Nvrtc real;
    try {
      real = Nvrtc.open(13);
    } catch (LibraryException e) {
      assumeTrue(false, e.getMessage());
      return;
    }
    String source =
        "#include \"common/n.cuh\"\n"
            + "extern \"C\" __global__ void fill(int* x) { x[threadIdx.x] = N; }\n";
    Map<String, String> headers = Map.of("common/n.cuh", "#define N 7\n");
    List<String> options = List.of("-std=c++17");
    byte[] cubin = real.compile(source, "fill.cu", headers, "sm_80", options);
    assertArrayEquals(new byte[] {0x7f, 'E', 'L', 'F'}, Arrays.copyOf(cubin, 4));
    byte[] ptx = real.compile(source, "fill.cu", headers, "compute_80", options);
    assertEquals(0, ptx[ptx.length - 1]);
    assertTrue(new String(ptx, StandardCharsets.UTF_8).contains(".target sm_80"));
    NvrtcException e =
        assertThrows(
            NvrtcException.class,
            () -> real.compile(source, "fill.cu", Map.of(), "sm_80", options));
    assertTrue(e.getMessage().startsWith("fill.cu:1: "), e.getMessage());
    assertTrue(e.getMessage().contains("common/n.cuh"), e.getMessage());
  }
}
