package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A run on a file system of a few hundred kilobytes. */
class DiskFullTest {
  @TempDir Path folder;
  private Path disk;
  private boolean mounted;

  @BeforeEach
  void mount() throws Exception {
    disk = Files.createDirectory(folder.resolve("disk"));
    mounted = command("mount", "-t", "tmpfs", "-o", "size=512k", "gatun-test", disk.toString());
    assumeTrue(mounted, "mounting a tmpfs needs root");
  }

  @AfterEach
  void unmount() throws Exception {
    if (mounted) {
      command("umount", disk.toString());
    }
  }

  private static boolean command(String... words) throws IOException, InterruptedException {
    return new ProcessBuilder(words)
            .redirectErrorStream(true)
            .redirectOutput(ProcessBuilder.Redirect.DISCARD)
            .start()
            .waitFor()
        == 0;
  }

  @Test
  void aFullDiskIsNamedAndNothingIsLost() throws Exception {
    Path data = TestData.idx(folder.resolve("data"), 100, 8, 8);
    Path run = disk.resolve("run");
    Object[] train = Cli.training(data, run, "--preset", "tiny", "--steps", 3);
    Cli.run(train).succeeds();
    byte[] state = Files.readAllBytes(run.resolve("state"));
    Path filler = disk.resolve("filler");
    fill(filler);
    Cli.run(Cli.training(data, run, "--steps", 6, "--resume"))
        .fails(1, "cannot write", run.toString());
    assertArrayEquals(state, Files.readAllBytes(run.resolve("state")));
    Cli.run("eval", run, "--data", data, "--device", "cpu").succeeds();
    Cli.run("sample", run, "--out", disk.resolve("samples.npy"), "--device", "cpu")
        .fails(1, "cannot write", "samples.npy");
    Files.delete(filler);
    Cli.run(Cli.training(data, run, "--steps", 6, "--resume")).succeeds();
    assertEquals(
        3, Files.readAllLines(run.resolve("metrics.jsonl")).size() + 1, "one line for each stop");
  }

  /** Writes until nothing more fits. */
  private static void fill(Path file) throws IOException {
    try (var out = Files.newOutputStream(file)) {
      for (int size = 1 << 16; size > 0; size /= 2) {
        try {
          while (true) {
            out.write(new byte[size]);
          }
        } catch (IOException full) {
          continue;
        }
      }
    }
  }
}
