package dev.gatun.ffi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The emulator's own test, in C++: every fault caught and named, streams, graphs, grid syncs. */
class EmulatorSelfTest {
  @Test
  void passes(@TempDir Path folder) throws Exception {
    CudaTestSupport.requireEmulator();
    Path log = folder.resolve("log");
    Process process =
        new ProcessBuilder(
                "bash",
                Path.of("emulator/test/run.sh").toAbsolutePath().toString(),
                folder.resolve("build").toString())
            .redirectErrorStream(true)
            .redirectOutput(log.toFile())
            .start();
    try {
      assertTrue(process.waitFor(5, TimeUnit.MINUTES), "still running after five minutes");
    } finally {
      process.destroyForcibly();
    }
    String output = Files.readString(log);
    assertEquals(0, process.exitValue(), output);
    assertTrue(output.matches("(?s).*\\b[1-9]\\d* passed, 0 failed\\s*"), output);
  }
}
