package dev.gatun.models.metrics;

import dev.gatun.engine.data.Dataset;
import java.util.Arrays;

/**
 * The k nearest training images of each generated one: a model that copies what it was trained on
 * has them at or near distance 0. All pairs are compared.
 *
 * @param count generated images
 * @param neighbours k
 * @param indices [count,k], into the training images, nearest first; of equal ones the first
 * @param distances [count,k], Euclidean: of pixels, 0 to 255 each, or of features
 */
public record NearestImages(int count, int neighbours, int[] indices, double[] distances) {
  /** The index of an image's nearest training image, its second nearest, ... from rank 0 on. */
  public int index(int image, int rank) {
    return indices[image * neighbours + rank];
  }

  /** How far {@link #index} is. */
  public double distance(int image, int rank) {
    return distances[image * neighbours + rank];
  }

  /**
   * By pixels; exact.
   *
   * @param images [count,H,W,C] u8
   * @throws IllegalArgumentException if they are not of the size of {@code training}'s, or that has
   *     fewer than {@code neighbours}
   */
  public static NearestImages byPixels(byte[] images, int count, Dataset training, int neighbours) {
    int size = training.imageBytes();
    if (images.length != (long) count * size) {
      throw new IllegalArgumentException(
          images.length
              + " bytes are not "
              + count
              + " images of "
              + size
              + ", the size of those of "
              + training.name());
    }
    byte[] row = new byte[size];
    Rows targets =
        new Pixels(training.count(), size) {
          @Override
          public void copy(int image, float[] to, int at) { // by one thread
            training.image(image, row, 0);
            widen(row, 0, to, at);
          }
        };
    Rows queries =
        new Pixels(count, size) {
          @Override
          public void copy(int image, float[] to, int at) {
            widen(images, image * size(), to, at);
          }
        };
    return search(queries, targets, neighbours);
  }

  /**
   * By features.
   *
   * @throws IllegalArgumentException if features differ in size, or there are fewer than {@code
   *     neighbours} of training images
   */
  public static NearestImages byFeatures(Features images, Features training, int neighbours) {
    Features.requireAlike(images, training);
    return search(images, training, neighbours);
  }

  private abstract static class Pixels implements Rows {
    private final int count;
    private final int size;

    Pixels(int count, int size) {
      this.count = count;
      this.size = size;
    }

    @Override
    public int count() {
      return count;
    }

    @Override
    public int size() {
      return size;
    }

    void widen(byte[] from, int start, float[] to, int at) {
      for (int i = 0; i < size; i++) {
        to[at + i] = from[start + i] & 0xFF;
      }
    }
  }

  private static NearestImages search(Rows images, Rows training, int neighbours) {
    if (neighbours < 1 || training.count() < neighbours) {
      throw new IllegalArgumentException(
          "there are " + training.count() + " training images: no " + neighbours + " nearest");
    }
    Nearest nearest = new Nearest(images.count(), neighbours);
    Distances.scan(images, training, nearest::offer);
    int[] indices = new int[images.count() * neighbours];
    double[] distances = new double[indices.length];
    Arrays.setAll(indices, i -> nearest.index(i / neighbours, i % neighbours));
    Arrays.setAll(distances, i -> Math.sqrt(nearest.squared(i / neighbours, i % neighbours)));
    return new NearestImages(images.count(), neighbours, indices, distances);
  }
}
