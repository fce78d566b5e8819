package dev.gatun.ffi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTimeout;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PythonPackagesTest {
  private static final Duration LIMIT = Duration.ofSeconds(10);

  @TempDir Path folder;

  private static List<Path> shell(String script, Duration limit) {
    return PythonPackages.ask(List.of("sh", "-c", script), limit);
  }

  @Test
  void foldersThatAreThereAreTaken() throws Exception {
    Path packages = Files.createDirectories(folder.resolve("site-packages"));
    Files.writeString(folder.resolve("file"), "");
    String script =
        "echo %s; echo; echo relative; echo %s/none; echo %s/file; echo 'a warning' >&2"
            .formatted(packages, folder, folder);
    assertEquals(List.of(packages), shell(script, LIMIT));
  }

  @Test
  void noAnswerIsNoFolder() {
    assertEquals(List.of(), PythonPackages.ask(List.of("no-such-python3"), LIMIT));
    assertEquals(List.of(), shell("echo " + folder + "; exit 1", LIMIT));
    assertEquals(List.of(), shell("true", LIMIT));
  }

  @Test
  void oneThatHangsIsLeftBehind() {
    assertTimeout(
        Duration.ofSeconds(30),
        () -> assertEquals(List.of(), shell("exec sleep 100", Duration.ofMillis(200))));
    // a child of its own holds the pipe open
    assertTimeout(
        Duration.ofSeconds(30),
        () -> assertEquals(List.of(folder), shell("sleep 60 & echo " + folder, LIMIT)));
  }

  @Test
  void anEndlessAnswerIsCutOff() {
    assertTimeout(
        Duration.ofSeconds(30),
        () -> assertTrue(shell("yes /nowhere", Duration.ofMillis(500)).isEmpty()));
  }

  @Test
  void thisMachinesAnswerIsAsPythonSays() {
    // whatever it is, also none: each is a folder of packages
    for (Path packages : PythonPackages.folders()) {
      assertTrue(Files.isDirectory(packages), packages.toString());
      assertTrue(packages.toString().endsWith("-packages"), packages.toString());
    }
  }
}
