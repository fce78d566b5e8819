package dev.gatun.models.metrics;

import java.util.Arrays;
import java.util.Locale;

/**
 * How far generated images are from real ones, in the features of a {@link Classifier}, each figure
 * beside its floor: the same figure of real images against real images.
 *
 * <p>How figures are made comparable:
 *
 * <ul>
 *   <li>There are two independent real sets. The generated images are held against the first, and
 *       so are the images of the second: that is the floor. No image is ever held against itself.
 *   <li>All three sets have the same number of images, {@code images}. The Fréchet distance is too
 *       large by about a constant over that number, and precision and recall depend on it as well;
 *       figure and floor have that in common, and figures at another number of images are no
 *       figures to compare with. The kernel distance has no such bias.
 *   <li>Real images should be such as neither the generative model nor the classifier was trained
 *       on: a classifier says other things of images that it has seen, so training images against
 *       test images are no floor, but the distance between the two is in it. {@link #ofHalves}
 *       divides a test set.
 *   <li>The floor is itself one draw: of two figures that differ by less than the floor of two
 *       halves varies, neither is better.
 *   <li>The features are those of a small network trained on the data at hand, not Inception's:
 *       {@code classifierFd} is not FID and compares with none; figures of two classifiers do not
 *       compare either, so {@code classifier} belongs to every figure.
 * </ul>
 *
 * @param images of each of the three sets
 * @param classifierFd the squared Fréchet distance to the first real set
 * @param classifierFdFloor that of the second real set
 * @param kernelDistance KID to the first real set
 * @param kernelDistanceFloor that of the second real set; 0 within its error
 * @param precisionRecall against the first real set
 * @param precisionRecallOfReal of the second real set: what perfect images would have
 * @param classifier {@link Classifier#hash}
 */
public record Metrics(
    int images,
    double classifierFd,
    double classifierFdFloor,
    KernelDistance kernelDistance,
    KernelDistance kernelDistanceFloor,
    PrecisionRecall precisionRecall,
    PrecisionRecall precisionRecallOfReal,
    String classifier) {
  private static final long SEED = 0;

  /**
   * Of generated images, with the two halves of one real set, drawn at random. Where there are
   * fewer generated images than in a half, only as many real ones are used; of more, as many are
   * drawn.
   *
   * @param real features of all images of a test set
   * @param generated features of generated images
   * @throws IllegalArgumentException as {@link #of} does
   */
  public static Metrics ofHalves(Features real, Features generated, String classifier) {
    Features shuffled = real.draw(real.count(), SEED);
    int half = real.count() / 2;
    int[] rows = new int[2 * half];
    Arrays.setAll(rows, i -> i);
    return of(
        shuffled.rows(Arrays.copyOf(rows, half)),
        shuffled.rows(Arrays.copyOfRange(rows, half, 2 * half)),
        generated,
        classifier);
  }

  /**
   * Of generated images, with two real sets. Of each set as many images are drawn as the smallest
   * has.
   *
   * @param real what both others are held against
   * @param second other real images, none of them in {@code real}
   * @throws IllegalArgumentException in one line if features differ in size, or there are no more
   *     images of a kind than features of an image: covariances would be singular
   */
  public static Metrics of(Features real, Features second, Features generated, String classifier) {
    Features.requireAlike(real, second);
    Features.requireAlike(real, generated);
    requireEnough(real.size(), generated.count(), Math.min(real.count(), second.count()));
    int count = Math.min(generated.count(), Math.min(real.count(), second.count()));
    Features a = real.draw(count, SEED);
    Features b = second.draw(count, SEED);
    Features g = generated.draw(count, SEED);
    return new Metrics(
        count,
        FrechetDistance.between(a, g),
        FrechetDistance.between(a, b),
        KernelDistance.between(a, g),
        KernelDistance.between(a, b),
        PrecisionRecall.of(a, g),
        PrecisionRecall.of(a, b),
        classifier);
  }

  /**
   * Throws unless covariances of so many images are not singular.
   *
   * @param features of an image
   * @param real images of the smaller set
   * @throws IllegalArgumentException in one line
   */
  public static void requireEnough(int features, int generated, int real) {
    if (Math.min(generated, real) <= features) {
      throw new IllegalArgumentException(
          "figures on "
              + features
              + " features need more images than that of each kind: there are "
              + generated
              + " generated ones and "
              + real
              + " real ones in each half");
    }
  }

  /** All figures with their floors, in one line. */
  @Override
  public String toString() {
    return String.format(
        Locale.ROOT,
        "classifierFd %.3f (real %.3f), KID %.5f +- %.5f (real %.5f +- %.5f), precision %.3f (real"
            + " %.3f), recall %.3f (real %.3f); %,d images of each kind, classifier %s",
        classifierFd,
        classifierFdFloor,
        kernelDistance.mean(),
        kernelDistance.standardError(),
        kernelDistanceFloor.mean(),
        kernelDistanceFloor.standardError(),
        precisionRecall.precision(),
        precisionRecallOfReal.precision(),
        precisionRecall.recall(),
        precisionRecallOfReal.recall(),
        images,
        classifier);
  }
}
