package dev.gatun.engine.data;

import dev.gatun.engine.io.FormatException;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.TreeMap;
import java.util.function.Predicate;
import java.util.regex.Pattern;

/**
 * CIFAR-10's binary format: records of a label byte and three colour planes of 32x32, no header.
 *
 * @see <a href="https://www.cs.toronto.edu/~kriz/cifar.html">The CIFAR-10 dataset, binary
 *     version</a>
 */
final class CifarSource implements Source {
  private static final int SIDE = 32;
  private static final int PLANE = SIDE * SIDE;
  private static final int IMAGE = 3 * PLANE;
  private static final int RECORD = 1 + IMAGE;
  private static final int CLASSES = 10;
  private static final int MAX_NAMES_BYTES = 1 << 16;
  private static final String NAMES_FILE = "batches.meta.txt";
  private static final Pattern ANY = Pattern.compile(".*\\.bin(\\.gz)?");
  private static final Pattern BATCH = Pattern.compile("data_batch_\\d+\\.bin(\\.gz)?");

  private final Path root;
  private final List<Path> train;
  private final List<Path> test;

  private CifarSource(Path root, List<Path> train, List<Path> test) {
    this.root = root;
    this.train = train;
    this.test = test;
  }

  static boolean isName(Path file) {
    return ANY.matcher(file.getFileName().toString()).matches();
  }

  static CifarSource ofFile(Path file) {
    return new CifarSource(file, List.of(file), List.of());
  }

  /** The CIFAR files of a folder, or null if it has none. */
  static CifarSource inFolder(Path folder) throws IOException {
    List<Path> train =
        either(
            folder,
            files(folder, name -> BATCH.matcher(name).matches()),
            files(folder, name -> name.matches("train\\.bin(\\.gz)?")));
    List<Path> test =
        either(
            folder,
            files(folder, name -> name.matches("test_batch\\.bin(\\.gz)?")),
            files(folder, name -> name.matches("test\\.bin(\\.gz)?")));
    return train.isEmpty() && test.isEmpty() ? null : new CifarSource(folder, train, test);
  }

  private static List<Path> either(Path folder, List<Path> a, List<Path> b) throws FormatException {
    if (!a.isEmpty() && !b.isEmpty()) {
      throw new FormatException(
          folder,
          "both " + a.getFirst().getFileName() + " and " + b.getFirst().getFileName(),
          "keep one kind");
    }
    return a.isEmpty() ? b : a;
  }

  /** Files in the order of their numbers; of one that is there plain and gzipped, the plain. */
  private static List<Path> files(Path folder, Predicate<String> wanted) throws IOException {
    TreeMap<String, Path> files = new TreeMap<>();
    for (Path file : Datasets.children(folder, Files::isRegularFile)) {
      String name = file.getFileName().toString();
      if (wanted.test(name)) { // the plain name sorts before the one with .gz
        String stem = name.endsWith(".gz") ? name.substring(0, name.length() - 3) : name;
        files.putIfAbsent(String.format("%09d", stem.length()) + stem, file);
      }
    }
    return List.copyOf(files.values());
  }

  @Override
  public String format() {
    return "CIFAR-10 binary";
  }

  @Override
  public boolean hasSplits() {
    return !train.isEmpty() && !test.isEmpty();
  }

  @Override
  public Dataset read(Split split) throws IOException {
    List<Path> files = train.isEmpty() || (split == Split.TEST && hasSplits()) ? test : train;
    List<String> names = classNames();
    int classes = names.isEmpty() ? CLASSES : names.size();
    Records records = new Records();
    for (Path path : files) {
      readFile(path, classes, records);
    }
    return Dataset.of(
        root.getFileName() == null ? root.toString() : root.getFileName().toString(),
        SIDE,
        SIDE,
        3,
        records.pixels(),
        records.labels(),
        classes,
        names);
  }

  /** Images {@code [N,32,32,3]} and labels that grow as records arrive. */
  private static final class Records {
    byte[] pixels = new byte[0];
    int[] labels = new int[0];
    int count;

    byte[] pixels() {
      int length = count * IMAGE;
      return pixels.length == length ? pixels : Arrays.copyOf(pixels, length);
    }

    int[] labels() {
      return labels.length == count ? labels : Arrays.copyOf(labels, count);
    }

    void reserve(Path path, long capacity) throws FormatException {
      if (capacity * IMAGE > DataFile.MAX_ARRAY) {
        throw new FormatException(
            path, "with it the images exceed 2 GiB", "use fewer or smaller files");
      }
      if (capacity > labels.length) {
        pixels = Arrays.copyOf(pixels, (int) capacity * IMAGE);
        labels = Arrays.copyOf(labels, (int) capacity);
      }
    }

    void add(Path path, byte[] record) throws FormatException {
      if (count == labels.length) {
        long most = DataFile.MAX_ARRAY / IMAGE;
        reserve(path, Math.max(count + 1L, Math.min(most, 2L * count)));
      }
      labels[count] = record[0] & 255;
      int at = count * IMAGE;
      for (int i = 0; i < PLANE; i++) {
        pixels[at++] = record[1 + i];
        pixels[at++] = record[1 + PLANE + i];
        pixels[at++] = record[1 + 2 * PLANE + i];
      }
      count++;
    }
  }

  private static void readFile(Path path, int classes, Records records) throws IOException {
    try (DataFile file = DataFile.open(path)) {
      if (!file.isCompressed()) {
        long bytes = file.maxBytes();
        if (bytes % RECORD != 0) {
          throw partial(path, bytes);
        }
        records.reserve(path, records.count + bytes / RECORD);
      }
      byte[] record = new byte[RECORD];
      long bytes = 0;
      int length;
      while ((length = file.read(record, 0, RECORD)) == RECORD) {
        if ((record[0] & 255) >= classes) {
          throw new FormatException(
              path,
              "record "
                  + bytes / RECORD
                  + " has label "
                  + (record[0] & 255)
                  + " of "
                  + classes
                  + " classes",
              "it is damaged or not CIFAR-10 binary");
        }
        records.add(path, record);
        bytes += RECORD;
      }
      bytes += length;
      if (length > 0) {
        throw partial(path, bytes);
      }
      if (bytes == 0) {
        throw new FormatException(path, "no images in it", "copy it again");
      }
    }
  }

  private static FormatException partial(Path path, long bytes) {
    String problem = bytes + " bytes are not whole CIFAR-10 records of " + RECORD;
    return bytes % (RECORD + 1) == 0
        ? new FormatException(
            path, problem + " (but of CIFAR-100, which is not read)", "convert it to CIFAR-10's")
        : new FormatException(path, problem, "it is truncated or another format, copy it again");
  }

  private List<String> classNames() throws IOException {
    Path file =
        (Files.isDirectory(root) ? root : root.toAbsolutePath().getParent()).resolve(NAMES_FILE);
    if (!Files.isRegularFile(file)) {
      return List.of();
    }
    if (Files.size(file) > MAX_NAMES_BYTES) {
      throw new FormatException(file, "not a list of class names: too long", "remove or fix it");
    }
    List<String> names = new ArrayList<>();
    new String(Files.readAllBytes(file), StandardCharsets.UTF_8)
        .lines()
        .filter(line -> !line.isBlank())
        .forEach(line -> names.add(line.strip()));
    if (names.size() > 256) {
      throw new FormatException(file, names.size() + " class names, above 256", "remove or fix it");
    }
    return names;
  }
}
