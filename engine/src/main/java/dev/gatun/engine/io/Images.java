package dev.gatun.engine.io;

import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.BufferedInputStream;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicReference;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;
import javax.imageio.stream.MemoryCacheImageInputStream;

/**
 * Image files as u8 pixels: PNG and JPEG in, PNG out.
 *
 * <p>Reading gives the stored sample values: grey stays one channel, palettes are looked up, 16
 * bits are rounded to 8, transparency is laid on white; colour profiles and Exif turns are not
 * applied. Nothing is allocated that a file's bytes do not back.
 */
public final class Images {
  private static final long MAX_FILE_BYTES = 256L << 20;
  private static final byte WHITE = (byte) 255;

  private Images() {}

  /**
   * Reads an image's size and kind without decoding it.
   *
   * @throws FormatException if it is no PNG or JPEG, or claims more than its bytes can hold
   */
  public static ImageHeader readHeader(Path file) throws IOException {
    long bytes = fileBytes(file);
    try (InputStream in = new BufferedInputStream(Files.newInputStream(file))) {
      return ImageHeader.read(file, in, bytes);
    }
  }

  /**
   * Reads an image.
   *
   * @return grey (one channel) exactly if {@link ImageHeader#grey} says so, RGB otherwise
   * @throws FormatException if it is no whole PNG or JPEG
   */
  public static Image read(Path file) throws IOException {
    fileBytes(file);
    byte[] bytes = Files.readAllBytes(file);
    ImageHeader header = ImageHeader.read(file, new ByteArrayInputStream(bytes), bytes.length);
    byte[] essential =
        header.kind() == ImageHeader.Kind.PNG
            ? Png.essential(file, bytes)
            : Jpeg.essential(file, bytes);
    BufferedImage image = decode(file, header, essential);
    return new Image(
        header.height(), header.width(), header.grey() ? 1 : 3, pixels(file, header, image));
  }

  private static long fileBytes(Path file) throws IOException {
    if (!Files.exists(file)) {
      throw new NoSuchFileException(file.toString(), null, "no such file; check the path");
    }
    if (!Files.isRegularFile(file)) {
      throw new FormatException(file, "not a regular file", "give a PNG or JPEG file");
    }
    long bytes = Files.size(file);
    if (bytes > MAX_FILE_BYTES) {
      throw new FormatException(
          file, "an image of " + bytes + " bytes, more than " + MAX_FILE_BYTES, "scale it down");
    }
    return bytes;
  }

  private static BufferedImage decode(Path file, ImageHeader header, byte[] bytes)
      throws FormatException {
    String damaged = "it is damaged, copy or convert it again";
    AtomicReference<String> warning = new AtomicReference<>();
    ImageReader reader = ImageIO.getImageReadersByFormatName(header.kind().name()).next();
    BufferedImage image;
    try (ImageInputStream in = new MemoryCacheImageInputStream(new ByteArrayInputStream(bytes))) {
      reader.setInput(in, true, true);
      reader.addIIOReadWarningListener((source, text) -> warning.compareAndSet(null, text));
      if (reader.getWidth(0) != header.width() || reader.getHeight(0) != header.height()) {
        throw new IOException("it states two different sizes");
      }
      image = reader.read(0);
    } catch (IOException | RuntimeException e) {
      throw new FormatException(
          file, header.kind() + " does not decode: " + e.getMessage(), damaged, e);
    } finally {
      reader.dispose();
    }
    if (warning.get() != null) {
      throw new FormatException(file, header.kind() + ": " + warning.get(), damaged);
    }
    return image;
  }

  /** The samples as stored, not converted between colour spaces. */
  private static byte[] pixels(Path file, ImageHeader header, BufferedImage image)
      throws FormatException {
    int width = header.width();
    int channels = header.grey() ? 1 : 3;
    Raster raster = image.getRaster();
    IndexColorModel palette = image.getColorModel() instanceof IndexColorModel p ? p : null;
    int bands = raster.getNumBands();
    boolean alpha = bands == channels + 1;
    if (palette == null ? bands != channels && !alpha : bands != 1) {
      throw new FormatException(
          file, "decodes to " + bands + " channels", "convert it to a grey or RGB PNG");
    }
    int maximum = (1 << raster.getSampleModel().getSampleSize(0)) - 1;
    byte[] pixels = new byte[header.height() * width * channels];
    int[] row = new int[width * bands];
    int at = 0;
    for (int y = 0; y < header.height(); y++) {
      raster.getPixels(0, y, width, 1, row);
      for (int x = 0; x < width; x++) {
        int argb = palette == null ? 0 : palette.getRGB(row[x]);
        int opacity = 255;
        if (palette != null) {
          opacity = argb >>> 24;
        } else if (alpha) {
          opacity = to8Bits(row[x * bands + channels], maximum);
        }
        for (int c = 0; c < channels; c++) {
          int value =
              palette == null ? to8Bits(row[x * bands + c], maximum) : argb >>> (16 - 8 * c) & 255;
          pixels[at++] = (byte) ((value * opacity + 255 * (255 - opacity) + 127) / 255);
        }
      }
    }
    return pixels;
  }

  private static int to8Bits(int value, int maximum) {
    return (int) ((value * 255L + maximum / 2) / maximum);
  }

  /**
   * Writes a PNG atomically; the same pixels give the same bytes.
   *
   * @param pixels u8 {@code [H,W,C]} at {@code offset}, C 1 or 3
   */
  public static void writePng(
      Path file, byte[] pixels, int offset, int height, int width, int channels)
      throws IOException {
    checkExtents("png", pixels.length, offset, 1, height, width, channels);
    AtomicFile.write(file, Png.encode(pixels, offset, height, width, channels));
  }

  /** Writes a PNG atomically; the same pixels give the same bytes. */
  public static void writePng(Path file, Image image) throws IOException {
    writePng(file, image.pixels(), 0, image.height(), image.width(), image.channels());
  }

  /**
   * Lays images out on a white sheet, left to right, then top to bottom.
   *
   * @param images u8 {@code [N,H,W,C]}, C 1 or 3
   * @param columns images in a row
   * @param padding pixels between and around the images, not scaled
   * @param scale each pixel becomes a square of this side
   */
  public static Image grid(
      byte[] images,
      int count,
      int height,
      int width,
      int channels,
      int columns,
      int padding,
      int scale) {
    checkExtents("grid", images.length, 0, count, height, width, channels);
    if (columns <= 0 || padding < 0 || scale <= 0) {
      throw new IllegalArgumentException(
          "grid: columns " + columns + ", padding " + padding + ", scale " + scale);
    }
    int across = Math.min(columns, count);
    int down = (count - 1) / across + 1;
    long sheetHeight = (long) down * ((long) height * scale + padding) + padding;
    long sheetWidth = (long) across * ((long) width * scale + padding) + padding;
    if (sheetHeight > 1 << 20
        || sheetWidth > 1 << 20
        || sheetHeight * (sheetWidth * channels + 1) > Integer.MAX_VALUE - 8) {
      throw new IllegalArgumentException(
          "grid: " + sheetWidth + "x" + sheetHeight + " pixels is too large for one image");
    }
    int rowBytes = (int) sheetWidth * channels;
    byte[] sheet = new byte[(int) sheetHeight * rowBytes];
    Arrays.fill(sheet, WHITE);
    for (int n = 0; n < count; n++) {
      int top = padding + n / across * (height * scale + padding);
      int left = padding + n % across * (width * scale + padding);
      for (int y = 0; y < height * scale; y++) {
        int source = (n * height + y / scale) * width;
        int at = (top + y) * rowBytes + left * channels;
        for (int x = 0; x < width * scale; x++) {
          for (int c = 0; c < channels; c++) {
            sheet[at++] = images[(source + x / scale) * channels + c];
          }
        }
      }
    }
    return new Image((int) sheetHeight, (int) sheetWidth, channels, sheet);
  }

  private static void checkExtents(
      String what, int length, int offset, int count, int height, int width, int channels) {
    boolean positive = offset >= 0 && count > 0 && height > 0 && width > 0;
    if (!positive
        || (channels != 1 && channels != 3)
        || Math.multiplyHigh((long) count * height, (long) width * channels) != 0
        || (long) count * height * ((long) width * channels) > length - offset
        || (long) count * height * ((long) width * channels) < 0) {
      throw new IllegalArgumentException(
          what
              + ": ["
              + count
              + ","
              + height
              + ","
              + width
              + ","
              + channels
              + "] at "
              + offset
              + " does not fit "
              + length
              + " bytes, or C is not 1 or 3");
    }
  }
}
