package dev.gatun.models;

/**
 * What a model is shown of the image that it is to make, beside a label: a coarser form of it, of
 * the image's height and width.
 *
 * @see "Saharia et al. 2022, Palette: Image-to-Image Diffusion Models, section 3"
 * @see "Saharia et al. 2021, Image Super-Resolution via Iterative Refinement, section 2.2"
 */
public enum Condition {
  /** Nothing. */
  NONE(1),
  /** Its grey values, for colorization. */
  GREY(1),
  /** The image at half the resolution, for super-resolution. */
  HALF(2),
  /** The image at a quarter of the resolution, for super-resolution. */
  QUARTER(4);

  private final int factor;

  Condition(int factor) {
    this.factor = factor;
  }

  /** How many times smaller the image is that is shown; 1 where it is not made smaller. */
  public int factor() {
    return factor;
  }

  /** Channels of it, for images of a shape. */
  public int channels(Model.ImageShape shape) {
    return switch (this) {
      case NONE -> 0;
      case GREY -> 1;
      case HALF, QUARTER -> shape.channels();
    };
  }

  /**
   * Throws {@link IllegalArgumentException} in one line if images of a shape cannot be shown so.
   */
  public void requireFits(Model.ImageShape shape) {
    if (this == GREY && shape.channels() == 1) {
      throw new IllegalArgumentException(
          "condition grey: the images are grey already; leave it out, or train on coloured ones");
    }
    if (shape.height() % factor != 0 || shape.width() % factor != 0) {
      throw new IllegalArgumentException(
          "condition of images "
              + factor
              + " times smaller: "
              + shape
              + " is not divisible; leave it out, or choose another");
    }
  }

  /**
   * What is shown of images.
   *
   * @param images [count,H,W,C] u8
   * @return [count,H,W,D] u8, D as {@link #channels}
   */
  public byte[] of(byte[] images, int count, Model.ImageShape shape) {
    return switch (this) {
      case NONE -> new byte[0];
      case GREY -> grey(images, count, shape);
      case HALF, QUARTER -> enlarge(shrink(images, count, shape), count, shape);
    };
  }

  /** Luma of RGB, ITU-R BT.601, in whole numbers. */
  private static byte[] grey(byte[] images, int count, Model.ImageShape shape) {
    byte[] grey = new byte[count * shape.height() * shape.width()];
    for (int i = 0; i < grey.length; i++) {
      int r = images[3 * i] & 0xFF;
      int g = images[3 * i + 1] & 0xFF;
      int b = images[3 * i + 2] & 0xFF;
      grey[i] = (byte) ((299 * r + 587 * g + 114 * b + 500) / 1000);
    }
    return grey;
  }

  /**
   * Images {@link #factor} times smaller: means of squares of pixels, rounded.
   *
   * @param images [count,H,W,C] u8
   */
  public byte[] shrink(byte[] images, int count, Model.ImageShape shape) {
    int h = shape.height() / factor;
    int w = shape.width() / factor;
    int channels = shape.channels();
    int area = factor * factor;
    byte[] small = new byte[count * h * w * channels];
    for (int i = 0; i < small.length; i++) {
      int c = i % channels;
      int x = i / channels % w;
      int y = i / channels / w; // row of all images
      int sum = 0;
      for (int dy = 0; dy < factor; dy++) {
        for (int dx = 0; dx < factor; dx++) {
          int row = y * factor + dy;
          sum += images[(row * shape.width() + x * factor + dx) * channels + c] & 0xFF;
        }
      }
      small[i] = (byte) ((sum + area / 2) / area);
    }
    return small;
  }

  /**
   * Each pixel as a square of {@link #factor} by as many.
   *
   * @param small [count,H/factor,W/factor,C] u8
   * @param shape of the large images
   * @return [count,H,W,C] u8
   */
  public byte[] enlarge(byte[] small, int count, Model.ImageShape shape) {
    int channels = shape.channels();
    int width = shape.width();
    byte[] large = new byte[count * shape.dimensions()];
    for (int i = 0; i < large.length; i++) {
      int c = i % channels;
      int x = i / channels % width;
      int y = i / channels / width;
      large[i] = small[(y / factor * (width / factor) + x / factor) * channels + c];
    }
    return large;
  }
}
