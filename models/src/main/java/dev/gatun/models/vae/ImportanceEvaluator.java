package dev.gatun.models.vae;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.op.ImportanceBound;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.BoundedModel;
import dev.gatun.models.Model;
import dev.gatun.models.train.Trainer;
import java.lang.foreign.MemorySegment;
import java.util.function.IntConsumer;

/**
 * Scores images by the importance-weighted bound: with one sample the evidence lower bound, with
 * many an estimate of the likelihood that is too low by little.
 *
 * @see "Burda et al. 2016, Importance Weighted Autoencoders, section 3 and appendix: 5,000 samples"
 */
public final class ImportanceEvaluator implements AutoCloseable {
  /** Images at a time, or samples of one image. */
  private static final int ROWS = 250;

  private final BoundedModel model;
  private final int samples;
  private final int images; // at a time
  private final int drawn; // samples of an image at a time
  private final Owned owned = new Owned();
  private final Tensor batch;
  private final Tensor step;
  private final Program program;
  private final Value each;
  private final double constant;
  private long steps;

  /**
   * Prepares the network.
   *
   * @param samples of each image
   * @param seed of what is drawn
   * @throws IllegalArgumentException in one line if the model cannot be given so many samples
   */
  public ImportanceEvaluator(
      Device device, BoundedModel model, Parameters weights, DType type, int samples, long seed) {
    if (samples < 1 || samples > model.mostSamples()) {
      throw new IllegalArgumentException(
          samples
              + " samples: "
              + (samples < 1
                  ? "must be positive"
                  : model.name() + " has no more than " + model.mostSamples() + " of an image"));
    }
    this.model = model;
    this.samples = samples;
    images = samples == 1 ? ROWS : 1;
    drawn = samples == 1 ? 1 : divisor(samples);
    Model.ImageShape s = model.imageShape();
    try {
      batch =
          owned.add(
              Tensor.allocate(
                  device, model.dataType(), images, s.height(), s.width(), s.channels()));
      step = owned.add(Tensor.allocate(device, DType.F64, 1));
      Graph graph = new Graph();
      BoundedModel.Weighted weighted =
          model.weighted(
              graph,
              name -> graph.bind(weights.get(name)),
              new Model.Input(graph.bind(batch), null, type, null),
              graph.bind(step),
              seed,
              drawn);
      constant = weighted.constant();
      each = graph.apply(new ImportanceBound(drawn, weighted.factors()), weighted.terms()).get(1);
      program = owned.add(graph.compile(device, each));
    } catch (RuntimeException | Error e) {
      owned.close();
      throw e;
    }
  }

  /** The largest share of the samples that is drawn at a time and has no remainder. */
  private static int divisor(int samples) {
    int share = Math.min(samples, ROWS);
    while (samples % share != 0) {
      share--;
    }
    return share;
  }

  /**
   * The result.
   *
   * @param nats of an image, the mean; or a bound of it
   * @param unit as people read it: nats divided by what makes them bits a dimension, where they are
   * @param standardError of {@code unit}, over the images
   */
  public record Score(
      double nats, double unit, double standardError, int images, int samples, double seconds) {}

  /**
   * Scores the first {@code limit} images of a set.
   *
   * @param progress is told how many have been scored
   */
  public Score score(Dataset data, int limit, IntConsumer progress) {
    Trainer.requireFits(model, data);
    int count = Math.min(limit, data.count());
    if (count < 1) {
      throw new IllegalArgumentException("no images to score: limit " + limit + " of " + data);
    }
    long start = System.nanoTime();
    double sum = 0;
    double squares = 0;
    for (double nats : each(data, count, progress)) {
      sum += nats;
      squares += nats * nats;
    }
    double mean = sum / count;
    double variance = Math.max(0, squares / count - mean * mean);
    double error = Math.sqrt(variance / Math.max(1, count - 1));
    double unit = model.natsOfUnit();
    double seconds = (System.nanoTime() - start) / 1e9;
    return new Score(mean, mean / unit, error / unit, count, samples, seconds);
  }

  /**
   * Nats of each of the first {@code count} images.
   *
   * @param progress is told how many have been scored
   */
  public double[] each(Dataset data, int count, IntConsumer progress) {
    Trainer.requireFits(model, data);
    steps = 0;
    double[] all = new double[count];
    for (int first = 0; first < count; first += images) {
      int here = Math.min(images, count - first);
      System.arraycopy(nats(data, first, here), 0, all, first, here);
      progress.accept(first + here);
    }
    return all;
  }

  /** Of images from {@code first} on. */
  private double[] nats(Dataset data, int first, int here) {
    byte[] bytes = new byte[images * data.imageBytes()];
    for (int i = 0; i < here; i++) {
      data.image(first + i, bytes, i * data.imageBytes());
    }
    batch.write(MemorySegment.ofArray(bytes));
    int rounds = samples / drawn;
    double[] nats = new double[here];
    double[][] parts = new double[rounds][];
    for (int r = 0; r < rounds; r++) {
      step.writeDoubles(steps++);
      program.run();
      parts[r] = program.tensor(each).toDoubles();
    }
    for (int i = 0; i < here; i++) {
      double least = Double.POSITIVE_INFINITY;
      for (double[] part : parts) {
        least = Math.min(least, part[i]);
      }
      double total = 0;
      for (double[] part : parts) {
        total += Math.exp(least - part[i]);
      }
      nats[i] = least - Math.log(total / rounds) + constant;
    }
    return nats;
  }

  @Override
  public void close() {
    owned.close();
  }
}
