package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import dev.gatun.engine.io.SafetensorsFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Training in a process of its own that is stopped from outside. */
class KillTest {
  private static final int KILLS = 6;

  /** A checkpoint at every step, so that a kill often meets one. */
  private static final List<String> EVERY_STEP = List.of("-Dgatun.checkpoint.seconds=0");

  @TempDir Path folder;
  private Path data;

  @BeforeEach
  void generate() throws IOException {
    data = TestData.idx(folder.resolve("data"), 100, 8, 8);
  }

  private Process start(Path run, long steps, boolean resume) throws IOException {
    Object[] args =
        Cli.training(
            data, run, "--preset", "tiny", "--steps", steps, resume ? "--resume" : "--json");
    return Cli.fork(folder.resolve("err"), EVERY_STEP, args);
  }

  private static long steps(Path state) throws IOException {
    try (SafetensorsFile file = SafetensorsFile.open(state)) {
      return Long.parseLong(file.metadata().get("steps"));
    }
  }

  private void await(Process process, Path run, long step) throws Exception {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    while (!Files.exists(run.resolve("state")) || steps(run.resolve("state")) < step) {
      assertTrue(process.isAlive(), () -> err());
      assertTrue(System.nanoTime() < deadline, "no progress within a minute");
      Thread.sleep(5);
    }
  }

  private String err() {
    try {
      return Files.readString(folder.resolve("err"));
    } catch (IOException e) {
      return e.toString();
    }
  }

  @Test
  void killsAtAnyMomentLoseNothing() throws Exception {
    long seed = Long.getLong("gatun.test.seed", System.nanoTime());
    Random random = new Random(seed);
    Path run = folder.resolve("run");
    long reached = 0;
    for (int kill = 0; kill < KILLS; kill++) {
      Process process = start(run, 1_000_000, kill > 0);
      await(process, run, reached + 1);
      Thread.sleep(random.nextInt(300));
      process.destroyForcibly().waitFor();
      long now = steps(run.resolve("state"));
      String where = "kill " + kill + ", rerun with -Dgatun.test.seed=" + seed + ": ";
      assertTrue(now > reached, where + now + " after " + reached);
      // the checkpoint is whole, and what the user sees of it works
      Cli.run("eval", run, "--data", data, "--device", "cpu").succeeds();
      reached = now;
    }
    long target = reached + 3;
    Cli.run(Cli.training(data, run, "--steps", target, "--resume")).succeeds();
    Path whole = folder.resolve("whole");
    Cli.run(Cli.training(data, whole, "--preset", "tiny", "--steps", target)).succeeds();
    Cli.assertSameBytes(whole.resolve("state"), run.resolve("state"));
    List<String> lines = Files.readAllLines(run.resolve("metrics.jsonl"));
    long last = 0;
    for (String line : lines) {
      long step = new ObjectMapper().readTree(line).get("step").asLong();
      assertTrue(step > last, line);
      last = step;
    }
    assertEquals(target, last);
  }

  @ParameterizedTest
  @CsvSource({"INT,130", "TERM,143"})
  void aSignalWritesACheckpoint(String signal, int code) throws Exception {
    Path run = folder.resolve("interrupted");
    Process process =
        Cli.fork(
            folder.resolve("err"),
            // none on the way: what is there was written because of the signal
            List.of("-Dgatun.checkpoint.seconds=1000"),
            Cli.training(data, run, "--preset", "tiny", "--steps", 1_000_000));
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(60);
    Path metrics = run.resolve("metrics.jsonl");
    while (!Files.exists(metrics) || Files.size(metrics) < 200) {
      assertTrue(process.isAlive() && System.nanoTime() < deadline, () -> err());
      Thread.sleep(10);
    }
    assertEquals(0, steps(run.resolve("state")));
    String pid = Long.toString(process.pid());
    assertEquals(0, new ProcessBuilder("kill", "-" + signal, pid).start().waitFor());
    assertTrue(process.waitFor(30, TimeUnit.SECONDS), "it ends");
    assertEquals(code, process.exitValue(), err());
    assertTrue(err().contains("go on with --resume"), err());
    long reached = steps(run.resolve("state"));
    assertTrue(reached >= 20, "at step " + reached);
    Cli.run(Cli.training(data, run, "--steps", reached + 1, "--resume")).succeeds();
  }
}
