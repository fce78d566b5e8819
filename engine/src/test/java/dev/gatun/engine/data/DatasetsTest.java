package dev.gatun.engine.data;

import static dev.gatun.engine.io.ReaderContract.assertRefused;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.io.Images;
import dev.gatun.engine.io.ReaderContract;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.TreeSet;
import java.util.stream.IntStream;
import java.util.zip.GZIPOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class DatasetsTest {
  @TempDir Path folder;

  private static final String TRAIN_IMAGES = "train-images-idx3-ubyte";
  private static final String TRAIN_LABELS = "train-labels-idx1-ubyte";
  private static final String TEST_IMAGES = "t10k-images-idx3-ubyte";
  private static final String TEST_LABELS = "t10k-labels-idx1-ubyte";

  static byte[] idxImages(int count, int height, int width) {
    byte[] pixels = new byte[count * height * width];
    new Random(count).nextBytes(pixels);
    return ByteBuffer.allocate(16 + pixels.length)
        .putInt(0x0803)
        .putInt(count)
        .putInt(height)
        .putInt(width)
        .put(pixels)
        .array();
  }

  static byte[] idxLabels(int... labels) {
    ByteBuffer bytes = ByteBuffer.allocate(8 + labels.length).putInt(0x0801).putInt(labels.length);
    for (int label : labels) {
      bytes.put((byte) label);
    }
    return bytes.array();
  }

  static byte[] gzip(byte[] bytes) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (GZIPOutputStream gzip = new GZIPOutputStream(out)) {
      gzip.write(bytes);
    }
    return out.toByteArray();
  }

  private Path put(String name, byte[] bytes) throws IOException {
    Path file = folder.resolve(name);
    Files.createDirectories(file.getParent());
    return Files.write(file, bytes);
  }

  private Dataset open(Split split) throws IOException {
    return Datasets.open(folder, split, 1);
  }

  private void assertFolderRefused(String file, String... parts) {
    for (Split split : Split.values()) {
      assertRefused(folder.resolve(file), () -> open(split), parts);
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void idxWithBothSplits(boolean gzip) throws IOException {
    byte[] train = idxImages(5, 4, 3);
    String suffix = gzip ? ".gz" : "";
    byte[][] files = {
      train, idxLabels(0, 1, 2, 9, 1), idxImages(2, 4, 3), idxLabels(7, 0),
    };
    String[] names = {TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS};
    for (int i = 0; i < 4; i++) {
      put(names[i] + suffix, gzip ? gzip(files[i]) : files[i]);
    }
    Dataset data = open(Split.TRAIN);
    assertEquals(5, data.count());
    assertEquals(List.of(4, 3, 1), List.of(data.height(), data.width(), data.channels()));
    assertEquals(10, data.classes());
    assertEquals(9, data.label(3));
    assertArrayEquals(Arrays.copyOfRange(train, 16 + 12, 16 + 24), data.images(1));
    Dataset test = open(Split.TEST);
    assertEquals(2, test.count());
    assertEquals(10, test.classes());
    assertEquals(7, test.label(0));
  }

  @Test
  void idxWithoutLabelsAndInOtherSpellings() throws IOException {
    put("train-images.idx3-ubyte", idxImages(3, 2, 2));
    put(TEST_IMAGES + ".gz", idxImages(2, 2, 2)); // not compressed, whatever its name
    assertFalse(open(Split.TRAIN).hasLabels());
    assertEquals(0, open(Split.TRAIN).classes());
    assertThrows(IllegalStateException.class, () -> open(Split.TRAIN).label(0));
    assertEquals(2, open(Split.TEST).count());
  }

  @Test
  void idxSingleFileWithLabelsBesideIt() throws IOException {
    Path images = put("digits-images-idx3-ubyte", idxImages(20, 2, 2));
    put("digits-labels-idx1-ubyte.gz", gzip(idxLabels(new int[20])));
    Dataset train = Datasets.open(images, Split.TRAIN, 1);
    assertEquals(18, train.count());
    assertTrue(train.hasLabels());
    assertEquals(2, Datasets.open(images, Split.TEST, 1).count());
  }

  @Test
  void idxRefusals() throws IOException {
    byte[] good = idxImages(5, 4, 3);
    for (int length = 0; length < good.length; length++) {
      put(TRAIN_IMAGES, Arrays.copyOf(good, length));
      assertFolderRefused(TRAIN_IMAGES, length < 16 ? "cut off" : "claims 60 bytes of images");
      put(TRAIN_IMAGES, gzip(Arrays.copyOf(good, length)));
      assertFolderRefused(TRAIN_IMAGES, length < 16 ? "cut off" : "claims 60 bytes of images");
    }
    put(TRAIN_IMAGES, Arrays.copyOf(good, good.length + 1));
    assertFolderRefused(TRAIN_IMAGES, "the file has 77");
    put(TRAIN_IMAGES, gzip(Arrays.copyOf(good, good.length + 1)));
    assertFolderRefused(TRAIN_IMAGES, "more follow");
    byte[] zipped = gzip(good);
    put(TRAIN_IMAGES, Arrays.copyOf(zipped, zipped.length - 9));
    assertFolderRefused(TRAIN_IMAGES, "gzip: ");
    put(TRAIN_IMAGES, Arrays.copyOf(zipped, 5));
    assertFolderRefused(TRAIN_IMAGES, "gzip: ");
    zipped[zipped.length - 6] ^= 1;
    put(TRAIN_IMAGES, zipped);
    assertFolderRefused(TRAIN_IMAGES, "gzip: ");
    put(TRAIN_IMAGES, idxLabels(1, 2, 3, 4, 5, 6, 7, 8));
    assertFolderRefused(TRAIN_IMAGES, "IDX magic 00000801, not 00000803");
    put(TRAIN_IMAGES, ByteBuffer.wrap(good.clone()).putInt(0, 0x0D03).array());
    assertFolderRefused(TRAIN_IMAGES, "IDX magic 00000d03");
    for (int at = 4; at < 16; at += 4) {
      for (int extent : new int[] {0, -1, Integer.MAX_VALUE}) {
        put(TRAIN_IMAGES, ByteBuffer.wrap(good.clone()).putInt(at, extent).array());
        assertFolderRefused(TRAIN_IMAGES, "claims ");
      }
    }
  }

  @Test
  void idxLabelRefusals() throws IOException {
    put(TRAIN_IMAGES, idxImages(5, 4, 3));
    put(TRAIN_LABELS, idxLabels(1, 2, 3, 4));
    assertFolderRefused(TRAIN_LABELS, "4 labels for 5 images");
    put(TRAIN_LABELS, idxImages(5, 1, 1));
    assertFolderRefused(TRAIN_LABELS, "IDX magic");
    put(TRAIN_LABELS, Arrays.copyOf(idxLabels(1, 2, 3, 4, 5), 12));
    assertFolderRefused(TRAIN_LABELS, "claims 5 bytes of labels");
    put(TRAIN_LABELS, idxLabels(1, 2, 3, 4, 5));
    put(TEST_IMAGES, idxImages(1, 3, 4));
    put(TEST_LABELS, idxLabels(5));
    assertFolderRefused(TEST_IMAGES, "images of 3x4, those for training are 4x3");
    put(TEST_IMAGES, idxImages(1, 4, 3));
    assertEquals(6, open(Split.TEST).classes());
    put(TEST_LABELS, idxLabels(6));
    assertFolderRefused(TEST_LABELS, "label 6, but those for training end at 5");
  }

  @Test
  void claimsAreNotAllocated() throws IOException {
    byte[] claim =
        ByteBuffer.allocate(4000).putInt(0x0803).putInt(1 << 17).putInt(100).putInt(100).array();
    put(TRAIN_IMAGES, claim);
    ReaderContract.assertHolds(1 << 20, () -> open(Split.TRAIN));
    put(TRAIN_IMAGES, gzip(claim)); // 70 bytes cannot be 1.3 GB
    assertFolderRefused(TRAIN_IMAGES, "the file has at most ");
    byte[] noise = new byte[2 << 20]; // 2 MB could inflate to 1.3 GB, but do not
    new Random(1).nextBytes(noise);
    System.arraycopy(claim, 0, noise, 0, 16);
    put(TRAIN_IMAGES, gzip(noise));
    assertFolderRefused(TRAIN_IMAGES, "only 2097136 are there");
    ReaderContract.assertHolds(16 << 20, () -> open(Split.TRAIN));
  }

  static byte[] cifar(int... labels) {
    ByteBuffer bytes = ByteBuffer.allocate(labels.length * 3073);
    for (int i = 0; i < labels.length; i++) {
      bytes.put((byte) labels[i]);
      for (int at = 0; at < 3072; at++) {
        bytes.put((byte) (at / 1024 * 50 + at % 1024 % 7 + i));
      }
    }
    return bytes.array();
  }

  @Test
  void cifarBatchesPlanesAndNames() throws IOException {
    put("data_batch_10.bin", cifar(9));
    put("data_batch_2.bin.gz", gzip(cifar(3, 4)));
    put("data_batch_1.bin", cifar(1));
    put("test_batch.bin", cifar(2));
    put("batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n\n".getBytes());
    put("LICENSE.txt", new byte[0]);
    Dataset train = open(Split.TRAIN);
    assertEquals(List.of(1, 3, 4, 9), labels(train));
    assertEquals(List.of("a", "b", "c", "d", "e", "f", "g", "h", "i", "j"), train.classNames());
    byte[] image = train.images(2); // the second of its file: i = 1
    for (int y = 0; y < 32; y++) {
      for (int x = 0; x < 32; x++) {
        for (int c = 0; c < 3; c++) {
          assertEquals(c * 50 + (y * 32 + x) % 7 + 1, image[(y * 32 + x) * 3 + c] & 255);
        }
      }
    }
    assertEquals(1, open(Split.TEST).count());
    DatasetInfo info = Datasets.describe(folder, 1);
    assertEquals(List.of(0, 1, 0, 1, 1, 0, 0, 0, 0, 1), info.trainHistogram());
    assertEquals(Optional.of(folder.resolve("LICENSE.txt")), info.licence());
    assertTrue(info.summary().contains("4 train, 1 test"), info.summary());
  }

  private static List<Integer> labels(Dataset data) {
    return IntStream.range(0, data.count()).mapToObj(data::label).toList();
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void cifarRefusals(boolean gzip) throws IOException {
    String name = gzip ? "train.bin.gz" : "train.bin";
    byte[] good = cifar(1, 2, 3);
    byte[][] bad = {
      new byte[0], Arrays.copyOf(good, 3073 * 2 + 5), new byte[3074], cifar(1, 10),
    };
    String[] expected = {
      "no images", "6151 bytes are not whole", "CIFAR-100", "record 1 has label 10"
    };
    for (int i = 0; i < bad.length; i++) {
      put(name, gzip ? gzip(bad[i]) : bad[i]);
      assertFolderRefused(name, expected[i]);
    }
    put(name, gzip ? gzip(good) : good);
    put("data_batch_1.bin", good);
    assertFolderRefused(folder.getFileName().toString(), "both data_batch_1.bin and " + name);
    Files.delete(folder.resolve("data_batch_1.bin"));
    put("batches.meta.txt", "a\nb\nc\n".getBytes());
    assertFolderRefused(name, "label 3 of 3 classes");
  }

  private void png(String name, int height, int width, int channels, int value) throws IOException {
    byte[] pixels = new byte[height * width * channels];
    Arrays.fill(pixels, (byte) value);
    Path file = folder.resolve(name);
    Files.createDirectories(file.getParent());
    Images.writePng(file, pixels, 0, height, width, channels);
  }

  @Test
  void imageFolderWithSplitsAndClasses() throws IOException {
    png("train/dog/1.png", 2, 3, 1, 10);
    png("train/cat/2.PNG", 2, 3, 1, 20);
    png("train/cat/1.png", 2, 3, 1, 30);
    png("test/eel/1.png", 2, 3, 1, 40);
    put("train/cat/notes.txt", new byte[3]);
    put("train/.hidden/1.png", new byte[3]);
    Dataset train = open(Split.TRAIN);
    assertEquals(1, train.channels());
    assertEquals(List.of("cat", "dog", "eel"), train.classNames());
    assertEquals(List.of(0, 0, 1), labels(train));
    assertArrayEquals(new byte[] {30, 20, 10}, firstBytes(train));
    assertEquals(2, open(Split.TEST).label(0));

    png("test/eel/2.png", 2, 3, 3, 50); // one in colour makes all RGB, in both splits
    assertEquals(3, open(Split.TRAIN).channels());
    assertArrayEquals(new byte[] {30, 20, 10}, firstBytes(open(Split.TRAIN)));
  }

  private static byte[] firstBytes(Dataset data) {
    byte[] first = new byte[data.count()];
    for (int i = 0; i < first.length; i++) {
      first[i] = data.images(i)[0];
    }
    return first;
  }

  @Test
  void imageFolderRefusals() throws IOException {
    png("a.png", 2, 3, 1, 10);
    png("b.png", 2, 3, 1, 10);
    png("c.png", 3, 2, 1, 10);
    png("d.png", 3, 2, 1, 10);
    assertFolderRefused("c.png", "is 3x2, but a.png is 2x3");
    Files.delete(folder.resolve("c.png"));
    Files.delete(folder.resolve("d.png"));
    put("c.png", "text".getBytes());
    assertFolderRefused("c.png", "neither PNG nor JPEG");
    byte[] whole = Files.readAllBytes(folder.resolve("a.png"));
    put("c.png", Arrays.copyOf(whole, whole.length - 1));
    assertFolderRefused("c.png", "cut off");
    Files.delete(folder.resolve("c.png"));
    png("sub/a.png", 2, 3, 1, 10);
    assertFolderRefused(folder.getFileName().toString(), "in its sub-folders (sub)");
    Path image = folder.resolve("a.png");
    assertRefused(image, () -> Datasets.open(image, Split.TRAIN, 1), "a single image");
  }

  @Test
  void aSplitFolderWithoutImagesIsRefused() throws IOException {
    png("train/a.png", 2, 3, 1, 10);
    Files.createDirectories(folder.resolve("test"));
    assertFolderRefused("test", "no images here");
    png("test/x/a.png", 2, 3, 1, 10);
    assertFolderRefused(folder.getFileName().toString(), "make them alike");
  }

  @Test
  void nothingRecognised() throws IOException {
    Path name = folder.getFileName();
    assertFolderRefused(name.toString(), "an empty folder; give a folder or file of IDX");
    Path text = put("readme.txt", "hello".getBytes());
    assertFolderRefused(name.toString(), "no dataset recognised in this folder; give");
    assertRefused(text, () -> Datasets.open(text, Split.TRAIN, 1), "in this file; give");
    Path labels = put("labels", idxLabels(1, 2));
    assertRefused(labels, () -> Datasets.open(labels, Split.TRAIN, 1), "IDX magic 00000801");
    Path absent = folder.resolve("absent");
    NoSuchFileException e =
        assertThrows(NoSuchFileException.class, () -> Datasets.open(absent, Split.TRAIN, 1));
    assertEquals(absent + ": no such file or folder; check the path", e.getMessage());
  }

  @Test
  void aTenthChosenBySeedIsTheTestSplit() throws IOException {
    int count = 105;
    byte[] images = idxImages(count, 1, 2);
    for (int i = 0; i < count; i++) {
      images[16 + 2 * i] = (byte) i;
    }
    Path file = put("images", images);
    TreeSet<Integer> seen = new TreeSet<>();
    List<Integer> order = new ArrayList<>();
    for (Split split : Split.values()) {
      Dataset data = Datasets.open(file, split, 7);
      assertEquals(split == Split.TEST ? 10 : 95, data.count());
      assertArrayEquals(firstBytes(data), firstBytes(Datasets.open(file, split, 7)));
      for (byte id : firstBytes(data)) {
        assertTrue(seen.add((int) id), "in both splits: " + id);
        if (split == Split.TEST) {
          order.add((int) id);
        }
      }
    }
    assertEquals(count, seen.size());
    // Pinned: a model's test images must not change with a version of Gatun or of Java.
    assertEquals(List.of(5, 10, 17, 35, 43, 46, 58, 72, 96, 99), order);
    assertNotEquals(
        order.toString(), Arrays.toString(firstBytes(Datasets.open(file, Split.TEST, 8))));
  }

  @Test
  void oneImageIsForTraining() throws IOException {
    Path file = put("images", idxImages(1, 2, 2));
    assertEquals(1, Datasets.open(file, Split.TRAIN, 1).count());
    assertEquals(0, Datasets.open(file, Split.TEST, 1).count());
    assertEquals(0, Datasets.describe(file, 1).testCount());
  }

  @Test
  void describesMeanAndDeviation() throws IOException {
    ByteBuffer images = ByteBuffer.wrap(idxImages(2, 1, 2));
    put(TRAIN_IMAGES, images.put(16, new byte[] {0, 0, (byte) 255, (byte) 255}).array());
    put(TEST_IMAGES, idxImages(1, 1, 2));
    DatasetInfo info = Datasets.describe(folder, 1);
    assertEquals(List.of(0.5), info.mean());
    assertEquals(List.of(0.5), info.std());
    assertEquals("IDX", info.format());
    assertEquals(Optional.empty(), info.licence());
  }

  @Test
  void subsetsAreViewsInTheAskedOrder() {
    Dataset data =
        Dataset.of("d", 1, 1, 1, new byte[] {5, 6, 7}, new int[] {0, 1, 2}, 3, List.of());
    Dataset subset = data.subset(new int[] {2, 0, 2}).subset(new int[] {1, 2});
    assertArrayEquals(new byte[] {5, 7}, firstBytes(subset));
    assertEquals(2, subset.label(1));
    byte[] destination = new byte[3];
    subset.image(1, destination, 1);
    assertArrayEquals(new byte[] {0, 7, 0}, destination);
    assertThrows(IndexOutOfBoundsException.class, () -> subset.image(2, destination, 0));
    assertThrows(
        IllegalArgumentException.class,
        () -> Dataset.of("d", 1, 1, 1, new byte[1], new int[] {3}, 3, List.of()));
  }
}
