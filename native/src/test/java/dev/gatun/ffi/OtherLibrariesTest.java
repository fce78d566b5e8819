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
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A process may hold other libraries that export the same names, such as PyTorch's OpenMP. */
class OtherLibrariesTest {
  @TempDir Path folder;

  @Test
  void threadsAreSetInTheOpenMpThatOneDnnUses() throws Exception {
    Path log = folder.resolve("log");
    ProcessBuilder builder =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "--enable-native-access=ALL-UNNAMED",
                Beside.class.getName(),
                folder.toString())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile());
    builder.environment().put("CLASSPATH", System.getProperty("java.class.path"));
    builder.environment().put("OMP_NUM_THREADS", "3");
    assertTrue(builder.start().waitFor(60, TimeUnit.SECONDS), "hangs");
    assertEquals("oneDNN's 1, others' 3 3 3 3 3 3 3 3", Files.readString(log).strip());
  }

  /** Opens oneDNN, then eight more libraries of OpenMP, then sets oneDNN's threads. */
  static final class Beside {
    public static void main(String[] arguments) throws Exception {
      Path own = Dnnl.library().file().resolveSibling("libgomp.so.1");
      Path[] others = new Path[8];
      for (int i = 0; i < others.length; i++) {
        others[i] = Files.copy(own, Path.of(arguments[0], "libgomp-" + i + ".so"));
        System.load(others[i].toString());
      }
      Dnnl.useThreads(1);
      StringBuilder found = new StringBuilder("oneDNN's " + threads(own) + ", others'");
      for (Path other : others) {
        found.append(' ').append(threads(other));
      }
      System.out.println(found);
    }

    private static int threads(Path library) throws Exception {
      try {
        return (int)
            Linker.nativeLinker()
                .downcallHandle(
                    SymbolLookup.libraryLookup(library, Arena.global())
                        .findOrThrow("omp_get_max_threads"),
                    FunctionDescriptor.of(ValueLayout.JAVA_INT))
                .invokeExact();
      } catch (Throwable e) {
        throw new Exception(e);
      }
    }
  }
}
