package dev.gatun.models;

import java.util.function.IntConsumer;

/**
 * Draws images. Image k of a seed is drawn with random numbers of its own, so it does not depend on
 * how many images are drawn with it.
 */
public interface Sampler extends AutoCloseable {
  /** As on the command line. */
  String name();

  /**
   * What to draw.
   *
   * @param count images
   * @param temperature below 1 is tamer, above 1 wilder
   * @param label of all images; null for each class in turn, or where the model has none
   * @param given [count,H,W,C] u8, whose first {@code givenRows} rows are kept; null for none
   */
  record Request(
      int count, long seed, double temperature, Integer label, byte[] given, int givenRows) {
    /** Whole images, of each class in turn. */
    public Request(int count, long seed, double temperature) {
      this(count, seed, temperature, null, null, 0);
    }

    public Request {
      if (count < 0) {
        throw new IllegalArgumentException("count must not be negative");
      }
      if (!(temperature > 0 && Double.isFinite(temperature))) {
        throw new IllegalArgumentException("temperature must be positive, not " + temperature);
      }
    }

    /** Throws {@link IllegalArgumentException} in one line if the model cannot draw this. */
    public void requireFits(Model model) {
      if (label != null && (label < 0 || label >= model.classes())) {
        throw new IllegalArgumentException(
            model.classes() == 0
                ? "the model was trained without classes, it cannot draw class " + label
                : "class must be 0 to " + (model.classes() - 1) + ", not " + label);
      }
      int rows = model.imageShape().height();
      if (givenRows < 0 || givenRows > rows) {
        throw new IllegalArgumentException("rows must be 0 to " + rows + ", not " + givenRows);
      }
      if (given == null ? givenRows > 0 : given.length != count * model.imageShape().dimensions()) {
        throw new IllegalArgumentException(
            "the given images must be " + count + " of " + model.imageShape());
      }
    }

    /** Throws {@link IllegalArgumentException} in one line where images are to be completed. */
    public void requireNothingGiven(Model model) {
      if (givenRows > 0) {
        throw new IllegalArgumentException(
            model.name() + " draws whole images: it cannot complete one; use a PixelCNN");
      }
    }

    /** The label of an image. */
    public byte label(int image, int classes) {
      return (byte) (label != null ? label : image % classes);
    }
  }

  /** How many units of work there are in so many images, as the progress is told. */
  long work(int count);

  /**
   * Draws images.
   *
   * @param progress is told how many of {@link #work} units are done
   * @return [count,H,W,C] u8
   * @throws IllegalArgumentException in one line if the model cannot draw what is asked for
   */
  byte[] sample(Request request, IntConsumer progress);

  /** Draws whole images, of each class in turn. */
  default byte[] sample(int count, long seed, double temperature, IntConsumer progress) {
    return sample(new Request(count, seed, temperature), progress);
  }

  @Override
  void close();
}
