package dev.gatun.ffi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** The C compiler of this machine: stub libraries, and what the real headers say. */
public final class CCompiler {
  private CCompiler() {}

  /** Skips the test where there is no gcc; in CI that is a failure. */
  public static void require() {
    try {
      if (run(List.of("gcc", "--version"), Path.of("/dev/null")) == 0) {
        return;
      }
    } catch (IOException | InterruptedException e) {
      // no gcc
    }
    if ("true".equals(System.getenv("CI"))) {
      fail("no gcc: install it");
    }
    assumeTrue(false, "no gcc: install it to run this test");
  }

  /** A shared library of that file name made of C text. */
  public static Path library(Path folder, String fileName, String source, String... options)
      throws IOException, InterruptedException {
    Path library = folder.resolve(fileName);
    List<String> all = new ArrayList<>(List.of("-shared", "-fPIC", "-O1", "-Wall", "-Werror"));
    all.addAll(List.of(options));
    build(source, library, all);
    return library;
  }

  /** Whether C text compiles, and what the compiler said of it. */
  static TestProcesses.Outcome check(Path folder, String source, List<Path> includes)
      throws IOException, InterruptedException {
    Path file = Files.writeString(folder.resolve("check.c"), source);
    List<String> command =
        new ArrayList<>(List.of("gcc", "-std=c11", "-fsyntax-only", "-Wall", "-Werror"));
    includes.forEach(include -> command.addAll(List.of("-I", include.toString())));
    command.add(file.toString());
    Path log = folder.resolve("check.log");
    int exit = run(command, log);
    return new TestProcesses.Outcome(exit, Files.readString(log));
  }

  private static void build(String source, Path target, List<String> options)
      throws IOException, InterruptedException {
    Path file = Files.writeString(target.resolveSibling(target.getFileName() + ".c"), source);
    List<String> command = new ArrayList<>(List.of("gcc"));
    command.addAll(options);
    command.addAll(List.of(file.toString(), "-o", target.toString()));
    Path log = target.resolveSibling(target.getFileName() + ".log");
    assertEquals(0, run(command, log), () -> read(log));
  }

  private static String read(Path log) {
    try {
      return Files.readString(log);
    } catch (IOException e) {
      return e.toString();
    }
  }

  private static int run(List<String> command, Path log) throws IOException, InterruptedException {
    Process process =
        new ProcessBuilder(command)
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.to(log.toFile()))
            .start();
    if (!process.waitFor(120, TimeUnit.SECONDS)) {
      process.destroyForcibly();
      fail("no end after 120 s: " + command);
    }
    return process.exitValue();
  }
}
