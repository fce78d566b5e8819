package dev.gatun.ffi;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * What tests of the CUDA driver share: whether there is an emulator, and processes of their own.
 */
final class CudaTestSupport {
  private CudaTestSupport() {}

  /** Skips the test where the emulator was not built; in CI that is a failure. */
  static void requireEmulator() {
    String refused = CudaLibrary.refuses(CudaLibrary.Kind.EMULATED);
    if (refused == null) {
      return;
    }
    if ("true".equals(System.getenv("CI"))) {
      fail(refused);
    }
    assumeTrue(false, refused);
  }

  /** What a process printed, and how it ended. */
  record Outcome(int exitCode, String output) {}

  /** Runs a class of the test class path in a JVM of its own. */
  static Outcome java(Class<?> main, List<String> options, Path log, String... arguments)
      throws IOException, InterruptedException {
    return java(main, options, log, Map.of(), arguments);
  }

  /** As above, with more variables in its environment. */
  static Outcome java(
      Class<?> main,
      List<String> options,
      Path log,
      Map<String, String> variables,
      String... arguments)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("--enable-native-access=ALL-UNNAMED");
    String cache = System.getProperty("gatun.cache");
    if (cache != null) {
      command.add("-Dgatun.cache=" + cache);
    }
    command.addAll(options);
    command.add(main.getName());
    command.addAll(List.of(arguments));
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
    Map<String, String> environment = builder.environment();
    environment.put("CLASSPATH", System.getProperty("java.class.path"));
    environment.putAll(variables);
    Process process = builder.start();
    if (!process.waitFor(120, TimeUnit.SECONDS)) {
      process.destroyForcibly();
      fail("no end after 120 s: " + command + "\n" + Files.readString(log));
    }
    return new Outcome(process.exitValue(), Files.readString(log, StandardCharsets.UTF_8));
  }

  static void assertOneLine(String message) {
    assertTrue(message.lines().count() == 1, message);
  }

  /** The files in a folder, by name. */
  static List<String> namesIn(Path folder) {
    String[] names = new File(folder.toString()).list();
    return names == null ? List.of() : List.of(names);
  }
}
