package dev.gatun.engine.io;

import static dev.gatun.engine.io.ReaderContract.assertRefused;
import static java.nio.charset.StandardCharsets.UTF_16LE;
import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Shape;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SafetensorsTest {
  @TempDir Path folder;

  /** Every dtype, odd sizes that would misalign the next, a scalar, an empty tensor. */
  private static List<SafetensorsEntry> entries() {
    return List.of(
        entry("mask", DType.U8, 3),
        entry("läyer.0/w \"q\"", DType.F32, 2, 3),
        entry("half", DType.BF16, 5),
        entry("ema", DType.F64, 2, 1, 2),
        entry("step", DType.I32),
        entry("none", DType.F32, 4, 0));
  }

  private static SafetensorsEntry entry(String name, DType dtype, int... dims) {
    Shape shape = Shape.of(dims);
    byte[] bytes = new byte[shape.elements() * dtype.bytes()];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) (17 * i + name.length());
    }
    return new SafetensorsEntry(name, dtype, shape, MemorySegment.ofArray(bytes));
  }

  @Test
  void roundTripKeepsOrderDataAndMetadataAndAligns() throws IOException {
    Path file = folder.resolve("a.safetensors");
    Map<String, String> metadata = Map.of("format", "pt", "config", "{\"a\": 1}\n\u0000é😀");
    Safetensors.write(file, metadata, entries());
    try (SafetensorsFile read = SafetensorsFile.open(file)) {
      assertEquals(metadata, read.metadata());
      assertEquals(
          entries().stream().map(SafetensorsEntry::name).toList(),
          List.copyOf(read.entries().keySet()));
      for (SafetensorsEntry wanted : entries()) {
        SafetensorsEntry got = read.entry(wanted.name());
        assertEquals(wanted.dtype(), got.dtype());
        assertEquals(wanted.shape(), got.shape());
        assertEquals(-1, wanted.data().mismatch(got.data()));
        assertEquals(0, got.data().address() % got.dtype().bytes(), got.name());
      }
      assertRefused(file, () -> read.entry("absent"), "'absent'");
    }
  }

  @Test
  void sameArgumentsSameBytes() throws IOException {
    Map<String, String> one = new LinkedHashMap<>();
    Map<String, String> other = new HashMap<>();
    for (int i = 0; i < 20; i++) {
      one.put("key" + i, "v");
      other.put("key" + (19 - i), "v");
    }
    Safetensors.write(folder.resolve("a"), one, entries());
    Safetensors.write(folder.resolve("b"), other, entries());
    assertArrayEquals(
        Files.readAllBytes(folder.resolve("a")), Files.readAllBytes(folder.resolve("b")));
  }

  @Test
  void anEmptyListAndTensorsOffTheHeap() throws IOException {
    Path file = folder.resolve("a");
    Safetensors.write(file, Map.of(), List.of());
    try (SafetensorsFile read = SafetensorsFile.open(file)) {
      assertTrue(read.entries().isEmpty());
    }
    try (Arena arena = Arena.ofConfined()) {
      float[] values = new float[700_001]; // more than one copy buffer
      values[700_000] = 42;
      MemorySegment data = arena.allocateFrom(ValueLayout.JAVA_FLOAT, values);
      SafetensorsEntry offHeap =
          new SafetensorsEntry("w", DType.F32, Shape.of(values.length), data);
      SafetensorsEntry onHeap =
          new SafetensorsEntry(
              "v", DType.F32, Shape.of(values.length), MemorySegment.ofArray(values));
      Safetensors.write(file, Map.of(), List.of(offHeap, onHeap));
      try (SafetensorsFile read = SafetensorsFile.open(file)) {
        assertEquals(-1, read.entry("w").data().mismatch(data));
        assertEquals(-1, read.entry("v").data().mismatch(data));
      }
    }
  }

  /** As Python writes it: compact JSON padded with spaces, tensors in another order than data. */
  @Test
  void readsAFileFromPython() throws IOException {
    Path file = folder.resolve("sample.safetensors");
    try (InputStream sample = getClass().getResourceAsStream("sample.safetensors")) {
      Files.copy(sample, file);
    }
    try (SafetensorsFile read = SafetensorsFile.open(file)) {
      assertEquals(Map.of("format", "pt"), read.metadata());
      SafetensorsEntry weight = read.entry("weight");
      assertEquals(Shape.of(2, 2), weight.shape());
      float[] values = weight.data().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
      assertArrayEquals(new float[] {1f, -2f, 0.5f, Float.NaN}, values);
      assertEquals(7, read.entry("step").data().get(ValueLayout.JAVA_INT_UNALIGNED, 0));
      short half = read.entry("half").data().get(ValueLayout.JAVA_SHORT_UNALIGNED, 0);
      assertEquals(1.5f, DType.fromBf16(half));
      assertEquals(List.of("half", "step", "weight"), List.copyOf(read.entries().keySet()));
    }
  }

  @Test
  void refusesToWriteWhatCouldNotBeRead() {
    Path file = folder.resolve("a");
    SafetensorsEntry entry = entry("a", DType.U8, 1);
    assertThrows(
        IllegalArgumentException.class,
        () -> Safetensors.write(file, Map.of(), List.of(entry, entry)));
    assertThrows(
        IllegalArgumentException.class,
        () -> Safetensors.write(file, Map.of(), List.of(entry("__metadata__", DType.U8, 1))));
    assertThrows(
        IllegalArgumentException.class,
        () -> Safetensors.write(file, Map.of("k", "\ud800"), List.of(entry)));
    assertThrows(
        IllegalArgumentException.class,
        () ->
            new SafetensorsEntry("a", DType.F32, Shape.of(2), MemorySegment.ofArray(new byte[7])));
    assertTrue(Files.notExists(file));
  }

  private static final String GOOD = "'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]}";

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      textBlock =
          """
          {'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4]}     | not valid JSON
          [1]                                                      | does not start with '{'
          {'a':1}                                                  | not an object
          {'a':{'dtype':'F16','shape':[2],'data_offsets':[0,4]}}   | tensor 'a' has dtype 'F16'
          {'a':{'dtype':'u8','shape':[4],'data_offsets':[0,4]}}    | dtype 'u8'
          {'a':{'dtype':'U8','shape':[5],'data_offsets':[0,4]}}    | needs 5 bytes
          {'a':{'dtype':'U8','shape':[-4],'data_offsets':[0,4]}}   | non-negative
          {'a':{'dtype':'U8','shape':[4.0],'data_offsets':[0,4]}}  | non-negative
          {'a':{'dtype':'U8','shape':[4e0],'data_offsets':[0,4]}}  | non-negative
          {'a':{'dtype':'U8','shape':[[4]],'data_offsets':[0,4]}}  | non-negative
          {'a':{'dtype':'U8','shape':4,'data_offsets':[0,4]}}      | wrong type
          {'a':{'dtype':'U8','shape':[65536,65536,65536,65536,4],'data_offsets':[0,4]}} | 2^31-1
          {'a':{'dtype':'U8','shape':[4294967300],'data_offsets':[0,4]}} | 2^31-1
          {'a':{'dtype':'U8','shape':[99999999999999999999],'data_offsets':[0,4]}} | JSON
          {'a':{'dtype':'U8','shape':[4],'data_offsets':[4,0]}}    | not [begin, end]
          {'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4,4]}}  | not [begin, end]
          {'a':{'dtype':'U8','shape':[4],'data_offsets':[1,5]}}    | hole
          {'a':{'dtype':'U8','shape':[3],'data_offsets':[0,3]}}    | holds 4 bytes of data
          {'a':{'dtype':'U8','shape':[9],'data_offsets':[0,9]}}    | truncated
          {'a':{'dtype':'U8','shape':[0],'data_offsets':[MAX,MAX]}} | hole
          {'a':{'dtype':'U8','shape':[4]}}                         | lacks
          {'a':{'dtype':'U8','shape':[4],'data_offsets':[0,4],'x':1}} | 'x'
          {'a':{'dtype':'U8','shape':[4],'shape':[4],'data_offsets':[0,4]}} | repeated
          {GOOD,GOOD}                                              | appears twice
          {GOOD,'b':{'dtype':'U8','shape':[2],'data_offsets':[2,4]}} | overlap
          {GOOD,'__metadata__':{'k':1}}                            | not a string
          {GOOD,'__metadata__':{'k':'1','k':'1'}}                  | appears twice
          {GOOD,'__metadata__':{},'__metadata__':{}}               | appears twice
          {GOOD} {}                                                | more JSON
          {GOOD,'b':[[[[[[[[[[                                     | not an object
          """)
  void refusesABadHeader(String header, String expected) throws IOException {
    String json =
        header
            .replace("GOOD", GOOD)
            .replace("MAX", Long.toString(Long.MAX_VALUE))
            .replace('\'', '"');
    Path file = write(json.getBytes(UTF_8), new byte[4]);
    assertRefused(file, () -> SafetensorsFile.open(file).close(), expected);
  }

  @Test
  void refusesBadBytes() throws IOException {
    byte[] good = ("{" + GOOD.replace('\'', '"') + "}").getBytes(UTF_8);
    byte[] latin = good.clone();
    latin[2] = (byte) 0xE9;
    Path file = write(latin, new byte[4]);
    assertRefused(file, () -> SafetensorsFile.open(file).close(), "UTF-8");

    byte[] utf16 = new String(good, UTF_8).getBytes(UTF_16LE);
    write(utf16, new byte[4]);
    assertRefused(file, () -> SafetensorsFile.open(file).close(), "not valid JSON");

    write(good, new byte[5]);
    assertRefused(file, () -> SafetensorsFile.open(file).close(), "holds 5 bytes");

    byte[] whole = Files.readAllBytes(write(good, new byte[4]));
    for (int length = 0; length < whole.length; length++) { // every truncation
      Files.write(file, Arrays.copyOf(whole, length));
      assertRefused(file, () -> SafetensorsFile.open(file).close());
    }
    for (long claim : new long[] {-1, Long.MIN_VALUE, 100_000_001, 1 << 20}) {
      Files.write(
          file,
          ByteBuffer.wrap(whole.clone()).order(ByteOrder.LITTLE_ENDIAN).putLong(0, claim).array());
      assertRefused(file, () -> SafetensorsFile.open(file).close(), "claims a header of");
    }
    assertRefused(folder, () -> SafetensorsFile.open(folder).close(), "not a regular file");
    assertThrows(
        NoSuchFileException.class, () -> SafetensorsFile.open(folder.resolve("no")).close());
  }

  @Test
  void messagesStayOnOneShortLine() throws IOException {
    String name = "x\\n\\u2028".repeat(5000);
    Path file =
        write(
            ("{\"" + name + "\":{\"dtype\":\"Q\",\"shape\":[],\"data_offsets\":[0,0]}}")
                .getBytes(UTF_8),
            new byte[0]);
    assertRefused(file, () -> SafetensorsFile.open(file).close(), "tensor 'x\\u000a\\u2028");
  }

  @Test
  void dataIsGoneAfterClose() throws IOException {
    Path file = folder.resolve("a");
    Safetensors.write(file, Map.of(), entries());
    SafetensorsFile read = SafetensorsFile.open(file);
    MemorySegment data = read.entry("mask").data();
    read.close();
    assertThrows(IllegalStateException.class, () -> data.get(ValueLayout.JAVA_BYTE, 0));
  }

  private Path write(byte[] header, byte[] data) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    bytes.writeBytes(
        ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(header.length).array());
    bytes.writeBytes(header);
    bytes.writeBytes(data);
    return Files.write(folder.resolve("a.safetensors"), bytes.toByteArray());
  }
}
