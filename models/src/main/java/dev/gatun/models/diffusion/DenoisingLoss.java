package dev.gatun.models.diffusion;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.Diffuse;
import dev.gatun.engine.op.DiffusionTimes;
import dev.gatun.engine.op.Split;
import dev.gatun.engine.op.SquaredError;
import dev.gatun.engine.op.VariationalBound;
import dev.gatun.models.Model;
import dev.gatun.models.NormalQuantile;
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

  private static final int SIGMAS = 4096;

  /**
   * Of a preconditioned network: log sigma is drawn from a normal distribution, in {@value #SIGMAS}
   * values that are each as likely as any other.
   *
   * @see "Karras et al. 2022, Elucidating the Design Space of Diffusion-Based Generative Models,
   *     equation 8 and table 1"
   */
  public static DenoisingLoss preconditioned(Preconditioning edm, double mean, double deviation) {
    float[] table = new float[SIGMAS * DiffusionTimes.COLUMNS];
    for (int i = 0; i < SIGMAS; i++) {
      double sigma = Math.exp(mean + deviation * NormalQuantile.of((i + 0.5) / SIGMAS));
      double input = edm.ofInput(sigma);
      double skip = edm.skip(sigma);
      double output = edm.output(sigma);
      row(
          table,
          i,
          input,
          input * sigma,
          (1 - skip) / output,
          -skip * sigma / output,
          edm.time(sigma),
          1);
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
   * What is added for a network that has a variance to learn: the term of the variational bound, in
   * which the mean is a constant.
   *
   * @param table of {@link VariationalBound}, bound
   * @param scale of the term
   * @see "Nichol and Dhariwal 2021, Improved Denoising Diffusion Probabilistic Models, section 3.1"
   */
  public record Bound(Value table, double scale) {}

  /**
   * The loss of a batch.
   *
   * @param times {@link #table}, bound
   * @param input in training
   * @param bound null where the network says no variance
   * @return [1] f32
   */
  public static Value apply(
      Graph graph, Value times, Model.Input input, Bound bound, Network network) {
    Value images = input.images();
    Model.Training training = input.training();
    DiffusionTimes draw =
        new DiffusionTimes(training.seed(), training.first(), images.shape().dim(0));
    List<Value> drawn = graph.apply(draw, List.of(times, training.step()));
    Diffuse diffuse = new Diffuse(training.seed(), training.first(), input.type());
    List<Value> noisy = graph.apply(diffuse, List.of(images, drawn.get(0), training.step()));
    Value said = network.apply(noisy.get(0), drawn.get(1));
    if (bound == null) {
      return error(graph, said, noisy.get(1), drawn.get(2));
    }
    List<Value> parts =
        graph.apply(new Split(images.shape().dim(3)), List.of(said)); // prediction, v
    // the bound of the image as it is in f32: as a sampler has it, not rounded for the network
    Diffuse whole = new Diffuse(training.seed(), training.first(), DType.F32);
    Value x =
        input.type() == DType.F32
            ? noisy.get(0)
            : graph.apply(whole, List.of(images, drawn.get(0), training.step())).getFirst();
    Value term =
        graph
            .apply(
                new VariationalBound(bound.scale),
                List.of(parts.get(0), x, images, drawn.get(1), bound.table, parts.get(1)))
            .getFirst();
    return graph.apply(new Add(), error(graph, parts.get(0), noisy.get(1), drawn.get(2)), term);
  }

  private static Value error(Graph graph, Value said, Value target, Value weights) {
    return graph.apply(new SquaredError(), List.of(said, target, weights)).getFirst();
  }
}
