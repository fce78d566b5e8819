package dev.gatun.engine.io;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * An open safetensors file, mapped read-only: tensors are views of the mapping, valid until {@link
 * #close}. The whole header is checked before anything is handed out.
 */
public final class SafetensorsFile implements AutoCloseable {
  private static final ValueLayout.OfLong LITTLE_ENDIAN_LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private final Path path;
  private final Arena arena;
  private final Map<String, String> metadata;
  private final Map<String, SafetensorsEntry> entries;

  private SafetensorsFile(
      Path path, Arena arena, Map<String, String> metadata, Map<String, SafetensorsEntry> entries) {
    this.path = path;
    this.arena = arena;
    this.metadata = metadata;
    this.entries = entries;
  }

  /**
   * Opens and checks a file.
   *
   * @throws FormatException if it is not a whole, valid safetensors file of dtypes F32, BF16, F64,
   *     I32 and U8
   * @throws NoSuchFileException if there is no such file
   */
  public static SafetensorsFile open(Path path) throws IOException {
    if (!Files.exists(path)) {
      throw new NoSuchFileException(path.toString(), null, "no such file; check the path");
    }
    if (!Files.isRegularFile(path)) {
      throw new FormatException(path, "not a regular file", "give a .safetensors file");
    }
    Arena arena = Arena.ofShared();
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      long size = channel.size();
      MemorySegment file = channel.map(FileChannel.MapMode.READ_ONLY, 0, size, arena);
      SafetensorsHeader header = header(path, file);
      MemorySegment data = file.asSlice(dataOffset(file));
      Map<String, SafetensorsEntry> entries = new LinkedHashMap<>();
      for (SafetensorsHeader.Tensor tensor : header.tensors().values()) {
        MemorySegment bytes = data.asSlice(tensor.begin(), tensor.end() - tensor.begin());
        entries.put(
            tensor.name(),
            new SafetensorsEntry(tensor.name(), tensor.dtype(), tensor.shape(), bytes));
      }
      return new SafetensorsFile(
          path, arena, header.metadata(), Collections.unmodifiableMap(entries));
    } catch (Throwable e) {
      arena.close();
      throw e;
    }
  }

  private static long dataOffset(MemorySegment file) {
    return Long.BYTES + file.get(LITTLE_ENDIAN_LONG, 0);
  }

  private static SafetensorsHeader header(Path path, MemorySegment file) throws FormatException {
    long size = file.byteSize();
    if (size < Long.BYTES) {
      throw new FormatException(
          path, "only " + size + " bytes, too short for safetensors", "write or copy it again");
    }
    long headerBytes = file.get(LITTLE_ENDIAN_LONG, 0);
    if (headerBytes < 0 || headerBytes > Safetensors.MAX_HEADER_BYTES) {
      throw new FormatException(
          path,
          "claims a header of "
              + Long.toUnsignedString(headerBytes)
              + " bytes, more than "
              + Safetensors.MAX_HEADER_BYTES,
          "it is not a safetensors file, check the path");
    }
    if (headerBytes > size - Long.BYTES) {
      throw new FormatException(
          path,
          "claims a header of " + headerBytes + " bytes, but the file has " + size + " in all",
          "it is truncated or not safetensors, copy it again");
    }
    byte[] json = file.asSlice(Long.BYTES, headerBytes).toArray(ValueLayout.JAVA_BYTE);
    return SafetensorsHeader.parse(path, json, size - Long.BYTES - headerBytes);
  }

  /** The free-form strings stored with the tensors; empty if there are none. Unmodifiable. */
  public Map<String, String> metadata() {
    return metadata;
  }

  /** The tensors by name, in the header's order. Unmodifiable. */
  public Map<String, SafetensorsEntry> entries() {
    return entries;
  }

  /**
   * The tensor of that name.
   *
   * @throws FormatException if the file has none
   */
  public SafetensorsEntry entry(String name) throws FormatException {
    SafetensorsEntry entry = entries.get(name);
    if (entry == null) {
      throw new FormatException(
          path,
          "no tensor " + FormatException.quote(name) + " among its " + entries.size(),
          "check that the file belongs to this model");
    }
    return entry;
  }

  /** Unmaps the file; its tensors' data can no longer be accessed. */
  @Override
  public void close() {
    arena.close();
  }
}
