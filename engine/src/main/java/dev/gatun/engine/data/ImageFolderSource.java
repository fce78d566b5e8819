package dev.gatun.engine.data;

import dev.gatun.engine.io.FormatException;
import dev.gatun.engine.io.Image;
import dev.gatun.engine.io.ImageHeader;
import dev.gatun.engine.io.Images;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.TreeSet;

/** PNG and JPEG files in a folder, or in its sub-folders, one a class. */
final class ImageFolderSource implements Source {
  private final Path root;
  private final List<Item> train;
  private final List<Item> test;

  /** An image file and the name of its class, null if it is in none. */
  private record Item(Path file, String className) {}

  private ImageFolderSource(Path root, List<Item> train, List<Item> test) {
    this.root = root;
    this.train = train;
    this.test = test;
  }

  /** The images of a folder, or null if it has none. */
  static ImageFolderSource inFolder(Path folder) throws IOException {
    Path train = folder.resolve("train");
    Path test = folder.resolve("test");
    if (!Files.isDirectory(train) || !Files.isDirectory(test)) {
      List<Item> items = items(folder);
      return items.isEmpty() ? null : new ImageFolderSource(folder, items, null);
    }
    List<Item> trainItems = items(train);
    List<Item> testItems = items(test);
    if (trainItems.isEmpty() && testItems.isEmpty()) {
      return null;
    }
    if (trainItems.isEmpty() || testItems.isEmpty()) {
      throw new FormatException(
          trainItems.isEmpty() ? train : test,
          "no images here, but in the folder beside it",
          "fill it or remove it");
    }
    if ((trainItems.getFirst().className == null) != (testItems.getFirst().className == null)) {
      throw new FormatException(
          folder, "one of train and test has class sub-folders, one has not", "make them alike");
    }
    return new ImageFolderSource(folder, trainItems, testItems);
  }

  private static List<Item> items(Path folder) throws IOException {
    List<Item> direct = new ArrayList<>();
    List<Item> classed = new ArrayList<>();
    for (Path file : Datasets.children(folder, ImageFolderSource::isImageName)) {
      direct.add(new Item(file, null));
    }
    for (Path sub : Datasets.children(folder, Files::isDirectory)) {
      for (Path file : Datasets.children(sub, ImageFolderSource::isImageName)) {
        classed.add(new Item(file, sub.getFileName().toString()));
      }
    }
    if (!direct.isEmpty() && !classed.isEmpty()) {
      throw new FormatException(
          folder,
          "images in it ("
              + direct.getFirst().file.getFileName()
              + ") and in its sub-folders ("
              + classed.getFirst().className
              + ")",
          "put all of them in class sub-folders, or none");
    }
    return direct.isEmpty() ? classed : direct;
  }

  private static boolean isImageName(Path file) {
    String name = file.getFileName().toString().toLowerCase(Locale.ROOT);
    return (name.endsWith(".png") || name.endsWith(".jpg") || name.endsWith(".jpeg"))
        && Files.isRegularFile(file);
  }

  @Override
  public String format() {
    return "PNG and JPEG images";
  }

  @Override
  public boolean hasSplits() {
    return test != null;
  }

  @Override
  public Dataset read(Split split) throws IOException {
    List<Item> all = new ArrayList<>(train);
    if (test != null) {
      all.addAll(test);
    }
    // Headers first, of both splits: their size and colour must agree before memory is taken.
    ImageHeader first = Images.readHeader(all.getFirst().file);
    boolean grey = true;
    TreeSet<String> classes = new TreeSet<>();
    for (Item item : all) {
      ImageHeader header = Images.readHeader(item.file);
      if (header.height() != first.height() || header.width() != first.width()) {
        throw new FormatException(
            item.file,
            "is "
                + header.height()
                + "x"
                + header.width()
                + ", but "
                + root.relativize(all.getFirst().file)
                + " is "
                + first.height()
                + "x"
                + first.width(),
            "scale or crop all images to one size");
      }
      grey &= header.grey();
      if (item.className != null) {
        classes.add(item.className);
      }
    }
    List<Item> items = split == Split.TEST && test != null ? test : train;
    return decode(items, first.height(), first.width(), grey ? 1 : 3, List.copyOf(classes));
  }

  private Dataset decode(
      List<Item> items, int height, int width, int channels, List<String> classNames)
      throws IOException {
    long imageBytes = (long) height * width * channels;
    if (imageBytes * items.size() > DataFile.MAX_ARRAY) {
      throw new FormatException(
          root,
          items.size() + " images of " + imageBytes + " bytes exceed 2 GiB",
          "use fewer or smaller images");
    }
    byte[] pixels = new byte[(int) imageBytes * items.size()];
    int[] labels = classNames.isEmpty() ? null : new int[items.size()];
    for (int i = 0; i < items.size(); i++) {
      Item item = items.get(i);
      Image image = Images.read(item.file);
      if (channels == 3) {
        image = image.toRgb();
      }
      if (image.height() != height || image.width() != width || image.channels() != channels) {
        throw new FormatException(item.file, "changed while being read", "try again");
      }
      System.arraycopy(image.pixels(), 0, pixels, (int) imageBytes * i, (int) imageBytes);
      if (labels != null) {
        labels[i] = classNames.indexOf(item.className);
      }
    }
    return Dataset.of(
        root.getFileName() == null ? root.toString() : root.getFileName().toString(),
        height,
        width,
        channels,
        pixels,
        labels,
        classNames.size(),
        classNames);
  }
}
