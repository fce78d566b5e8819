package dev.gatun.engine.data;

import dev.gatun.engine.io.FormatException;
import java.io.BufferedInputStream;
import java.io.Closeable;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.GZIPInputStream;
import java.util.zip.ZipException;

/** A data file read once from its start; gzip or not is told by its first bytes, not its name. */
final class DataFile implements Closeable {
  /** The largest array that any JVM gives. */
  static final int MAX_ARRAY = Integer.MAX_VALUE - 8;

  /** Deflate never makes more of a byte than this. */
  private static final long MAX_INFLATION = 1032;

  private static final int BUFFER_BYTES = 1 << 16;
  private static final String DAMAGED = "it is truncated or damaged, copy it again";

  private final Path path;
  private final long storedBytes;
  private final boolean compressed;
  private final InputStream in;

  private DataFile(Path path, long storedBytes, boolean compressed, InputStream in) {
    this.path = path;
    this.storedBytes = storedBytes;
    this.compressed = compressed;
    this.in = in;
  }

  static DataFile open(Path path) throws IOException {
    if (!Files.exists(path)) {
      throw new NoSuchFileException(path.toString(), null, "no such file; check the path");
    }
    if (!Files.isRegularFile(path)) {
      throw new FormatException(path, "not a regular file", Datasets.ACCEPTED);
    }
    InputStream in = new BufferedInputStream(Files.newInputStream(path), BUFFER_BYTES);
    try {
      in.mark(2);
      boolean compressed = in.read() == 0x1F && in.read() == 0x8B;
      in.reset();
      long size = Files.size(path);
      return new DataFile(
          path, size, compressed, compressed ? new GZIPInputStream(in, BUFFER_BYTES) : in);
    } catch (ZipException | EOFException e) {
      in.close();
      throw damaged(path, e);
    } catch (Throwable e) {
      in.close();
      throw e;
    }
  }

  boolean isCompressed() {
    return compressed;
  }

  /** The exact size of what there is to read, or the most it can be if it is compressed. */
  long maxBytes() {
    return compressed ? storedBytes * MAX_INFLATION : storedBytes;
  }

  /** Reads into {@code buffer} until {@code length} bytes or the end; returns how many. */
  int read(byte[] buffer, int offset, int length) throws IOException {
    try {
      return in.readNBytes(buffer, offset, length);
    } catch (ZipException | EOFException e) {
      throw damaged(path, e);
    }
  }

  /** The next bytes, fewer at the end. */
  byte[] readUpTo(int length) throws IOException {
    byte[] bytes = new byte[length];
    return Arrays.copyOf(bytes, read(bytes, 0, length));
  }

  /**
   * Reads exactly the {@code length} bytes that a header of {@code headerBytes} claims and checks
   * that nothing follows. A claim the file cannot back is refused at once; of a compressed file,
   * memory grows only as bytes arrive.
   */
  byte[] readClaimed(long length, int headerBytes, String what) throws IOException {
    String claim = "its header claims " + length + " bytes of " + what;
    if (compressed ? length + headerBytes > maxBytes() : length + headerBytes != storedBytes) {
      String has = compressed ? "at most " + maxBytes() : Long.toString(storedBytes);
      throw new FormatException(
          path, claim + " after " + headerBytes + ", the file has " + has, DAMAGED);
    }
    if (length > MAX_ARRAY) {
      throw new FormatException(
          path, what + " of " + length + " bytes, more than 2 GiB", "use fewer or smaller images");
    }
    byte[] bytes = new byte[compressed ? (int) Math.min(length, BUFFER_BYTES) : (int) length];
    int count = 0;
    while (true) {
      count += read(bytes, count, bytes.length - count);
      if (count < bytes.length) {
        throw new FormatException(path, claim + ", only " + count + " are there", DAMAGED);
      }
      if (count == length) {
        break;
      }
      bytes = Arrays.copyOf(bytes, (int) Math.min(length, 2L * count));
    }
    if (readUpTo(1).length > 0) {
      throw new FormatException(path, claim + ", more follow", "it is damaged, copy it again");
    }
    return bytes;
  }

  private static FormatException damaged(Path path, IOException cause) {
    return new FormatException(path, "gzip: " + cause.getMessage(), DAMAGED, cause);
  }

  @Override
  public void close() throws IOException {
    in.close();
  }
}
