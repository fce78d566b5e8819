package dev.gatun.engine.op;

import dev.gatun.engine.ShapeException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * The offsets of a convolution: output (y,x) reads input (y + dy, x + dx) for each tap. Dense,
 * causal, shifted and dilated kernels are all lists of taps; weights are {@code [T,C,K]} in the
 * list's order.
 */
public record Taps(List<Tap> list) {
  /** One offset: rows down, columns right. */
  public record Tap(int dy, int dx) {}

  public Taps {
    if (list.isEmpty()) {
      throw new ShapeException("a convolution needs at least one tap");
    }
    if (list.stream().distinct().count() != list.size()) {
      throw new ShapeException("a convolution's taps must differ: " + list);
    }
    list = List.copyOf(list);
  }

  /** Every offset with {@code top <= dy <= bottom} and {@code left <= dx <= right}, row by row. */
  public static Taps rectangle(int top, int bottom, int left, int right) {
    return rectangle(top, bottom, left, right, 1);
  }

  /** As {@link #rectangle(int, int, int, int)} with every offset multiplied by {@code dilation}. */
  public static Taps rectangle(int top, int bottom, int left, int right, int dilation) {
    List<Tap> taps = new ArrayList<>();
    for (int dy = top; dy <= bottom; dy++) {
      for (int dx = left; dx <= right; dx++) {
        taps.add(new Tap(dy * dilation, dx * dilation));
      }
    }
    return new Taps(taps);
  }

  /** The k x k square around the pixel; k odd. */
  public static Taps square(int k) {
    return rectangle(-(k / 2), k / 2, -(k / 2), k / 2);
  }

  /** The pixel itself: a 1x1 convolution. */
  public static Taps point() {
    return rectangle(0, 0, 0, 0);
  }

  /**
   * The taps of the k x k square that come before the pixel in raster order, and the pixel itself
   * where {@code centre} says so: masks A and B of a one-channel PixelCNN.
   *
   * @see "van den Oord et al. 2016, Pixel Recurrent Neural Networks, section 3.4"
   */
  public static Taps masked(int k, boolean centre) {
    List<Tap> taps = new ArrayList<>();
    for (Tap tap : square(k).list()) {
      boolean before = tap.dy() < 0 || (tap.dy() == 0 && tap.dx() < 0);
      boolean here = tap.dy() == 0 && tap.dx() == 0;
      if (before || (here && centre)) {
        taps.add(tap);
      }
    }
    return new Taps(taps);
  }

  public int count() {
    return list.size();
  }

  /** {@code dy0, dx0, dy1, dx1, ...}: the form kernels take. */
  public int[] toArray() {
    return list.stream().flatMapToInt(t -> java.util.stream.IntStream.of(t.dy(), t.dx())).toArray();
  }

  @Override
  public String toString() {
    return Arrays.toString(toArray()).replace(" ", "");
  }
}
