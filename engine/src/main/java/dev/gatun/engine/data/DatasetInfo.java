package dev.gatun.engine.data;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * What there is to know of a dataset before a model sees it.
 *
 * @param format how it is stored
 * @param path where
 * @param trainCount images of the training split
 * @param testCount images of the test split
 * @param height rows of an image
 * @param width columns of an image
 * @param channels 1 (grey) or 3 (RGB)
 * @param classes number of classes; 0 without labels
 * @param classNames a name for each class, or empty
 * @param trainHistogram training images of each class; empty without labels
 * @param testHistogram test images of each class; empty without labels
 * @param mean mean of each channel over the training split, pixels taken as 0 to 1
 * @param std standard deviation, likewise
 * @param licence the licence text beside the data, if there is one
 */
public record DatasetInfo(
    String format,
    Path path,
    int trainCount,
    int testCount,
    int height,
    int width,
    int channels,
    int classes,
    List<String> classNames,
    List<Integer> trainHistogram,
    List<Integer> testHistogram,
    List<Double> mean,
    List<Double> std,
    Optional<Path> licence) {

  static DatasetInfo of(String format, Path path, Dataset train, Dataset test, Path licence) {
    int channels = train.channels();
    long[] sums = new long[channels];
    long[] squares = new long[channels];
    byte[] image = new byte[train.imageBytes()];
    for (int i = 0; i < train.count(); i++) {
      train.image(i, image, 0);
      for (int at = 0; at < image.length; at++) {
        int value = image[at] & 255;
        sums[at % channels] += value;
        squares[at % channels] += (long) value * value;
      }
    }
    double pixels = (double) train.count() * train.height() * train.width();
    List<Double> mean = new ArrayList<>();
    List<Double> std = new ArrayList<>();
    for (int c = 0; c < channels; c++) {
      double m = sums[c] / pixels;
      mean.add(m / 255);
      std.add(Math.sqrt(Math.max(0, squares[c] / pixels - m * m)) / 255);
    }
    return new DatasetInfo(
        format,
        path,
        train.count(),
        test.count(),
        train.height(),
        train.width(),
        channels,
        train.classes(),
        train.classNames(),
        histogram(train),
        histogram(test),
        List.copyOf(mean),
        List.copyOf(std),
        Optional.ofNullable(licence));
  }

  private static List<Integer> histogram(Dataset data) {
    Integer[] counts = new Integer[data.classes()];
    Arrays.fill(counts, 0);
    for (int i = 0; data.hasLabels() && i < data.count(); i++) {
      counts[data.label(i)]++;
    }
    return List.of(counts);
  }

  /** Everything, in a few lines for people. */
  public String summary() {
    StringBuilder text = new StringBuilder();
    line(text, "path", path.toString());
    line(text, "format", format);
    line(text, "images", trainCount + " train, " + testCount + " test");
    line(text, "size", height + "x" + width + "x" + channels + " (HxWxC, u8)");
    line(text, "mean", decimals(mean));
    line(text, "std", decimals(std));
    line(text, "licence", licence.map(Path::toString).orElse("no licence file found"));
    line(text, "classes", classes == 0 ? "none (no labels)" : Integer.toString(classes));
    for (int c = 0; c < classes; c++) {
      String name = classNames.isEmpty() ? Integer.toString(c) : c + " " + classNames.get(c);
      String test = testHistogram.isEmpty() ? "" : ", " + testHistogram.get(c) + " test";
      line(text, "  " + name, trainHistogram.get(c) + " train" + test);
    }
    return text.toString();
  }

  private static void line(StringBuilder text, String key, String value) {
    text.append(String.format(Locale.ROOT, "%-16s %s%n", key, value));
  }

  private static String decimals(List<Double> values) {
    StringBuilder text = new StringBuilder();
    for (double value : values) {
      text.append(text.isEmpty() ? "" : " ").append(String.format(Locale.ROOT, "%.4f", value));
    }
    return text.toString();
  }
}
