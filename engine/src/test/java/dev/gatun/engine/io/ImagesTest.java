package dev.gatun.engine.io;

import static dev.gatun.engine.io.ReaderContract.assertRefused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import javax.imageio.ImageIO;
import javax.imageio.stream.MemoryCacheImageOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ImagesTest {
  @TempDir Path folder;

  private static byte[] noise(int length) {
    byte[] bytes = new byte[length];
    new Random(1).nextBytes(bytes);
    return bytes;
  }

  @Test
  void pngRoundTripIsExactAndDeterministic() throws IOException {
    for (int channels : new int[] {1, 3}) {
      byte[] pixels = noise(5 * 7 * channels + 2);
      Path file = folder.resolve("a.png");
      Images.writePng(file, pixels, 2, 5, 7, channels);
      assertEquals(
          new ImageHeader(ImageHeader.Kind.PNG, 5, 7, channels == 1), Images.readHeader(file));
      Image image = Images.read(file);
      assertEquals(channels, image.channels());
      assertArrayEquals(Arrays.copyOfRange(pixels, 2, pixels.length), image.pixels());
      Images.writePng(folder.resolve("b.png"), image);
      assertArrayEquals(Files.readAllBytes(file), Files.readAllBytes(folder.resolve("b.png")));
    }
  }

  /** Colour type, depth, interlace; a value of full scale / 3 in the first sample of each pixel. */
  @ParameterizedTest
  @CsvSource({
    "0, 1, false",
    "0, 2, true",
    "0, 4, false",
    "0, 8, true",
    "0, 16, false",
    "2, 8, false",
    "2, 16, true",
    "3, 1, true",
    "3, 2, false",
    "3, 4, true",
    "3, 8, false",
    "4, 8, true",
    "4, 16, false",
    "6, 8, false",
    "6, 16, true"
  })
  void readsEveryKindOfPng(int colour, int depth, boolean interlaced) throws IOException {
    Path file = folder.resolve("a.png");
    int height = 5;
    int width = 9;
    byte[] rows = new byte[2000];
    int bytes = PngBuilder.rowBytes(height, width, colour, depth, interlaced);
    Files.write(
        file,
        new PngBuilder()
            .header(height, width, colour, depth, interlaced)
            .palette(colour == 3 ? new byte[] {10, 20, 30, 40, 50, 60} : null)
            .pixels(Arrays.copyOf(rows, bytes))
            .build());
    ImageHeader header = Images.readHeader(file);
    assertEquals(colour == 0 || colour == 4, header.grey());
    Image image = Images.read(file);
    byte expected = (byte) (colour == 4 || colour == 6 ? 255 : 0); // black, or nothing on white
    for (int i = 0; i < image.pixels().length; i++) {
      byte value = colour == 3 ? new byte[] {10, 20, 30}[i % 3] : expected;
      assertEquals(value, image.pixels()[i]);
    }
    Files.write(
        file,
        new PngBuilder()
            .header(height, width, colour, depth, interlaced)
            .palette(colour == 3 ? new byte[] {10, 20, 30, 40, 50, 60} : null)
            .pixels(Arrays.copyOf(rows, bytes - 1))
            .build());
    assertRefused(file, () -> Images.read(file), (bytes - 1) + " of " + bytes);
  }

  @Test
  void sixteenBitsAreRoundedAndTransparencyLiesOnWhite() throws IOException {
    Path file = folder.resolve("a.png");
    byte[] grey16 = {0, 0x12, (byte) 0xFF, 0x7F, (byte) 0xFF};
    Files.write(file, new PngBuilder().header(1, 2, 0, 16, false).pixels(grey16).build());
    assertArrayEquals(new byte[] {19, 127}, Images.read(file).pixels());

    byte[] rgba = {0, 100, 0, (byte) 255, 51};
    Files.write(file, new PngBuilder().header(1, 1, 6, 8, false).pixels(rgba).build());
    assertArrayEquals(new byte[] {(byte) 224, (byte) 204, (byte) 255}, Images.read(file).pixels());
  }

  @Test
  void greyJpegKeepsItsStoredValues() throws IOException {
    Path file = folder.resolve("a.jpg");
    Files.write(file, jpeg(BufferedImage.TYPE_BYTE_GRAY, 10, 12));
    Image image = Images.read(file);
    assertEquals(1, image.channels());
    for (byte value : image.pixels()) { // not pushed through a colour space's gamma
      assertEquals(100, value & 255, 2);
    }
  }

  @Test
  void rgbJpegIsRgb() throws IOException {
    Path file = folder.resolve("misnamed.png");
    Files.write(file, jpeg(BufferedImage.TYPE_INT_RGB, 10, 12));
    assertEquals(new ImageHeader(ImageHeader.Kind.JPEG, 10, 12, false), Images.readHeader(file));
    Image image = Images.read(file);
    assertEquals(3, image.channels());
    assertEquals(100, image.pixels()[0] & 255, 4);
  }

  private static byte[] jpeg(int type, int height, int width) throws IOException {
    BufferedImage image = new BufferedImage(width, height, type);
    int[] samples = new int[height * width * image.getRaster().getNumBands()];
    Arrays.fill(samples, 100);
    image.getRaster().setPixels(0, 0, width, height, samples);
    return jpeg(image);
  }

  private static BufferedImage noisy(int height, int width) {
    BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_BYTE_GRAY);
    image.getRaster().setDataElements(0, 0, width, height, noise(height * width));
    return image;
  }

  private static byte[] jpeg(BufferedImage image) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (MemoryCacheImageOutputStream out = new MemoryCacheImageOutputStream(bytes)) {
      ImageIO.write(image, "jpeg", out);
    }
    return bytes.toByteArray();
  }

  @Test
  void refusesDamagedPng() throws IOException {
    Path file = folder.resolve("a.png");
    Images.writePng(file, noise(300), 0, 10, 10, 3);
    byte[] whole = Files.readAllBytes(file);
    for (int length = 0; length < whole.length; length++) {
      Files.write(file, Arrays.copyOf(whole, length));
      assertRefused(file, () -> Images.read(file));
    }
    for (int at = 0; at < whole.length; at++) { // every byte is under a check
      byte[] damaged = whole.clone();
      damaged[at] ^= 0x10;
      Files.write(file, damaged);
      assertRefused(file, () -> Images.read(file));
    }
  }

  @Test
  void refusesDamagedJpeg() throws IOException {
    Path file = folder.resolve("a.jpg");
    byte[] whole = jpeg(BufferedImage.TYPE_INT_RGB, 10, 12);
    for (int length = 0; length < whole.length; length++) {
      Files.write(file, Arrays.copyOf(whole, length));
      assertRefused(file, () -> Images.read(file));
    }
    // Scan data gone, end marker there: the decoder only warns, and makes the rest up.
    Files.write(file, jpeg(noisy(64, 64)));
    Images.read(file);
    byte[] noisy = Files.readAllBytes(file);
    byte[] end = {(byte) 0xFF, (byte) 0xD9};
    Files.write(file, concat(Arrays.copyOf(noisy, noisy.length / 2), end));
    assertRefused(file, () -> Images.read(file), "JPEG: ");

    byte[] cmyk = whole.clone();
    int frame = indexOf(cmyk, new byte[] {(byte) 0xFF, (byte) 0xC0});
    cmyk[frame + 9] = 4;
    Files.write(file, cmyk);
    assertRefused(file, () -> Images.read(file), "4 components");
  }

  @Test
  void refusesSizesThatTheBytesCannotHold() throws IOException {
    Path file = folder.resolve("a.png");
    PngBuilder bomb = new PngBuilder().header(8000, 8000, 0, 8, false).pixels(new byte[100]);
    Files.write(file, bomb.build());
    assertRefused(file, () -> Images.read(file), "more than a file of its size can hold");
    Files.write(file, new PngBuilder().header(1 << 30, 1 << 30, 6, 16, true).build());
    assertRefused(file, () -> Images.readHeader(file), "1073741824x1073741824");

    byte[] jpeg = jpeg(BufferedImage.TYPE_INT_RGB, 8, 8);
    int frame = indexOf(jpeg, new byte[] {(byte) 0xFF, (byte) 0xC0});
    jpeg[frame + 5] = (byte) 0x10;
    jpeg[frame + 7] = (byte) 0x10;
    Files.write(file, jpeg);
    assertRefused(
        file, () -> Images.read(file), "4104x4104", "more than a file of its size can hold");
  }

  @Test
  void chunksThatDoNotBearOnPixelsDoNotReachTheDecoder() throws IOException {
    Path file = folder.resolve("a.png");
    Files.write(
        file,
        new PngBuilder()
            .header(1, 1, 0, 8, false)
            .chunk("iCCP", new byte[] {'x', 0, 0, 1, 2, 3})
            .chunk("gAMA", new byte[3])
            .pixels(new byte[] {0, 7})
            .build());
    assertArrayEquals(new byte[] {7}, Images.read(file).pixels());
  }

  @Test
  void refusesWhatIsNoImage() throws IOException {
    Path file = Files.writeString(folder.resolve("a.png"), "not at all");
    assertRefused(file, () -> Images.read(file), "neither PNG nor JPEG");
    assertRefused(folder, () -> Images.read(folder), "not a regular file");
    assertThrows(NoSuchFileException.class, () -> Images.read(folder.resolve("no.png")));
  }

  @Test
  void gridPlacesScalesAndPads() {
    byte[] three = {1, 2, 3, 4, 5, 6}; // three images of 1x2
    Image grid = Images.grid(three, 3, 1, 2, 1, 2, 1, 2);
    assertEquals(2 * 2 + 3, grid.height());
    assertEquals(2 * 4 + 3, grid.width());
    byte w = (byte) 255;
    byte[] line = {w, 1, 1, 2, 2, w, 3, 3, 4, 4, w};
    assertArrayEquals(line, Arrays.copyOfRange(grid.pixels(), 11, 22));
    assertArrayEquals(line, Arrays.copyOfRange(grid.pixels(), 22, 33));
    byte[] last = {w, 5, 5, 6, 6, w, w, w, w, w, w};
    assertArrayEquals(last, Arrays.copyOfRange(grid.pixels(), 44, 55));
    assertTrue(grid.pixels()[0] == w && grid.pixels()[33] == w);
    Image colour = Images.grid(new byte[] {1, 2, 3, 4, 5, 6}, 2, 1, 1, 3, 8, 0, 1);
    assertArrayEquals(new byte[] {1, 2, 3, 4, 5, 6}, colour.pixels());
  }

  @Test
  void refusesPixelsThatDoNotFit() {
    Path file = folder.resolve("a.png");
    assertThrows(
        IllegalArgumentException.class, () -> Images.writePng(file, new byte[5], 0, 2, 1, 3));
    assertThrows(
        IllegalArgumentException.class, () -> Images.writePng(file, new byte[6], 1, 2, 1, 3));
    assertThrows(
        IllegalArgumentException.class, () -> Images.writePng(file, new byte[6], 0, 3, 1, 2));
    assertThrows(
        IllegalArgumentException.class,
        () -> Images.writePng(file, new byte[6], 0, 1 << 30, 1 << 30, 1));
    assertThrows(
        IllegalArgumentException.class, () -> Images.grid(new byte[6], 6, 1, 1, 1, 3, 0, 1 << 30));
  }

  private static int indexOf(byte[] bytes, byte[] part) {
    for (int i = 0; i + part.length <= bytes.length; i++) {
      if (Arrays.equals(part, Arrays.copyOfRange(bytes, i, i + part.length))) {
        return i;
      }
    }
    throw new AssertionError("not found");
  }

  private static byte[] concat(byte[] a, byte[] b) {
    byte[] both = Arrays.copyOf(a, a.length + b.length);
    System.arraycopy(b, 0, both, a.length, b.length);
    return both;
  }
}
