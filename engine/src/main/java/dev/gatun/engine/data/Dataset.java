package dev.gatun.engine.data;

import dev.gatun.engine.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/**
 * Images of one size in memory, u8 {@code [N,H,W,C]}, with or without labels; or points, f32 {@code
 * [N,1,1,C]}, which are handed out as bytes, too, little-endian. Immutable; a subset is a view that
 * shares the pixels.
 */
public final class Dataset {
  private final String name;
  private final DType dtype;
  private final int height;
  private final int width;
  private final int channels;
  private final byte[] pixels;
  private final int[] labels;
  private final int classes;
  private final List<String> classNames;
  private final int[] rows;

  private Dataset(
      String name,
      DType dtype,
      int height,
      int width,
      int channels,
      byte[] pixels,
      int[] labels,
      int classes,
      List<String> classNames,
      int[] rows) {
    this.name = name;
    this.dtype = dtype;
    this.height = height;
    this.width = width;
    this.channels = channels;
    this.pixels = pixels;
    this.labels = labels;
    this.classes = classes;
    this.classNames = classNames;
    this.rows = rows;
  }

  /**
   * A dataset over arrays that the caller gives away: they are not copied and must not change.
   *
   * @param pixels u8 {@code [N,H,W,C]}, exactly
   * @param labels one a picture, {@code [0, classes)}; or null
   * @param classes the number of classes; 0 without labels
   * @param classNames one a class, or empty
   */
  public static Dataset of(
      String name,
      int height,
      int width,
      int channels,
      byte[] pixels,
      int[] labels,
      int classes,
      List<String> classNames) {
    Objects.requireNonNull(name, "name");
    if (height <= 0 || width <= 0 || (channels != 1 && channels != 3)) {
      throw new IllegalArgumentException(
          "dataset " + name + ": images of [" + height + "," + width + "," + channels + "]");
    }
    long imageBytes = (long) height * width * channels;
    if (pixels.length % imageBytes != 0) {
      throw new IllegalArgumentException(
          "dataset " + name + ": " + pixels.length + " bytes in images of " + imageBytes);
    }
    int count = (int) (pixels.length / imageBytes);
    if (labels != null && labels.length != count) {
      throw new IllegalArgumentException(
          "dataset " + name + ": " + labels.length + " labels for " + count + " images");
    }
    if (labels == null ? classes != 0 : classes <= 0) {
      throw new IllegalArgumentException("dataset " + name + ": " + classes + " classes");
    }
    if (!classNames.isEmpty() && classNames.size() != classes) {
      throw new IllegalArgumentException(
          "dataset " + name + ": " + classNames.size() + " names for " + classes + " classes");
    }
    if (labels != null) {
      for (int label : labels) {
        if (label < 0 || label >= classes) {
          throw new IllegalArgumentException(
              "dataset " + name + ": label " + label + " with " + classes + " classes");
        }
      }
    }
    int[] rows = new int[count];
    Arrays.setAll(rows, i -> i);
    return new Dataset(
        name,
        DType.U8,
        height,
        width,
        channels,
        pixels,
        labels,
        classes,
        List.copyOf(classNames),
        rows);
  }

  /**
   * Points of a space of a few dimensions, without labels.
   *
   * @param values f32 {@code [N,dimensions]}, finite; copied
   */
  public static Dataset ofPoints(String name, int dimensions, float[] values) {
    Objects.requireNonNull(name, "name");
    if (dimensions <= 0 || values.length % dimensions != 0) {
      throw new IllegalArgumentException(
          "dataset " + name + ": " + values.length + " values in points of " + dimensions);
    }
    ByteBuffer bytes =
        ByteBuffer.allocate(Math.multiplyExact(values.length, DType.F32.bytes()))
            .order(ByteOrder.LITTLE_ENDIAN);
    for (float value : values) {
      if (!Float.isFinite(value)) {
        throw new IllegalArgumentException("dataset " + name + ": a value is " + value);
      }
      bytes.putFloat(value);
    }
    int[] rows = new int[values.length / dimensions];
    Arrays.setAll(rows, i -> i);
    return new Dataset(name, DType.F32, 1, 1, dimensions, bytes.array(), null, 0, List.of(), rows);
  }

  /** Where it came from, for people. */
  public String name() {
    return name;
  }

  /** Of a pixel's colour: u8, or f32 for points. */
  public DType dtype() {
    return dtype;
  }

  /** The number of images. */
  public int count() {
    return rows.length;
  }

  /** Rows of an image. */
  public int height() {
    return height;
  }

  /** Columns of an image. */
  public int width() {
    return width;
  }

  /** 1 (grey) or 3 (RGB); of points the dimensions. */
  public int channels() {
    return channels;
  }

  /** Bytes of one image: height x width x channels, each as long as the dtype says. */
  public int imageBytes() {
    return height * width * channels * dtype.bytes();
  }

  /** Copies image {@code i}, {@code [H,W,C]}, to {@code destination} at {@code offset}. */
  public void image(int i, byte[] destination, int offset) {
    System.arraycopy(pixels, rows[i] * imageBytes(), destination, offset, imageBytes());
  }

  /** Copies the images of {@code indices}, {@code [indices.length,H,W,C]}. */
  public byte[] images(int... indices) {
    byte[] batch = new byte[Math.multiplyExact(indices.length, imageBytes())];
    for (int i = 0; i < indices.length; i++) {
      image(indices[i], batch, i * imageBytes());
    }
    return batch;
  }

  /**
   * All points, f32 {@code [N,dimensions]}.
   *
   * @throws IllegalStateException if these are images
   */
  public float[] points() {
    if (dtype != DType.F32) {
      throw new IllegalStateException("dataset " + name + " is of images, not of points");
    }
    int[] all = new int[count()];
    Arrays.setAll(all, i -> i);
    float[] values = new float[count() * height * width * channels];
    ByteBuffer.wrap(images(all)).order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
    return values;
  }

  /** Whether {@link #label} may be asked. */
  public boolean hasLabels() {
    return labels != null;
  }

  /**
   * The class of image {@code i}.
   *
   * @throws IllegalStateException if there are no labels
   */
  public int label(int i) {
    if (labels == null) {
      throw new IllegalStateException("dataset " + name + " has no labels");
    }
    return labels[rows[i]];
  }

  /** The number of classes, whether or not all appear here; 0 without labels. */
  public int classes() {
    return classes;
  }

  /** A name for each class; empty if the source gives none. */
  public List<String> classNames() {
    return classNames;
  }

  /** The images of {@code indices}, in that order; shares the pixels. */
  public Dataset subset(int[] indices) {
    int[] chosen = new int[indices.length];
    for (int i = 0; i < indices.length; i++) {
      chosen[i] = rows[indices[i]];
    }
    return new Dataset(
        name, dtype, height, width, channels, pixels, labels, classes, classNames, chosen);
  }

  @Override
  public String toString() {
    return name
        + " ["
        + count()
        + ","
        + height
        + ","
        + width
        + ","
        + channels
        + "] "
        + dtype.label();
  }
}
