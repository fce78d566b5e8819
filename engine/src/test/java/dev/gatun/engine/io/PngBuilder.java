package dev.gatun.engine.io;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.zip.CRC32;
import java.util.zip.Deflater;

/** Builds PNG files chunk by chunk, valid or not; checksums are always right. */
public final class PngBuilder {
  private final ByteArrayOutputStream out = new ByteArrayOutputStream();

  /** Starts a file with its signature. */
  public PngBuilder() {
    out.writeBytes(new byte[] {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'});
  }

  /** Appends IHDR. */
  public PngBuilder header(int height, int width, int colour, int depth, boolean interlaced) {
    byte[] flags = {(byte) depth, (byte) colour, 0, 0, (byte) (interlaced ? 1 : 0)};
    return chunk("IHDR", ByteBuffer.allocate(13).putInt(width).putInt(height).put(flags).array());
  }

  /** Appends PLTE, unless null. */
  public PngBuilder palette(byte[] rgb) {
    return rgb == null ? this : chunk("PLTE", rgb);
  }

  /** Appends the filtered rows, deflated. */
  public PngBuilder pixels(byte[] rows) {
    Deflater deflater = new Deflater();
    deflater.setInput(rows);
    deflater.finish();
    byte[] deflated = new byte[rows.length + 1000];
    int length = deflater.deflate(deflated);
    deflater.end();
    return chunk("IDAT", Arrays.copyOf(deflated, length));
  }

  /** Appends any chunk. */
  public PngBuilder chunk(String type, byte[] data) {
    byte[] body =
        ByteBuffer.allocate(4 + data.length)
            .put(type.getBytes(StandardCharsets.ISO_8859_1))
            .put(data)
            .array();
    CRC32 crc = new CRC32();
    crc.update(body);
    out.writeBytes(ByteBuffer.allocate(4).putInt(data.length).array());
    out.writeBytes(body);
    out.writeBytes(ByteBuffer.allocate(4).putInt((int) crc.getValue()).array());
    return this;
  }

  /** Appends IEND. */
  public byte[] build() {
    chunk("IEND", new byte[0]);
    return out.toByteArray();
  }

  /** The size of the filtered rows, counted pixel by pixel. */
  static int rowBytes(int height, int width, int colour, int depth, boolean interlaced) {
    int bits = depth * new int[] {1, 0, 3, 1, 2, 0, 4}[colour];
    if (!interlaced) {
      return height * (1 + (width * bits + 7) / 8);
    }
    String[] adam7 = { // the specification's picture
      "16462646", "77777777", "56565656", "77777777", "36463646", "77777777", "56565656", "77777777"
    };
    int bytes = 0;
    for (char pass = '1'; pass <= '7'; pass++) {
      for (int y = 0; y < height; y++) {
        int columns = 0;
        for (int x = 0; x < width; x++) {
          columns += adam7[y % 8].charAt(x % 8) == pass ? 1 : 0;
        }
        bytes += columns == 0 ? 0 : 1 + (columns * bits + 7) / 8;
      }
    }
    return bytes;
  }
}
