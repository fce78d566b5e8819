package dev.gatun.engine.io;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonGenerator;
import dev.gatun.engine.DType;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * The safetensors format: a little-endian u64 header length, a JSON header {@code {name: {dtype,
 * shape, data_offsets}, "__metadata__": {string: string}}}, then the tensors' bytes without gaps.
 *
 * <p>Read with {@link SafetensorsFile#open}.
 *
 * @see <a href="https://github.com/huggingface/safetensors">huggingface/safetensors, Format</a>
 */
public final class Safetensors {
  static final int MAX_HEADER_BYTES = 100_000_000;
  static final String METADATA = "__metadata__";

  static final int COPY_BYTES = 1 << 20;

  private Safetensors() {}

  /**
   * Writes a file atomically ({@link AtomicFile}). The same arguments give the same bytes: metadata
   * is sorted by key, tensors keep their order in the header, and their data is laid out by
   * descending element size so that every tensor is aligned to its elements.
   *
   * @throws IllegalArgumentException for a name used twice, a reserved name, or text that is not
   *     valid Unicode
   * @throws IOException one line naming the path and the bytes needed; an earlier file is untouched
   */
  public static void write(Path path, Map<String, String> metadata, List<SafetensorsEntry> entries)
      throws IOException {
    SafetensorsEntry[] layout = entries.toArray(SafetensorsEntry[]::new);
    Arrays.sort(
        layout, Comparator.comparingInt((SafetensorsEntry e) -> e.dtype().bytes()).reversed());
    byte[] header = header(metadata, entries, layout);
    long bytes = Long.BYTES + header.length;
    for (SafetensorsEntry entry : layout) {
      bytes += entry.data().byteSize();
    }
    AtomicFile.write(path, bytes, channel -> writeAll(channel, header, layout));
  }

  private static byte[] header(
      Map<String, String> metadata, List<SafetensorsEntry> entries, SafetensorsEntry[] layout)
      throws IOException {
    Map<String, Long> begins = new TreeMap<>();
    long offset = 0;
    for (SafetensorsEntry entry : layout) {
      if (entry.name().equals(METADATA) || begins.put(entry.name(), offset) != null) {
        throw new IllegalArgumentException(
            "tensor name " + FormatException.quote(entry.name()) + " is reserved or used twice");
      }
      offset += entry.data().byteSize();
    }
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (JsonGenerator json = new JsonFactory().createGenerator(bytes)) {
      json.writeStartObject();
      if (!metadata.isEmpty()) {
        json.writeObjectFieldStart(METADATA);
        for (Map.Entry<String, String> item : new TreeMap<>(metadata).entrySet()) {
          json.writeStringField(unicode(item.getKey()), unicode(item.getValue()));
        }
        json.writeEndObject();
      }
      for (SafetensorsEntry entry : entries) {
        json.writeObjectFieldStart(unicode(entry.name()));
        json.writeStringField("dtype", entry.dtype().name());
        json.writeFieldName("shape");
        int[] dims = entry.shape().toArray();
        json.writeArray(dims, 0, dims.length);
        long begin = begins.get(entry.name());
        json.writeFieldName("data_offsets");
        json.writeArray(new long[] {begin, begin + entry.data().byteSize()}, 0, 2);
        json.writeEndObject();
      }
      json.writeEndObject();
    }
    while (bytes.size() % Long.BYTES != 0) {
      bytes.write(' ');
    }
    if (bytes.size() > MAX_HEADER_BYTES) {
      throw new IllegalArgumentException(
          "safetensors header of " + bytes.size() + " bytes exceeds " + MAX_HEADER_BYTES);
    }
    return bytes.toByteArray();
  }

  private static String unicode(String text) {
    if (!StandardCharsets.UTF_8.newEncoder().canEncode(text)) {
      throw new IllegalArgumentException(
          "not valid Unicode: " + FormatException.quote(text.replaceAll("\\p{Cs}", "?")));
    }
    return text;
  }

  private static void writeAll(FileChannel channel, byte[] header, SafetensorsEntry[] layout)
      throws IOException {
    ByteBuffer buffer = ByteBuffer.allocateDirect(COPY_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    drain(buffer.putLong(header.length), channel);
    copy(MemorySegment.ofArray(header), buffer, channel);
    for (SafetensorsEntry entry : layout) {
      copy(entry.data(), buffer, channel);
    }
  }

  /** Appends a segment of any kind, on the heap or off it, through one reused buffer. */
  static void copy(MemorySegment data, ByteBuffer buffer, FileChannel channel) throws IOException {
    for (long offset = 0; offset < data.byteSize(); offset += COPY_BYTES) {
      int bytes = (int) Math.min(COPY_BYTES, data.byteSize() - offset);
      buffer.clear();
      MemorySegment.copy(data, offset, MemorySegment.ofBuffer(buffer), 0, bytes);
      drain(buffer.position(bytes), channel);
    }
  }

  private static void drain(ByteBuffer buffer, FileChannel channel) throws IOException {
    buffer.flip();
    while (buffer.hasRemaining()) {
      channel.write(buffer);
    }
    buffer.clear();
  }

  /** The dtype a header names, or null if it is none of ours. */
  static DType dtype(String name) {
    for (DType dtype : DType.values()) {
      if (dtype.name().equals(name)) {
        return dtype;
      }
    }
    return null;
  }
}
