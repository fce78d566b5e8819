package dev.gatun.engine.io;

import com.code_intelligence.jazzer.api.FuzzedDataProvider;
import com.code_intelligence.jazzer.junit.FuzzTest;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.CRC32;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;

/** Whatever the bytes: an image of the size its header states, or a FormatException. */
class ImagesFuzzTest {
  private static Path file;

  @BeforeAll
  static void createFile() throws IOException {
    file = Files.createTempFile("gatun", ".png");
  }

  @AfterAll
  static void deleteFile() throws IOException {
    Files.delete(file);
  }

  /** Any bytes; where they look like PNG chunks, with the right checksums. */
  @FuzzTest(maxDuration = "70s")
  void png(byte[] bytes) throws IOException {
    byte[] repaired = bytes.clone();
    ByteBuffer chunks = ByteBuffer.wrap(repaired);
    for (int at = 8; at + 12 <= repaired.length; ) {
      int length = chunks.getInt(at);
      if (length < 0 || length > repaired.length - at - 12) {
        break;
      }
      CRC32 crc = new CRC32();
      crc.update(repaired, at + 4, length + 4);
      chunks.putInt(at + 8 + length, (int) crc.getValue());
      at += length + 12;
    }
    check(repaired);
  }

  /** PNG chunk by chunk, so that the pixel decoder is reached. */
  @FuzzTest(maxDuration = "70s")
  void pngChunks(FuzzedDataProvider data) throws IOException {
    PngBuilder png =
        new PngBuilder()
            .header(
                data.consumeInt(0, 40),
                data.consumeInt(0, 40),
                data.consumeInt(0, 6),
                data.pickValue(new int[] {1, 2, 4, 8, 16}),
                data.consumeBoolean());
    String[] types = {"PLTE", "tRNS", "IDAT", "gAMA", "iCCP", "sBIT", "IHDR", "IEND"};
    int extra = data.consumeInt(0, 3);
    for (int i = 0; i < extra; i++) {
      png.chunk(data.pickValue(types), data.consumeBytes(data.consumeInt(0, 800)));
    }
    check(png.pixels(data.consumeRemainingAsBytes()).build());
  }

  @FuzzTest(maxDuration = "70s")
  void jpeg(byte[] bytes) throws IOException {
    check(bytes);
  }

  private static void check(byte[] bytes) throws IOException {
    Files.write(file, bytes);
    // Deflate makes at most 1032 bytes of one, 8 pixels each, 3 bytes and 3 ints for a pixel at
    // most
    // as they are decoded; what ImageIO takes for itself is the constant.
    ReaderContract.assertHolds(
        1032L * 64 * bytes.length + (32 << 20),
        () -> {
          Image image = Images.read(file);
          ImageHeader header = Images.readHeader(file);
          if (image.height() != header.height()
              || image.width() != header.width()
              || (image.channels() == 1) != header.grey()) {
            throw new IllegalStateException(header + " but " + image);
          }
        });
  }
}
