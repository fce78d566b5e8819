package dev.gatun.engine.data;

import dev.gatun.engine.io.FormatException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * MNIST's format: big-endian magic, extents, then the bytes.
 *
 * @see <a href="http://yann.lecun.com/exdb/mnist/">The MNIST database, file formats</a>
 */
final class IdxSource implements Source {
  private static final int IMAGES_MAGIC = 0x0803;
  private static final int LABELS_MAGIC = 0x0801;
  private static final int MAX_SIDE = 1 << 14;

  private final Path root;
  private final Part train;
  private final Part test;

  /** An images file and, or null, its labels file. */
  private record Part(Path images, Path labels) {}

  /** The extents in an images file's header. */
  private record Extents(int count, int height, int width) {}

  private IdxSource(Path root, Part train, Part test) {
    this.root = root;
    this.train = train;
    this.test = test;
  }

  /** The IDX files of a folder, or null if it has none. */
  static IdxSource inFolder(Path folder) {
    Part train = part(folder, "train");
    Part test = part(folder, "t10k");
    return train == null && test == null ? null : new IdxSource(folder, train, test);
  }

  static IdxSource ofFile(Path images) {
    String name = images.getFileName().toString();
    String mate = name.replace("images", "labels").replace("idx3", "idx1");
    Path labels = mate.equals(name) ? null : existing(images.resolveSibling(stem(mate)));
    return new IdxSource(images, new Part(images, labels), null);
  }

  private static String stem(String name) {
    return name.endsWith(".gz") ? name.substring(0, name.length() - 3) : name;
  }

  private static Part part(Path folder, String prefix) {
    for (String separator : List.of("-", ".")) {
      Path images = existing(folder.resolve(prefix + "-images" + separator + "idx3-ubyte"));
      if (images != null) {
        return new Part(
            images, existing(folder.resolve(prefix + "-labels" + separator + "idx1-ubyte")));
      }
    }
    return null;
  }

  /** The file itself, or with .gz, or null. */
  private static Path existing(Path plain) {
    Path zipped = plain.resolveSibling(plain.getFileName() + ".gz");
    return Files.exists(plain) ? plain : Files.exists(zipped) ? zipped : null;
  }

  @Override
  public String format() {
    return "IDX";
  }

  @Override
  public boolean hasSplits() {
    return train != null && test != null;
  }

  @Override
  public Dataset read(Split split) throws IOException {
    if (!hasSplits()) {
      Part part = train != null ? train : test;
      return read(part, labels(part), null);
    }
    Extents trainExtents = extents(train);
    Extents testExtents = extents(test);
    if (trainExtents.height != testExtents.height || trainExtents.width != testExtents.width) {
      throw new FormatException(
          test.images,
          "images of " + size(testExtents) + ", those for training are " + size(trainExtents),
          "use files that belong together");
    }
    int[] trainLabels = labels(train);
    int[] testLabels = labels(test);
    if (trainLabels != null && testLabels != null && classes(testLabels) > classes(trainLabels)) {
      throw new FormatException(
          test.labels,
          "label "
              + (classes(testLabels) - 1)
              + ", but those for training end at "
              + (classes(trainLabels) - 1),
          "use files that belong together");
    }
    return split == Split.TRAIN
        ? read(train, trainLabels, null)
        : read(test, testLabels, trainLabels);
  }

  private static String size(Extents extents) {
    return extents.height + "x" + extents.width;
  }

  private static int classes(int[] labels) {
    int classes = 0;
    for (int label : labels) {
      classes = Math.max(classes, label + 1);
    }
    return classes;
  }

  /** The images, as many as there are labels; classes are counted over both arrays of labels. */
  private Dataset read(Part part, int[] labels, int[] otherLabels) throws IOException {
    try (DataFile file = DataFile.open(part.images)) {
      Extents extents = extents(part.images, file);
      if (labels != null && labels.length != extents.count) {
        throw new FormatException(
            part.labels,
            labels.length + " labels for " + extents.count + " images",
            "use files that belong together");
      }
      long bytes = (long) extents.count * extents.height * extents.width;
      byte[] pixels = file.readClaimed(bytes, 16, "images");
      int classes = labels == null ? 0 : classes(labels);
      if (labels != null && otherLabels != null) {
        classes = Math.max(classes, classes(otherLabels));
      }
      return Dataset.of(
          root.getFileName() == null ? root.toString() : root.getFileName().toString(),
          extents.height,
          extents.width,
          1,
          pixels,
          labels,
          classes,
          List.of());
    }
  }

  private static Extents extents(Part part) throws IOException {
    try (DataFile file = DataFile.open(part.images)) {
      return extents(part.images, file);
    }
  }

  private static Extents extents(Path path, DataFile file) throws IOException {
    ByteBuffer header = header(path, file, 16, IMAGES_MAGIC, "images");
    Extents extents = new Extents(header.getInt(), header.getInt(), header.getInt());
    if (extents.count <= 0
        || extents.height <= 0
        || extents.width <= 0
        || extents.height > MAX_SIDE
        || extents.width > MAX_SIDE) {
      throw new FormatException(
          path,
          "IDX header claims " + extents.count + " images of " + size(extents),
          "it is damaged, copy it again");
    }
    return extents;
  }

  /** The labels, or null if the part has none. */
  private static int[] labels(Part part) throws IOException {
    if (part.labels == null) {
      return null;
    }
    try (DataFile file = DataFile.open(part.labels)) {
      int count = header(part.labels, file, 8, LABELS_MAGIC, "labels").getInt();
      if (count <= 0) {
        throw new FormatException(
            part.labels, "IDX header claims " + count + " labels", "it is damaged, copy it again");
      }
      byte[] bytes = file.readClaimed(count, 8, "labels");
      int[] labels = new int[count];
      for (int i = 0; i < count; i++) {
        labels[i] = bytes[i] & 255;
      }
      return labels;
    }
  }

  private static ByteBuffer header(Path path, DataFile file, int bytes, int magic, String what)
      throws IOException {
    ByteBuffer header = ByteBuffer.wrap(file.readUpTo(bytes));
    if (header.capacity() >= 4 && header.getInt(0) != magic) {
      throw new FormatException(
          path,
          String.format(
              "IDX magic %08x, not %08x (%s as unsigned bytes)", header.getInt(0), magic, what),
          "give a file of " + what);
    }
    if (header.capacity() < bytes) {
      throw new FormatException(
          path, "cut off in its IDX header", "it is truncated, copy it again");
    }
    return header.position(4);
  }
}
