package dev.gatun.engine.io;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.SequenceInputStream;
import java.nio.file.Path;
import java.util.Locale;

/**
 * The container side of JPEG: the segments before the first scan.
 *
 * @see <a href="https://www.w3.org/Graphics/JPEG/itu-t81.pdf">ITU-T T.81, annex B</a>
 */
final class Jpeg {
  private static final String DAMAGED = "it is damaged, copy or convert it again";
  private static final int SOF0 = 0xC0;
  private static final int SOF2 = 0xC2;
  private static final int SOI = 0xD8;
  private static final int EOI = 0xD9;
  private static final int SOS = 0xDA;
  private static final int APP0 = 0xE0;
  private static final int APP14 = 0xEE;
  private static final int COM = 0xFE;

  private Jpeg() {}

  static boolean isJpeg(byte[] start) {
    return start.length >= 3
        && start[0] == (byte) 0xFF
        && start[1] == (byte) SOI
        && start[2] == (byte) 0xFF;
  }

  /** The frame's size and number of colour components. */
  record Header(int height, int width, int components) {
    /** Reads {@code start}, then {@code in}, up to the frame header. */
    static Header read(Path file, byte[] start, InputStream in) throws IOException {
      InputStream all = new SequenceInputStream(new ByteArrayInputStream(start), in);
      try {
        all.skipNBytes(2);
        while (true) {
          int marker = marker(file, all);
          int length = length(file, all);
          if (isFrame(marker)) {
            return frame(file, marker, all);
          }
          if (marker == SOS || marker == EOI) {
            throw new FormatException(file, "JPEG without a frame header", DAMAGED);
          }
          all.skipNBytes(length);
        }
      } catch (EOFException e) {
        throw new FormatException(file, "JPEG cut off in its header", DAMAGED, e);
      }
    }

    private static Header frame(Path file, int marker, InputStream in) throws IOException {
      int precision = octet(in);
      int height = octet(in) << 8 | octet(in);
      int width = octet(in) << 8 | octet(in);
      int components = octet(in);
      if (marker > SOF2 || precision != 8 || (components != 1 && components != 3)) {
        throw new FormatException(
            file,
            "JPEG of a kind not read: marker FF"
                + Integer.toHexString(marker).toUpperCase(Locale.ROOT)
                + ", "
                + precision
                + " bits, "
                + components
                + " components",
            "convert it to PNG, or to a baseline or progressive JPEG, grey or RGB");
      }
      if (height == 0 || width == 0) {
        throw new FormatException(file, "JPEG without height or width", DAMAGED);
      }
      return new Header(height, width, components);
    }

    private static boolean isFrame(int marker) {
      return marker >= SOF0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    }
  }

  private static int marker(Path file, InputStream in) throws IOException {
    if (octet(in) != 0xFF) {
      throw new FormatException(file, "JPEG segments do not follow one another", DAMAGED);
    }
    int marker = octet(in);
    while (marker == 0xFF) {
      marker = octet(in);
    }
    return marker;
  }

  /** The length of a segment's content, which its own two bytes of length count as well. */
  private static int length(Path file, InputStream in) throws IOException {
    int length = octet(in) << 8 | octet(in);
    if (length < 2) {
      throw new FormatException(file, "JPEG segment of no length", DAMAGED);
    }
    return length - 2;
  }

  private static int octet(InputStream in) throws IOException {
    int octet = in.read();
    if (octet < 0) {
      throw new EOFException();
    }
    return octet;
  }

  /**
   * The file without the segments that do not bear on its pixels (Exif, colour profiles, comments),
   * so that no decoder meets them; refuses a file that has no end marker.
   */
  static byte[] essential(Path file, byte[] bytes) throws IOException {
    int end = bytes.length - 2;
    while (end >= 2 && !(bytes[end] == (byte) 0xFF && bytes[end + 1] == (byte) EOI)) {
      end--;
    }
    if (end < 2) {
      throw new FormatException(file, "JPEG cut off before its end marker", DAMAGED);
    }
    ByteArrayInputStream in = new ByteArrayInputStream(bytes);
    ByteArrayOutputStream out = new ByteArrayOutputStream(bytes.length);
    out.write(0xFF);
    out.write(SOI);
    try {
      in.skipNBytes(2);
      while (true) {
        int marker = marker(file, in);
        int length = length(file, in);
        byte[] content = in.readNBytes(length);
        if (content.length < length) {
          throw new EOFException();
        }
        boolean dropped =
            (marker >= APP0 && marker <= 0xEF && marker != APP0 && marker != APP14)
                || marker == COM;
        if (!dropped) {
          out.write(0xFF);
          out.write(marker);
          out.write(length + 2 >> 8);
          out.write(length + 2);
          out.writeBytes(content);
        }
        if (marker == SOS) {
          out.writeBytes(in.readAllBytes());
          return out.toByteArray();
        }
      }
    } catch (EOFException e) {
      throw new FormatException(file, "JPEG cut off before its first scan", DAMAGED, e);
    }
  }
}
