package dev.gatun.engine.io;

import com.code_intelligence.jazzer.junit.FuzzTest;
import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;

/** Whatever the bytes: an open file whose every byte can be read, or a FormatException. */
class SafetensorsFuzzTest {
  private static Path file;

  @BeforeAll
  static void createFile() throws IOException {
    file = Files.createTempFile("gatun", ".safetensors");
  }

  @AfterAll
  static void deleteFile() throws IOException {
    Files.delete(file);
  }

  @FuzzTest(maxDuration = "70s")
  void bytes(byte[] bytes) throws IOException {
    check(bytes);
  }

  /** The JSON header alone, with the right length before it and some data after it. */
  @FuzzTest(maxDuration = "70s")
  void header(byte[] json) throws IOException {
    int data = json.length % 17;
    check(
        ByteBuffer.allocate(8 + json.length + data)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putLong(json.length)
            .put(json)
            .array());
  }

  private static void check(byte[] bytes) throws IOException {
    Files.write(file, bytes);
    ReaderContract.assertHolds(
        64L * bytes.length + (2 << 20),
        () -> {
          try (SafetensorsFile open = SafetensorsFile.open(file)) {
            long total = 0;
            for (SafetensorsEntry entry : open.entries().values()) {
              total += entry.data().byteSize();
              for (long i = 0; i < entry.data().byteSize(); i++) {
                entry.data().get(ValueLayout.JAVA_BYTE, i);
              }
            }
            if (total > bytes.length) {
              throw new IllegalStateException("more data than file");
            }
          }
        });
  }
}
