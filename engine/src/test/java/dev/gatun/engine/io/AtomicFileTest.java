package dev.gatun.engine.io;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Shape;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AtomicFileTest {
  @TempDir Path folder;

  @Test
  void createsAndReplaces() throws IOException {
    Path file = folder.resolve("a.txt");
    AtomicFile.write(file, "one".getBytes(UTF_8));
    assertEquals("one", Files.readString(file));
    AtomicFile.write(
        file,
        channel -> {
          try (OutputStream out = Channels.newOutputStream(channel)) { // closes the channel
            out.write("two".getBytes(UTF_8));
          }
        });
    assertEquals("two", Files.readString(file));
    assertEquals(List.of(file), files());
  }

  @Test
  void aWriterThatFailsLeavesTheOldFileAndNoOther() throws IOException {
    Path file = folder.resolve("a.txt");
    AtomicFile.write(file, "old".getBytes(UTF_8));
    IOException full = new IOException("No space left on device");
    IOException e =
        assertThrows(
            IOException.class,
            () ->
                AtomicFile.write(
                    file,
                    12345,
                    channel -> {
                      channel.write(ByteBuffer.wrap(new byte[100]));
                      throw full;
                    }));
    assertSame(full, e.getCause());
    assertEquals(1, e.getMessage().lines().count());
    assertTrue(
        e.getMessage().startsWith("cannot write " + file + ": No space left on device;"),
        e.getMessage());
    assertTrue(e.getMessage().contains("needs 12345 bytes"), e.getMessage());
    assertEquals("old", Files.readString(file));
    assertEquals(List.of(file), files());

    assertThrows(
        IllegalStateException.class,
        () ->
            AtomicFile.write(
                file,
                channel -> {
                  throw new IllegalStateException("mid-way");
                }));
    assertEquals(List.of(file), files());
  }

  @Test
  void refusesWhatIsNotAFileToReplace() throws IOException {
    assertThrows(FileSystemException.class, () -> AtomicFile.write(folder, new byte[1]));
    assertThrows(
        NoSuchFileException.class,
        () -> AtomicFile.write(folder.resolve("no/such/a.txt"), new byte[1]));
    assertEquals(List.of(), files());
  }

  @Test
  void writesThroughALink() throws IOException {
    Path file = folder.resolve("a.txt");
    AtomicFile.write(file, "one".getBytes(UTF_8));
    Path link = Files.createSymbolicLink(folder.resolve("latest"), file);
    AtomicFile.write(link, "two".getBytes(UTF_8));
    assertTrue(Files.isSymbolicLink(link));
    assertEquals("two", Files.readString(file));
  }

  @Test
  void clearsWhatAKilledWriterLeftAndNothingElse() throws IOException {
    Path leftover = folder.resolve(".a.txt.999999999.3.tmp");
    Path ours = folder.resolve(".a.txt." + ProcessHandle.current().pid() + ".99999.tmp");
    Path alive =
        folder.resolve(".a.txt." + ProcessHandle.current().parent().orElseThrow().pid() + ".3.tmp");
    Path other = folder.resolve(".b.txt.999999999.3.tmp");
    for (Path path : List.of(leftover, ours, alive, other)) {
      Files.createFile(path);
    }
    AtomicFile.write(folder.resolve("a.txt"), new byte[1]);
    assertFalse(Files.exists(leftover));
    assertFalse(Files.exists(ours));
    assertTrue(Files.exists(alive));
    assertTrue(Files.exists(other));
  }

  /** A file size limit of the operating system stands for a full disk: write fails half-way. */
  @Test
  void aWriteTheSystemRefusesLeavesTheOldCheckpoint() throws Exception {
    Path file = folder.resolve("model.safetensors");
    writeCheckpoint(file, 1, 1000);
    byte[] old = Files.readAllBytes(file);
    List<String> command = new ArrayList<>(List.of("sh", "-c", "ulimit -f 64; exec \"$0\" \"$@\""));
    command.addAll(java("once", file));
    Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
    String output = new String(process.getInputStream().readAllBytes(), UTF_8);
    assertEquals(3, process.waitFor(), output);
    assertTrue(output.contains("cannot write " + file + ": "), output);
    assertTrue(output.contains("needs 400104 bytes"), output);
    assertTrue(output.contains("the file as it was before is untouched"), output);
    assertArrayEquals(old, Files.readAllBytes(file));
    assertEquals(List.of(file), files());
  }

  @Test
  void aKillAtAnyMomentLeavesAWholeCheckpoint() throws Exception {
    Path file = folder.resolve("model.safetensors");
    for (int round = 0; round < 4; round++) {
      Process process = new ProcessBuilder(java("forever", file)).redirectErrorStream(true).start();
      assertEquals('.', process.getInputStream().read()); // it has written one
      Thread.sleep(37 * round);
      process.destroyForcibly();
      assertTrue(process.waitFor(20, TimeUnit.SECONDS));
      try (SafetensorsFile checkpoint = SafetensorsFile.open(file)) {
        byte step = Byte.parseByte(checkpoint.metadata().get("step"));
        byte[] expected = new byte[8_000_000];
        Arrays.fill(expected, step);
        assertEquals(-1, checkpoint.entry("w").data().mismatch(MemorySegment.ofArray(expected)));
      }
    }
    writeCheckpoint(file, 1, 10);
    assertEquals(List.of(file), files());
  }

  private static List<String> java(String mode, Path file) {
    return List.of(
        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
        "-XX:-UsePerfData",
        "-Xmx128m",
        "-cp",
        System.getProperty("java.class.path"),
        CheckpointWriter.class.getName(),
        mode,
        file.toString());
  }

  static void writeCheckpoint(Path file, int step, int bytes) throws IOException {
    byte[] data = new byte[bytes];
    Arrays.fill(data, (byte) step);
    Safetensors.write(
        file,
        Map.of("step", Integer.toString(step)),
        List.of(new SafetensorsEntry("w", DType.U8, Shape.of(bytes), MemorySegment.ofArray(data))));
  }

  /** Writes checkpoints in a process of its own. */
  static final class CheckpointWriter {
    private CheckpointWriter() {}

    public static void main(String[] args) {
      Path file = Path.of(args[1]);
      try {
        if (args[0].equals("once")) {
          writeCheckpoint(file, 2, 400_000);
          return;
        }
        for (int step = 0; ; step = (step + 1) % 100) {
          writeCheckpoint(file, step, 8_000_000);
          System.out.print(".");
          System.out.flush();
        }
      } catch (IOException e) {
        System.out.println(e.getMessage());
        System.exit(3);
      }
    }
  }

  private List<Path> files() throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.toList();
    }
  }
}
