package dev.gatun.ffi;

import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/** Processes that tests start, and wait for no longer than a while. */
public final class TestProcesses {
  private static final int SECONDS = 300;

  private TestProcesses() {}

  /** What a process printed, and how it ended. */
  public record Outcome(int exitCode, String output) {}

  /** Runs a class of the test class path in a JVM of its own. */
  public static Outcome java(Class<?> main, List<String> options, Path log, String... arguments)
      throws IOException, InterruptedException {
    return java(main, options, log, Map.of(), arguments);
  }

  /** As above, with more variables in its environment. */
  public static Outcome java(
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
    List<String> all = new ArrayList<>();
    all.add("CLASSPATH=" + System.getProperty("java.class.path"));
    variables.forEach((name, value) -> all.add(name + "=" + value));
    return run(command, log, SECONDS, all.toArray(String[]::new));
  }

  /** Runs a command with more variables, each {@code NAME=VALUE}. */
  public static Outcome run(List<String> command, Path log, int seconds, String... variables)
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
