package dev.gatun.engine.io;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.zip.CRC32;
import java.util.zip.DataFormatException;
import java.util.zip.Deflater;
import java.util.zip.Inflater;

/**
 * The container side of PNG: header, chunks, checksums, and a plain encoder.
 *
 * @see <a href="https://www.w3.org/TR/png-3/">Portable Network Graphics, third edition</a>
 */
final class Png {
  /** Signature and the whole IHDR chunk. */
  static final int HEADER_BYTES = 33;

  private static final String DAMAGED = "it is damaged, copy or convert it again";
  private static final byte[] SIGNATURE = {(byte) 0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

  /** First column, first row, column step, row step of the seven passes of Adam7. */
  private static final int[][] ADAM7 = {
    {0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}
  };

  private Png() {}

  static boolean isPng(byte[] start) {
    return start.length >= SIGNATURE.length
        && Arrays.equals(SIGNATURE, Arrays.copyOf(start, SIGNATURE.length));
  }

  /** The fields of IHDR that matter. */
  record Header(int width, int height, int depth, int colour, boolean interlaced) {
    private static final int PALETTE = 3;

    static Header parse(Path file, byte[] start) throws FormatException {
      if (start.length < HEADER_BYTES) {
        throw new FormatException(file, "PNG cut off in its header", DAMAGED);
      }
      ByteBuffer ihdr = ByteBuffer.wrap(start, SIGNATURE.length, HEADER_BYTES - SIGNATURE.length);
      int length = ihdr.getInt();
      int type = ihdr.getInt();
      Header header =
          new Header(ihdr.getInt(), ihdr.getInt(), ihdr.get(), ihdr.get(), start[28] == 1);
      boolean known = ihdr.get() == 0 && ihdr.get() == 0 && (start[28] & ~1) == 0;
      if (length != 13
          || type != type("IHDR")
          || !known
          || header.width <= 0
          || header.height <= 0
          || !header.hasValidDepth()) {
        throw new FormatException(file, "PNG header (IHDR) is not valid", DAMAGED);
      }
      return header;
    }

    private boolean hasValidDepth() {
      return switch (colour) {
        case 0 -> depth == 1 || depth == 2 || depth == 4 || depth == 8 || depth == 16;
        case PALETTE -> depth == 1 || depth == 2 || depth == 4 || depth == 8;
        case 2, 4, 6 -> depth == 8 || depth == 16;
        default -> false;
      };
    }

    boolean isGrey() {
      return colour == 0 || colour == 4;
    }

    private int bitsPerPixel() {
      return depth
          * switch (colour) {
            case 2 -> 3;
            case 4 -> 2;
            case 6 -> 4;
            default -> 1;
          };
    }

    /** The exact size of the filtered rows once inflated. */
    long inflatedBytes() {
      if (!interlaced) {
        return passBytes(width, height);
      }
      long bytes = 0;
      for (int[] pass : ADAM7) {
        long columns = ((long) width - pass[0] + pass[2] - 1) / pass[2];
        long rows = ((long) height - pass[1] + pass[3] - 1) / pass[3];
        bytes += passBytes(columns, rows);
      }
      return bytes;
    }

    private long passBytes(long columns, long rows) {
      // At most 2^31 * (1 + 2^31 * 8): the multiplication saturates instead of wrapping.
      long rowBytes = 1 + (columns * bitsPerPixel() + 7) / 8;
      if (columns <= 0 || rows <= 0) {
        return 0;
      }
      return rowBytes > Long.MAX_VALUE / 16 / rows ? Long.MAX_VALUE / 16 : rowBytes * rows;
    }
  }

  /**
   * Checks every chunk and that the pixel data is there in full, and returns the file without the
   * chunks that do not bear on its pixels (text, colour profiles, times), so that no decoder meets
   * them.
   */
  static byte[] essential(Path file, byte[] bytes) throws FormatException {
    Header header = Header.parse(file, bytes);
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.writeBytes(SIGNATURE);
    InflatedLength pixels = new InflatedLength(file, header.inflatedBytes());
    ByteBuffer in = ByteBuffer.wrap(bytes).position(SIGNATURE.length);
    try {
      boolean first = true;
      while (true) {
        if (in.remaining() < 12) {
          throw new FormatException(file, "PNG cut off before its end chunk", DAMAGED);
        }
        int start = in.position();
        int length = in.getInt();
        if (length < 0 || length > in.remaining() - 8) {
          throw new FormatException(file, "PNG chunk longer than the rest of the file", DAMAGED);
        }
        int type = in.getInt();
        CRC32 crc = new CRC32();
        crc.update(bytes, start + 4, length + 4);
        in.position(start + 8 + length);
        if (in.getInt() != (int) crc.getValue()) {
          throw new FormatException(file, "PNG checksum (CRC) does not match", DAMAGED);
        }
        boolean known =
            type == type("PLTE")
                || type == type("tRNS")
                || type == type("IDAT")
                || type == type("IEND");
        if (type == type("IHDR") != first || (!known && !first && (type >>> 29 & 1) == 0)) {
          throw new FormatException(file, "PNG chunks out of order or unknown", DAMAGED);
        }
        if ((type == type("PLTE") && length > 768) || (type == type("tRNS") && length > 256)) {
          throw new FormatException(file, "PNG palette too long", DAMAGED);
        }
        if (type == type("IDAT")) {
          pixels.add(bytes, start + 8, length);
        }
        if (known || first) {
          out.write(bytes, start, length + 12);
        }
        if (type == type("IEND")) {
          pixels.finish();
          return out.toByteArray();
        }
        first = false;
      }
    } finally {
      pixels.end();
    }
  }

  private static int type(String name) {
    return ByteBuffer.wrap(name.getBytes(StandardCharsets.US_ASCII)).getInt();
  }

  /** Inflates the pixel data only to count it. */
  private static final class InflatedLength {
    private final Path file;
    private final long expected;
    private final Inflater inflater = new Inflater();
    private final byte[] scratch = new byte[8192];
    private long count;

    InflatedLength(Path file, long expected) {
      this.file = file;
      this.expected = expected;
    }

    void add(byte[] bytes, int offset, int length) throws FormatException {
      inflater.setInput(bytes, offset, length);
      try {
        while (count < expected && !inflater.finished() && !inflater.needsDictionary()) {
          int inflated = inflater.inflate(scratch);
          if (inflated == 0) {
            return;
          }
          count += inflated;
        }
      } catch (DataFormatException e) {
        throw new FormatException(file, "PNG pixel data does not inflate", DAMAGED, e);
      }
    }

    void finish() throws FormatException {
      if (count < expected) {
        throw new FormatException(
            file, "PNG holds " + count + " of " + expected + " bytes of pixel data", DAMAGED);
      }
    }

    void end() {
      inflater.end();
    }
  }

  /** Encodes u8 {@code [H,W,C]} pixels, C 1 or 3; the same pixels give the same bytes. */
  static byte[] encode(byte[] pixels, int offset, int height, int width, int channels) {
    int rowBytes = width * channels;
    byte[] rows = new byte[Math.multiplyExact(height, Math.addExact(rowBytes, 1))];
    for (int y = 0; y < height; y++) {
      System.arraycopy(pixels, offset + y * rowBytes, rows, y * (rowBytes + 1) + 1, rowBytes);
    }
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.writeBytes(SIGNATURE);
    byte[] ihdr =
        ByteBuffer.allocate(13)
            .putInt(width)
            .putInt(height)
            .put(new byte[] {8, (byte) (channels == 1 ? 0 : 2), 0, 0, 0})
            .array();
    chunk(out, "IHDR", ihdr);
    chunk(out, "IDAT", deflate(rows));
    chunk(out, "IEND", new byte[0]);
    return out.toByteArray();
  }

  private static void chunk(ByteArrayOutputStream out, String type, byte[] data) {
    byte[] body = ByteBuffer.allocate(4 + data.length).putInt(type(type)).put(data).array();
    CRC32 crc = new CRC32();
    crc.update(body);
    out.writeBytes(ByteBuffer.allocate(4).putInt(data.length).array());
    out.writeBytes(body);
    out.writeBytes(ByteBuffer.allocate(4).putInt((int) crc.getValue()).array());
  }

  private static byte[] deflate(byte[] bytes) {
    Deflater deflater = new Deflater();
    try {
      deflater.setInput(bytes);
      deflater.finish();
      ByteArrayOutputStream out = new ByteArrayOutputStream();
      byte[] buffer = new byte[8192];
      while (!deflater.finished()) {
        out.write(buffer, 0, deflater.deflate(buffer));
      }
      return out.toByteArray();
    } finally {
      deflater.end();
    }
  }
}
