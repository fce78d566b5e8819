package dev.gatun.engine.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.gatun.engine.Backend.DeviceInfo;
import dev.gatun.engine.cuda.CudaDevice.Convolution;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** What the tests of this backend share. */
final class CudaTestSupport {
  private CudaTestSupport() {}

  static {
    // a process has one driver: that of these tests, even where there is a GPU and somebody looks
    if (System.getProperty("gatun.cuda.driver") == null) {
      System.setProperty("gatun.cuda.driver", "emulated");
    }
  }

  /** Skips the test where the emulator or its kernels were not built; in CI that is a failure. */
  static void requireEmulator() {
    DeviceInfo emulated =
        new CudaBackend()
            .probe().stream().filter(d -> d.name().equals("emulated")).findFirst().orElseThrow();
    if (!emulated.usable()) {
      if ("true".equals(System.getenv("CI"))) {
        fail(emulated.problem());
      }
      assumeTrue(false, emulated.problem());
    }
  }

  static CudaDevice openEmulated() {
    return openEmulated(Convolution.TAPS);
  }

  static CudaDevice openEmulated(Convolution convolution) {
    requireEmulator();
    return new CudaBackend().open("emulated", convolution);
  }

  static void assertOneLine(String message) {
    assertEquals(1, message.lines().count(), message);
  }

  /** What a process printed, and how it ended. */
  record Outcome(int exitCode, String output) {}

  /** Runs a class of the test class path in a JVM of its own. */
  static Outcome java(Class<?> main, List<String> options, Path log)
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
    return run(command, log, 300, "CLASSPATH=" + System.getProperty("java.class.path"));
  }

  /** Runs a command with more variables. */
  static Outcome run(List<String> command, Path log, int seconds, String... variables)
      throws IOException, InterruptedException {
    ProcessBuilder builder =
        new ProcessBuilder(command).redirectErrorStream(true).redirectOutput(log.toFile());
    for (String variable : variables) {
      int equals = variable.indexOf('=');
      builder.environment().put(variable.substring(0, equals), variable.substring(equals + 1));
    }
    Process process = builder.start();
    if (!process.waitFor(seconds, TimeUnit.SECONDS)) {
      process.destroyForcibly();
      fail("no end after " + seconds + " s: " + command + "\n" + Files.readString(log));
    }
    return new Outcome(process.exitValue(), Files.readString(log, StandardCharsets.UTF_8));
  }
}
