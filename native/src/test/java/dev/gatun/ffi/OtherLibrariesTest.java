package dev.gatun.ffi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.SymbolLookup;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A process may hold other libraries that export the same names, such as PyTorch's OpenMP. */
class OtherLibrariesTest {
  @TempDir Path folder;

  @Test
  void threadsAreSetInTheOpenMpThatOneDnnUses() throws Exception {
    assertEquals("oneDNN's 5, others' unchanged", child(List.of(), "after"));
  }

  @Test
  void aLibraryThatTheBindingsWouldNotUseIsRefusedInOneLine() throws Exception {
    String first = child(List.of(), "before");
    assertTrue(first.contains("is not the first libdnnl.so.3 of this process"), first);
    Path gomp = Dnnl.library().file().resolveSibling("libgomp.so.1");
    String other = child(List.of("-Dgatun.dnnl=" + gomp), "after");
    assertTrue(other.contains("is not a oneDNN built for OpenMP"), other);
    for (String line : List.of(first, other)) {
      CudaTestSupport.assertOneLine(line);
    }
  }

  private String child(List<String> options, String when) throws Exception {
    List<String> all = new ArrayList<>(options);
    all.add("--enable-native-access=ALL-UNNAMED");
    Path oneDnn = Dnnl.library().file();
    return TestProcesses.java(
            Beside.class, all, folder.resolve("log"), folder.toString(), when, oneDnn.toString())
        .output()
        .strip();
  }

  /** Opens oneDNN after another oneDNN, or before eight more libraries of OpenMP. */
  static final class Beside {
    public static void main(String[] arguments) throws Throwable {
      Path folder = Path.of(arguments[0]);
      Path oneDnn = Path.of(arguments[2]);
      try {
        if (arguments[1].equals("before")) {
          Files.copy(oneDnn.resolveSibling("libgomp.so.1"), folder.resolve("libgomp.so.1"));
          System.load(Files.copy(oneDnn, folder.resolve("other.so")).toString());
        }
        Path own = Dnnl.library().file().resolveSibling("libgomp.so.1");
        int before = threads(own);
        List<Path> others = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
          others.add(Files.copy(own, folder.resolve("libgomp-" + i + ".so")));
          System.load(others.getLast().toString());
        }
        Dnnl.useThreads(5);
        boolean unchanged = true;
        for (Path other : others) {
          unchanged &= threads(other) == before;
        }
        System.out.println(
            "oneDNN's " + threads(own) + ", others' " + (unchanged ? "unchanged" : "changed"));
      } catch (LibraryException e) {
        System.out.println(e.getMessage());
      }
    }

    private static int threads(Path library) throws Throwable {
      return (int)
          Linker.nativeLinker()
              .downcallHandle(
                  SymbolLookup.libraryLookup(library, Arena.global())
                      .findOrThrow("omp_get_max_threads"),
                  FunctionDescriptor.of(ValueLayout.JAVA_INT))
              .invokeExact();
    }
  }
}
