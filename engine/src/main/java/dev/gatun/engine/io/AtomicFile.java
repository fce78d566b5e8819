package dev.gatun.engine.io;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryStream;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Replaces a file whole or not at all.
 *
 * <p>The bytes go to a hidden temporary file beside the target, which is fsynced and then renamed
 * over it, and the folder is fsynced: whenever the process or the machine stops, the target is the
 * last whole version. A failed write removes its temporary file; one left by a killed process is
 * removed by the next write of the same target.
 */
public final class AtomicFile {
  private static final Set<Path> ACTIVE = ConcurrentHashMap.newKeySet();
  private static final AtomicLong COUNTER = new AtomicLong();

  private AtomicFile() {}

  /** Writes a file's content. */
  @FunctionalInterface
  public interface Writer {
    /** Writes everything to {@code channel}, which it may close. */
    void write(FileChannel channel) throws IOException;
  }

  /** Replaces {@code target} by {@code bytes}. */
  public static void write(Path target, byte[] bytes) throws IOException {
    write(
        target,
        bytes.length,
        channel -> {
          ByteBuffer buffer = ByteBuffer.wrap(bytes);
          while (buffer.hasRemaining()) {
            channel.write(buffer);
          }
        });
  }

  /** Replaces {@code target} by what {@code writer} writes. */
  public static void write(Path target, Writer writer) throws IOException {
    write(target, -1, writer);
  }

  /**
   * Replaces {@code target} by what {@code writer} writes.
   *
   * @param target a regular file, a link to one, or a name not yet taken in an existing folder
   * @param bytesNeeded the size of the new file, for the message of a failure; negative if unknown
   * @throws IOException one line naming the target and the bytes needed; the target is as before
   */
  public static void write(Path target, long bytesNeeded, Writer writer) throws IOException {
    Path file = resolve(target);
    Path folder = file.getParent();
    String name = file.getFileName().toString();
    removeLeftovers(folder, name);
    Path temporary =
        folder.resolve(
            "."
                + name
                + "."
                + ProcessHandle.current().pid()
                + "."
                + COUNTER.getAndIncrement()
                + ".tmp");
    ACTIVE.add(temporary);
    try {
      Files.deleteIfExists(temporary);
      writeAndSync(temporary, writer);
      Files.move(temporary, file, StandardCopyOption.ATOMIC_MOVE);
    } catch (IOException e) {
      long free = freeBytes(folder);
      remove(temporary, e);
      throw failure(target, bytesNeeded, free, e);
    } catch (RuntimeException | Error e) {
      remove(temporary, e);
      throw e;
    } finally {
      ACTIVE.remove(temporary);
    }
    syncFolder(folder);
  }

  private static void writeAndSync(Path temporary, Writer writer) throws IOException {
    try (FileChannel channel =
        FileChannel.open(temporary, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      writer.write(channel);
      if (channel.isOpen()) {
        channel.force(true);
        return;
      }
    }
    try (FileChannel channel = FileChannel.open(temporary, StandardOpenOption.WRITE)) {
      channel.force(true);
    }
  }

  /** The absolute path to replace: behind links, in a folder that exists. */
  private static Path resolve(Path target) throws IOException {
    if (Files.exists(target)) {
      Path real = target.toRealPath();
      if (!Files.isRegularFile(real)) {
        throw new FileSystemException(
            target.toString(), null, "not a regular file; give the name of a file to write");
      }
      return real;
    }
    Path absolute = target.toAbsolutePath().normalize();
    if (absolute.getParent() == null || !Files.isDirectory(absolute.getParent())) {
      throw new NoSuchFileException(
          target.toString(), null, "its folder does not exist; create the folder first");
    }
    return absolute;
  }

  private static IOException failure(Path target, long needed, long free, IOException cause) {
    String reason =
        cause instanceof FileSystemException e && e.getReason() != null
            ? e.getReason()
            : cause.getMessage() != null ? cause.getMessage() : cause.getClass().getSimpleName();
    StringBuilder message = new StringBuilder("cannot write " + target + ": " + reason);
    if (needed >= 0) {
      message.append("; needs ").append(needed).append(" bytes");
    }
    if (free >= 0) {
      message.append(needed >= 0 ? ", " : "; ").append(free).append(" bytes free");
    }
    if (Files.exists(target)) {
      message.append("; the file as it was before is untouched");
    }
    return new IOException(message.toString(), cause);
  }

  private static long freeBytes(Path folder) {
    try {
      return Files.getFileStore(folder).getUsableSpace();
    } catch (IOException | RuntimeException e) {
      return -1;
    }
  }

  private static void remove(Path temporary, Throwable failure) {
    try {
      Files.deleteIfExists(temporary);
    } catch (IOException e) {
      failure.addSuppressed(e);
    }
  }

  /** Makes the rename itself durable; a file system that cannot open a folder has no such call. */
  private static void syncFolder(Path folder) throws IOException {
    FileChannel channel;
    try {
      channel = FileChannel.open(folder, StandardOpenOption.READ);
    } catch (IOException e) {
      return;
    }
    try (channel) {
      channel.force(true);
    }
  }

  /** Removes what killed processes left while they wrote this target; housekeeping, never fatal. */
  private static void removeLeftovers(Path folder, String name) {
    Pattern pattern = Pattern.compile(Pattern.quote("." + name + ".") + "(\\d{1,18})\\.\\d+\\.tmp");
    try (DirectoryStream<Path> siblings = Files.newDirectoryStream(folder)) {
      for (Path sibling : siblings) {
        Matcher matcher = pattern.matcher(sibling.getFileName().toString());
        if (matcher.matches() && !ACTIVE.contains(sibling)) {
          long pid = Long.parseLong(matcher.group(1));
          if (pid == ProcessHandle.current().pid() || ProcessHandle.of(pid).isEmpty()) {
            Files.deleteIfExists(sibling);
          }
        }
      }
    } catch (IOException | RuntimeException e) {
      return; // a leftover costs room, not correctness
    }
  }
}
