package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.gatun.ffi.LibraryException;
import dev.gatun.ffi.Nvrtc;
import dev.gatun.ffi.NvrtcException;
import dev.gatun.kernels.KernelModule;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

/**
 * Every kernel compiles with NVRTC and the headers that the jar carries, no others. Needs no GPU,
 * but NVRTC: a machine's own, or that of {@code mvn -Pcuda-redist}.
 */
class NvrtcKernelsTest {
  private static final List<String> ARCHITECTURES = List.of("sm_80", "sm_86", "sm_89", "sm_90a");
  private static final List<String> OPTIONS = List.of("-std=c++17", "-lineinfo");

  /** What KERNEL(name, threads) leaves in a host image's symbols; the number is the length. */
  private static final Pattern KERNEL = Pattern.compile("thunkIXadL_Z(\\d+)([a-z]\\w*)");

  private static Nvrtc nvrtc;

  @BeforeAll
  static void open() {
    try {
      nvrtc = Nvrtc.open(13);
    } catch (LibraryException e) {
      if (Boolean.getBoolean("gatun.nvrtc.required")) {
        fail(e.getMessage());
      }
      assumeTrue(false, "no NVRTC here; mvn -Pcuda-redist brings it");
    }
  }

  private static List<String> modules() throws Exception {
    Path folder = Path.of("").toAbsolutePath();
    while (folder != null && !Files.isDirectory(folder.resolve("kernels/src/main/cuda"))) {
      folder = folder.getParent();
    }
    try (Stream<Path> files = Files.walk(folder.resolve("kernels/src/main/cuda"))) {
      return files
          .map(file -> file.getFileName().toString())
          .filter(name -> name.endsWith(".cu"))
          .map(name -> name.substring(0, name.length() - 3))
          .sorted()
          .toList();
    }
  }

  /** The module's kernels, by what the build for the emulator made of them. */
  private static Set<String> kernels(KernelModule module) {
    byte[] image = module.hostImage().orElseThrow();
    Matcher found = KERNEL.matcher(new String(image, StandardCharsets.ISO_8859_1));
    Set<String> names = new TreeSet<>();
    while (found.find()) {
      names.add(found.group(2).substring(0, Integer.parseInt(found.group(1))));
    }
    assertFalse(names.isEmpty(), module.name() + " has no kernel");
    return names;
  }

  @Test
  void everyKernelCompilesForEveryGpu() throws Exception {
    System.out.println(nvrtc.library() + ", version " + nvrtc.version());
    List<String> modules = modules();
    assertFalse(modules.isEmpty());
    for (String name : modules) {
      KernelModule module = KernelModule.of(name);
      Map<String, String> headers = module.headers();
      for (String architecture : ARCHITECTURES) {
        long start = System.nanoTime();
        byte[] cubin = nvrtc.compile(module.source(), name + ".cu", headers, architecture, OPTIONS);
        System.out.printf(
            "%s %s: %,d bytes, %,d ms%n",
            name, architecture, cubin.length, (System.nanoTime() - start) / 1_000_000);
        assertArrayEquals(new byte[] {0x7f, 'E', 'L', 'F'}, Arrays.copyOf(cubin, 4));
        String text = new String(cubin, StandardCharsets.ISO_8859_1);
        for (String kernel : kernels(module)) {
          assertTrue(text.contains(".text." + kernel), name + ": " + kernel);
        }
      }
    }
  }

  /** What the test above would say of a kernel that needs a toolkit. */
  @Test
  void aToolkitsHeaderIsNotThere() throws Exception {
    String name = modules().getFirst();
    KernelModule module = KernelModule.of(name);
    NvrtcException e =
        assertThrows(
            NvrtcException.class,
            () ->
                nvrtc.compile(
                    "#include <cuda_bf16.h>\n" + module.source(),
                    name + ".cu",
                    module.headers(),
                    "sm_80",
                    OPTIONS));
    assertTrue(e.getMessage().startsWith(name + ".cu:1: "), e.getMessage());
    assertTrue(e.getMessage().contains("cuda_bf16.h"), e.getMessage());
  }
}
