package dev.gatun.models.diffusion;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.op.Diffuse;
import dev.gatun.engine.op.Split;
import dev.gatun.engine.op.VariationalBound;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Average;
import dev.gatun.models.Condition;
import dev.gatun.models.Model;
import dev.gatun.models.train.ImageBatch;
import dev.gatun.models.train.Trainer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * Scores images by the variational bound of a discrete-time model, in f32: an upper bound of their
 * negative log-likelihood. The bound is a sum over all times; of each image the first term and the
 * last are computed, and of the others some, one in each of as many equal parts of the times. That
 * estimates the sum without bias.
 *
 * @see "Ho et al. 2020, Denoising Diffusion Probabilistic Models, equation 5"
 */
public final class BoundEvaluator implements AutoCloseable {
  private static final int BATCH = 64;

  private final Ddpm model;
  private final NoiseSchedule schedule;
  private final Owned owned = new Owned();
  private final ImageBatch batch;
  private final Tensor condition; // or null
  private final Tensor coefficients;
  private final Tensor times;
  private final Tensor draw; // [1] f64, the number of the noise
  private final Program program;
  private final Value terms;
  private final long seed;
  private int draws;

  /**
   * Prepares the network for batches.
   *
   * @param seed of noise and times
   */
  public BoundEvaluator(Device device, Ddpm model, Parameters weights, long seed) {
    this.model = model;
    this.seed = seed;
    schedule = model.schedule();
    Model.ImageShape s = model.imageShape();
    try {
      batch = owned.add(new ImageBatch(device, model, BATCH));
      int shown = model.condition().channels(s);
      condition =
          shown == 0
              ? null
              : owned.add(Tensor.allocate(device, DType.U8, BATCH, s.height(), s.width(), shown));
      coefficients = owned.add(Tensor.allocate(device, DType.F32, BATCH, Diffuse.COEFFICIENTS));
      times = owned.add(Tensor.allocate(device, DType.F32, BATCH));
      draw = owned.add(Tensor.allocate(device, DType.F64, 1));
      Tensor table =
          owned.add(Tensor.allocate(device, DType.F32, BoundTable.shape(schedule).toArray()));
      table.write(model.boundTable());

      Graph graph = new Graph();
      Value at = graph.bind(times);
      Value pixels = graph.bind(batch.images());
      Value x =
          graph
              .apply(
                  new Diffuse(seed, 0, DType.F32),
                  List.of(pixels, graph.bind(coefficients), graph.bind(draw)))
              .getFirst();
      Model.Input input =
          new Model.Input(
              pixels,
              graph.bind(batch.labels()),
              condition == null ? null : graph.bind(condition),
              DType.F32,
              null);
      Value said = model.network(graph, name -> graph.bind(weights.get(name)), x, at, input);
      List<Value> in = new ArrayList<>(List.of(said, x, pixels, at, graph.bind(table)));
      if (model.learnedVariance()) {
        List<Value> parts = graph.apply(new Split(s.channels()), List.of(said));
        in.set(0, parts.get(0));
        in.add(parts.get(1));
      }
      terms = graph.apply(new VariationalBound(1), in).get(1);
      program = owned.add(graph.compile(device, terms));
    } catch (RuntimeException | Error e) {
      owned.close();
      throw e;
    }
  }

  /**
   * The result.
   *
   * @param bitsPerDim the bound's mean over the images
   * @param standardError of that mean, of the images and of what was drawn for them
   */
  public record Score(double bitsPerDim, double standardError, int images, double seconds) {}

  /**
   * Scores the first {@code limit} images of a set.
   *
   * @param count terms that are computed of the T - 1 between the first and the last, of each image
   * @param progress is told how many images have been scored
   * @throws IllegalArgumentException in one line if the images do not fit, or count is not 1 to
   *     T-1; 0 where T is 1
   */
  public Score score(Dataset data, int limit, int count, IntConsumer progress) {
    Trainer.requireFits(model, data);
    int scored = ImageBatch.count(data, limit);
    int between = schedule.steps() - 1;
    if (count < Math.min(1, between) || count > between) {
      throw new IllegalArgumentException(
          "the bound at " + count + " times: " + Math.min(1, between) + " to " + between);
    }
    long start = System.nanoTime();
    draws = 0;
    double[] all = new double[scored];
    for (int first = 0; first < scored; first += BATCH) {
      int here = batch.load(data, first, scored);
      System.arraycopy(bits(first, here, count), 0, all, first, here);
      progress.accept(first + here);
    }
    Average bits = Average.of(all);
    double seconds = (System.nanoTime() - start) / 1e9;
    return new Score(bits.mean(), bits.standardError(), scored, seconds);
  }

  /** Of the images that were loaded, which are those from {@code first} on. */
  private double[] bits(int first, int here, int count) {
    Model.ImageShape shape = model.imageShape();
    byte[] pixels = batch.bytes();
    if (model.condition() != Condition.NONE) {
      condition.write(model.condition().of(pixels, BATCH, shape));
    }
    double[] bits = new double[here];
    int[] at = new int[BATCH];
    Arrays.fill(at, 1);
    add(bits, at, 1);
    Philox philox = new Philox(seed);
    int between = schedule.steps() - 1; // times 2 to T
    for (int k = 0; k < count; k++) {
      for (int i = 0; i < here; i++) {
        double part = (k + philox.uniform(Philox.Stream.TIMES, k, first + i)) / count;
        at[i] = 2 + Math.min(between - 1, (int) (part * between));
      }
      add(bits, at, (double) between / count);
    }
    for (int i = 0; i < here; i++) {
      bits[i] = (bits[i] + prior(pixels, i * shape.dimensions())) / Math.log(2);
    }
    return bits;
  }

  /** Adds the terms of some times, so many times each. */
  private void add(double[] nats, int[] at, double factor) {
    float[] rows = new float[BATCH * Diffuse.COEFFICIENTS];
    double[] told = new double[BATCH];
    for (int i = 0; i < BATCH; i++) {
      rows[i * Diffuse.COEFFICIENTS] = (float) schedule.alpha(at[i]);
      rows[i * Diffuse.COEFFICIENTS + 1] = (float) schedule.sigma(at[i]);
      told[i] = at[i];
    }
    coefficients.write(rows);
    times.writeDoubles(told);
    draw.writeDoubles(new double[] {draws++});
    program.run();
    float[] found = program.tensor(terms).toFloats();
    for (int i = 0; i < nats.length; i++) {
      nats[i] += factor * found[i];
    }
  }

  /** KL of what is left of an image at time T from noise, in nats a dimension. */
  private double prior(byte[] pixels, int at) {
    double kept = schedule.alphaBar(schedule.steps());
    double variance = 1 - kept;
    int size = model.imageShape().dimensions();
    double square = 0;
    for (int i = 0; i < size; i++) {
      double p = (pixels[at + i] & 0xFF) / 127.5 - 1;
      square += p * p / size;
    }
    return 0.5 * (variance + kept * square - 1 - Math.log(variance));
  }

  @Override
  public void close() {
    owned.close();
  }
}
