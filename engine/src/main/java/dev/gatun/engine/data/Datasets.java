package dev.gatun.engine.data;

import dev.gatun.engine.io.FormatException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.function.Predicate;
import java.util.stream.Stream;

/**
 * Opens image datasets, recognised by what is at a path:
 *
 * <ul>
 *   <li>IDX (MNIST and its kin), plain or gzip: a folder with {@code train-images-idx3-ubyte},
 *       {@code train-labels-idx1-ubyte} and {@code t10k-...}, or one images file;
 *   <li>CIFAR-10 binary, plain or gzip: a folder with {@code data_batch_*.bin} or {@code
 *       train.bin}, and {@code test_batch.bin} or {@code test.bin}, or one such file;
 *   <li>PNG and JPEG images of one size in a folder, in sub-folders named after their classes or
 *       not; sub-folders {@code train} and {@code test}, if both are there, are the split.
 * </ul>
 *
 * <p>Where a source has no split of its own, a tenth of its images (rounded down, at least one of
 * two or more) is the test split: the first of the order in which {@code
 * Collections.shuffle(indices, new Random(seed))} leaves {@code 0..count-1}, both specified by the
 * Java platform. Images stay in the source's order within a split.
 *
 * <p>Files are not trusted: memory grows with the bytes that are there, not with what a header
 * claims, and whatever is wrong is a {@link FormatException}.
 */
public final class Datasets {
  static final String ACCEPTED =
      "give a folder or file of IDX (train-images-idx3-ubyte[.gz], ...), CIFAR-10 binary"
          + " (data_batch_*.bin[.gz], train.bin[.gz], ...), or a folder of PNG or JPEG images";

  private Datasets() {}

  /**
   * Reads one split of the dataset at {@code path}.
   *
   * @param seed chooses the test split where the source has none of its own
   * @throws FormatException if nothing is recognised or something is wrong, in one line
   * @throws NoSuchFileException if nothing is there
   */
  public static Dataset open(Path path, Split split, long seed) throws IOException {
    Source source = recognise(path);
    try {
      return source.hasSplits() ? source.read(split) : divide(source.read(split), seed).get(split);
    } catch (AccessDeniedException e) {
      throw new FormatException(path, "may not be read", "check its permissions", e);
    }
  }

  /** Reads both splits of the dataset at {@code path} and describes them. */
  public static DatasetInfo describe(Path path, long seed) throws IOException {
    Source source = recognise(path);
    Map<Split, Dataset> splits;
    try {
      if (source.hasSplits()) {
        splits = new EnumMap<>(Split.class);
        for (Split split : Split.values()) {
          splits.put(split, source.read(split));
        }
      } else {
        splits = divide(source.read(Split.TRAIN), seed);
      }
    } catch (AccessDeniedException e) {
      throw new FormatException(path, "may not be read", "check its permissions", e);
    }
    return DatasetInfo.of(
        source.format(), path, splits.get(Split.TRAIN), splits.get(Split.TEST), licence(path));
  }

  private static Source recognise(Path path) throws IOException {
    if (!Files.exists(path)) {
      throw new NoSuchFileException(
          path.toString(), null, "no such file or folder; check the path");
    }
    if (!Files.isReadable(path)) {
      throw new FormatException(path, "may not be read", "check its permissions");
    }
    if (!Files.isDirectory(path)) {
      return recogniseFile(path);
    }
    List<Path> children = children(path, p -> true);
    if (children.isEmpty()) {
      throw new FormatException(path, "an empty folder", ACCEPTED);
    }
    Source source = IdxSource.inFolder(path);
    if (source == null) {
      source = CifarSource.inFolder(path);
    }
    if (source == null) {
      source = ImageFolderSource.inFolder(path);
    }
    if (source == null) {
      throw new FormatException(path, "no dataset recognised in this folder", ACCEPTED);
    }
    return source;
  }

  private static Source recogniseFile(Path path) throws IOException {
    if (!Files.isRegularFile(path)) {
      throw new FormatException(path, "neither a file nor a folder", ACCEPTED);
    }
    if (CifarSource.isName(path)) {
      return CifarSource.ofFile(path);
    }
    byte[] start;
    try (DataFile file = DataFile.open(path)) {
      start = file.readUpTo(4);
    }
    if (start.length == 4 && start[0] == 0 && start[1] == 0) {
      return IdxSource.ofFile(path);
    }
    boolean image =
        start.length >= 2
            && ((start[0] == (byte) 0x89 && start[1] == 'P')
                || (start[0] == (byte) 0xFF && start[1] == (byte) 0xD8));
    if (image) {
      throw new FormatException(path, "a single image, not a dataset", "give its folder");
    }
    throw new FormatException(path, "no dataset recognised in this file", ACCEPTED);
  }

  private static Map<Split, Dataset> divide(Dataset all, long seed) {
    int count = all.count();
    List<Integer> order = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      order.add(i);
    }
    Collections.shuffle(order, new Random(seed));
    int tests = count < 2 ? 0 : Math.max(1, count / 10);
    Map<Split, Dataset> splits = new EnumMap<>(Split.class);
    splits.put(Split.TEST, all.subset(sorted(order.subList(0, tests))));
    splits.put(Split.TRAIN, all.subset(sorted(order.subList(tests, count))));
    return splits;
  }

  private static int[] sorted(List<Integer> indices) {
    int[] sorted = indices.stream().mapToInt(Integer::intValue).toArray();
    Arrays.sort(sorted);
    return sorted;
  }

  /** The folder's entries that are not hidden, by name. */
  static List<Path> children(Path folder, Predicate<Path> wanted) throws IOException {
    try (Stream<Path> stream = Files.list(folder)) {
      return stream
          .filter(p -> !p.getFileName().toString().startsWith("."))
          .filter(wanted)
          .sorted((a, b) -> a.getFileName().toString().compareTo(b.getFileName().toString()))
          .toList();
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
  }

  /** A licence text beside the data, or null. */
  private static Path licence(Path path) throws IOException {
    Path folder = Files.isDirectory(path) ? path : path.toAbsolutePath().getParent();
    List<Path> licences =
        children(
            folder,
            p -> {
              String name = p.getFileName().toString().toUpperCase(Locale.ROOT);
              return Files.isRegularFile(p)
                  && (name.startsWith("LICEN") || name.startsWith("COPYING"));
            });
    return licences.isEmpty() ? null : licences.getFirst();
  }
}
