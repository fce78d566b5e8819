package dev.gatun.engine.data;

import com.code_intelligence.jazzer.junit.FuzzTest;
import dev.gatun.engine.io.ReaderContract;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;

/** Whatever the bytes: a dataset whose every image and label can be read, or a FormatException. */
class DatasetsFuzzTest {
  private static Path folder;

  @BeforeAll
  static void createFolder() throws IOException {
    folder = Files.createTempDirectory("gatun");
  }

  @AfterAll
  static void deleteFolder() throws IOException {
    for (Path file : Datasets.children(folder, p -> true)) {
      Files.delete(file);
    }
    Files.delete(folder);
  }

  /** A byte that says where labels start and whether to compress, images, labels. */
  @FuzzTest(maxDuration = "70s")
  void idx(byte[] bytes) throws IOException {
    int labels = bytes.length == 0 ? 0 : Math.max(1, bytes.length - (bytes[0] & 127));
    boolean gzip = bytes.length > 0 && bytes[0] < 0;
    byte[] images = Arrays.copyOfRange(bytes, Math.min(1, bytes.length), labels);
    write("a-images-idx3-ubyte", gzip, images);
    write("a-labels-idx1-ubyte", gzip, Arrays.copyOfRange(bytes, labels, bytes.length));
    check("a-images-idx3-ubyte", gzip ? 1032L * 4 : 64, bytes.length);
  }

  /** A byte that says whether to compress, then records. */
  @FuzzTest(maxDuration = "70s")
  void cifar(byte[] bytes) throws IOException {
    boolean gzip = bytes.length > 0 && bytes[0] < 0;
    write("a.bin", gzip, Arrays.copyOfRange(bytes, Math.min(1, bytes.length), bytes.length));
    check("a.bin", gzip ? 1032L * 8 : 64, bytes.length);
  }

  /** Any bytes that are, or are not, gzip. */
  @FuzzTest(maxDuration = "70s")
  void gzip(byte[] bytes) throws IOException {
    write("b-images-idx3-ubyte", false, bytes);
    check("b-images-idx3-ubyte", 1032L * 4, bytes.length);
    write("b.bin", false, bytes);
    check("b.bin", 1032L * 8, bytes.length);
  }

  /** A folder of one or two images. */
  @FuzzTest(maxDuration = "70s")
  void images(byte[] bytes) throws IOException {
    Path images = Files.createDirectories(folder.resolve("images"));
    int first = bytes.length == 0 ? 0 : Math.max(1, bytes.length - (bytes[0] & 255));
    Path a = images.resolve("a.png");
    Path b = images.resolve("b.jpg");
    Files.write(a, Arrays.copyOfRange(bytes, Math.min(1, bytes.length), first));
    Files.write(b, Arrays.copyOfRange(bytes, first, bytes.length));
    try {
      check("images", 1032L * 80, bytes.length);
    } finally {
      Files.delete(a);
      Files.delete(b);
      Files.delete(images);
    }
  }

  private static void write(String name, boolean gzip, byte[] bytes) throws IOException {
    Files.write(folder.resolve(name), gzip ? DatasetsTest.gzip(bytes) : bytes);
  }

  private static void check(String name, long factor, int length) throws IOException {
    ReaderContract.assertHolds(
        factor * length + (32 << 20),
        () -> {
          for (Split split : Split.values()) {
            Dataset data = Datasets.open(folder.resolve(name), split, 1);
            byte[] image = new byte[data.imageBytes()];
            for (int i = 0; i < data.count(); i++) {
              data.image(i, image, 0);
              if (data.hasLabels() && (data.label(i) < 0 || data.label(i) >= data.classes())) {
                throw new IllegalStateException("label " + data.label(i));
              }
            }
          }
          Datasets.describe(folder.resolve(name), 1).summary();
        });
  }
}
