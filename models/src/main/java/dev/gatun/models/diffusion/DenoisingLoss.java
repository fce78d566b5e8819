package dev.gatun.models.diffusion;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Diffuse;
import dev.gatun.engine.op.DiffusionTimes;
import dev.gatun.engine.op.SquaredError;
import java.util.List;

/**
 * What a denoising network is trained with: the weighted squared error of what it says of images
 * with noise of a random time. All that is random is drawn on the device, by the step's number.
 *
 * @see "Ho et al. 2020, Denoising Diffusion Probabilistic Models, algorithm 1"
 */
public final class DenoisingLoss {
  private final float[] table;

  private DenoisingLoss(float[] table) {
    this.table = table;
  }

  /**
   * Of a discrete-time process.
   *
   * @param mostSnr of min-SNR weighting; infinite for the plain error of what is predicted
   */
  public static DenoisingLoss discrete(
      NoiseSchedule schedule, Prediction prediction, double mostSnr) {
    float[] table = new float[schedule.steps() * DiffusionTimes.COLUMNS];
    for (int t = 1; t <= schedule.steps(); t++) {
      double alpha = schedule.alpha(t);
      double sigma = schedule.sigma(t);
      double weight =
          Double.isInfinite(mostSnr) ? 1 : prediction.minSnrWeight(alpha, sigma, mostSnr);
      row(
          table,
          t - 1,
          alpha,
          sigma,
          prediction.ofImage(alpha, sigma),
          prediction.ofNoise(alpha, sigma),
          t,
          weight);
    }
    return new DenoisingLoss(table);
  }

  private static void row(float[] table, int row, double... values) {
    for (int i = 0; i < values.length; i++) {
      table[row * DiffusionTimes.COLUMNS + i] = (float) values[i];
    }
  }

  /** [T,6], to be bound as {@code times} of {@link #apply}. */
  public float[] table() {
    return table.clone();
  }

  public Shape tableShape() {
    return Shape.of(table.length / DiffusionTimes.COLUMNS, DiffusionTimes.COLUMNS);
  }

  /** The network: from noisy images [N,H,W,C] and times [N] to what it says, like the images. */
  @FunctionalInterface
  public interface Network {
    Value apply(Value x, Value times);
  }

  /**
   * The loss of a batch.
   *
   * @param times {@link #table}, bound
   * @param images [N,H,W,C] u8
   * @param step [1] f64
   * @param first number of the first image in its batch
   * @return mean [1] f32, and that of each image, [N] f32, without weights
   */
  public static List<Value> apply(
      Graph graph,
      Value times,
      Value images,
      Value step,
      long seed,
      int first,
      DType type,
      Network network) {
    int count = images.shape().dim(0);
    List<Value> drawn = graph.apply(new DiffusionTimes(seed, first, count), List.of(times, step));
    List<Value> noisy =
        graph.apply(new Diffuse(seed, first, type), List.of(images, drawn.get(0), step));
    Value said = network.apply(noisy.get(0), drawn.get(1));
    return graph.apply(new SquaredError(), List.of(said, noisy.get(1), drawn.get(2)));
  }
}
