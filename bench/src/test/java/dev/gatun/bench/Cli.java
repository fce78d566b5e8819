package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.ByteArrayOutputStream;
import java.io.File;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Runs the command line in this process, or in one of its own. */
final class Cli {
  private Cli() {}

  /** What a command left behind. */
  record Result(int code, String out, String err) {
    Result succeeds() {
      assertEquals(0, code, err);
      return this;
    }

    /** Fails with the given code and one line, the last one, that has all of the parts in it. */
    Result fails(int expected, String... parts) {
      assertEquals(expected, code, out + err);
      assertEquals("", out, "nothing is for programs");
      List<String> lines = err.lines().filter(l -> l.startsWith("gatun: ")).toList();
      assertEquals(1, lines.size(), err);
      assertTrue(err.stripTrailing().endsWith(lines.getFirst()), err);
      for (String part : parts) {
        assertTrue(
            lines.getFirst().contains(part), "'" + part + "' is not in: " + lines.getFirst());
      }
      return this;
    }

    /** The one JSON object on standard output. */
    JsonNode json() {
      try {
        return new ObjectMapper()
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .readTree(out);
      } catch (JsonProcessingException e) {
        throw new AssertionError(out, e);
      }
    }
  }

  static Result run(Object... args) {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    ByteArrayOutputStream err = new ByteArrayOutputStream();
    int code =
        Main.run(
            strings(args),
            new PrintStream(out, true, StandardCharsets.UTF_8),
            new PrintStream(err, true, StandardCharsets.UTF_8));
    return new Result(
        code, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
  }

  /** The words that train a gated PixelCNN on the CPU, and what else is asked for. */
  static Object[] training(Path data, Path run, Object... more) {
    List<Object> words = new ArrayList<>();
    words.addAll(List.of("train", "gated-pixelcnn", "--data", data, "--out", run));
    words.addAll(List.of("--device", "cpu"));
    words.addAll(List.of(more));
    return words.toArray();
  }

  /** Starts a process with the same class path; its standard error goes to a file. */
  static Process fork(Path err, List<String> jvmFlags, Object... args) throws IOException {
    List<String> command = new ArrayList<>();
    // whoever started the tests may have had SIGINT ignored, which children inherit
    command.addAll(List.of("env", "--default-signal=INT"));
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(
        List.of(
            "--enable-native-access=ALL-UNNAMED",
            "--add-modules",
            "jdk.incubator.vector",
            "-XX:+UseSerialGC"));
    command.addAll(jvmFlags);
    command.addAll(List.of("-cp", System.getProperty("java.class.path"), "dev.gatun.bench.Main"));
    command.addAll(List.of(strings(args)));
    return new ProcessBuilder(command)
        .redirectError(err.toFile())
        .redirectOutput(new File("/dev/null"))
        .start();
  }

  private static String[] strings(Object... args) {
    String[] all = new String[args.length];
    for (int i = 0; i < all.length; i++) {
      all[i] = args[i].toString();
    }
    return all;
  }

  /** Whether two files hold the same bytes. */
  static void assertSameBytes(Path expected, Path actual) throws IOException {
    assertEquals(-1, Files.mismatch(expected, actual), expected + " and " + actual);
  }
}
