package dev.gatun.ffi;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Where the path's python3 keeps its packages: NVIDIA's wheels bring their libraries there. */
final class PythonPackages {
  private static final Duration LIMIT = Duration.ofSeconds(10);
  private static final int MAX_ANSWER = 1 << 16;
  private static final String QUESTION =
      "import sys\nfor p in sys.path:\n if p.endswith(('site-packages', 'dist-packages')): print(p)";

  private static List<Path> folders = List.of();

  private PythonPackages() {}

  /** Empty where there is no python3, or none that answers; an answer is kept. */
  static synchronized List<Path> folders() {
    if (folders.isEmpty()) {
      folders = ask(List.of("python3", "-c", QUESTION), LIMIT);
    }
    return folders;
  }

  /** The existing folders, one a line, that a command prints within the time. */
  static List<Path> ask(List<String> command, Duration limit) {
    Process process = null;
    try {
      process =
          new ProcessBuilder(command)
              .redirectInput(Path.of("/dev/null").toFile())
              .redirectError(ProcessBuilder.Redirect.DISCARD)
              .start();
      if (!process.waitFor(limit.toMillis(), TimeUnit.MILLISECONDS) || process.exitValue() != 0) {
        return List.of();
      }
      // what is there now: a child of the process may hold the pipe open
      InputStream out = process.getInputStream();
      byte[] answer = out.readNBytes(Math.min(MAX_ANSWER, out.available()));
      return new String(answer, StandardCharsets.UTF_8)
          .lines()
          .filter(line -> line.startsWith("/") && line.indexOf(0) < 0)
          .map(Path::of)
          .filter(Files::isDirectory)
          .toList();
    } catch (IOException e) {
      return List.of();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return List.of();
    } finally {
      if (process != null) {
        process.destroyForcibly();
      }
    }
  }
}
