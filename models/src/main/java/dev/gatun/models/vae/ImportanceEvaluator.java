package dev.gatun.models.vae;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Average;
import dev.gatun.models.BoundedModel;
import dev.gatun.models.Model;
import dev.gatun.models.WeightedNats;
import dev.gatun.models.train.ImageBatch;
import dev.gatun.models.train.Trainer;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
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
  private final Owned owned = new Owned();
  private final ImageBatch batch;
  private final Tensor step;
  private final List<Round> rounds = new ArrayList<>();
  private long steps;

  /**
   * Some of the samples.
   *
   * @param each [images] f32, the bound of an image by these samples, but for the constant
   */
  private record Round(int samples, Program program, Value each, double constant) {}

  /**
   * Prepares the network.
   *
   * @param samples of each image
   * @param seed of what is drawn
   * @throws IllegalArgumentException in one line if the model cannot be given so many samples
   */
  public ImportanceEvaluator(
      Device device, BoundedModel model, Parameters weights, DType type, int samples, long seed) {
    model.requireSamples(samples);
    this.model = model;
    this.samples = samples;
    images = samples == 1 ? ROWS : 1;
    try {
      batch = owned.add(new ImageBatch(device, model, images));
      step = owned.add(Tensor.allocate(device, DType.F64, 1));
      if (samples >= ROWS) {
        rounds.addAll(
            Collections.nCopies(samples / ROWS, round(device, weights, type, ROWS, seed)));
      }
      if (samples % ROWS > 0) {
        rounds.add(round(device, weights, type, samples % ROWS, seed));
      }
    } catch (RuntimeException | Error e) {
      owned.close();
      throw e;
    }
  }

  private Round round(Device device, Parameters weights, DType type, int drawn, long seed) {
    Graph graph = new Graph();
    WeightedNats weighted =
        model.weighted(
            graph,
            name -> graph.bind(weights.get(name)),
            new Model.Input(graph.bind(batch.images()), null, type, null),
            graph.bind(step),
            seed,
            drawn);
    Value each = weighted.bound(graph, drawn).get(1);
    return new Round(drawn, owned.add(graph.compile(device, each)), each, weighted.constant());
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
    int count = ImageBatch.count(data, limit);
    long start = System.nanoTime();
    Average nats = Average.of(each(data, count, progress));
    double unit = model.natsOfUnit();
    double seconds = (System.nanoTime() - start) / 1e9;
    return new Score(
        nats.mean(), nats.mean() / unit, nats.standardError() / unit, count, samples, seconds);
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
      int here = batch.load(data, first, count);
      System.arraycopy(nats(here), 0, all, first, here);
      progress.accept(first + here);
    }
    return all;
  }

  /** Of the images that were loaded. */
  private double[] nats(int here) {
    double[][] parts = new double[rounds.size()][];
    for (int r = 0; r < parts.length; r++) {
      Round round = rounds.get(r);
      step.writeDoubles(steps++);
      round.program.run();
      parts[r] = round.program.tensor(round.each).toDoubles();
    }
    double[] nats = new double[here];
    for (int i = 0; i < here; i++) {
      double least = Double.POSITIVE_INFINITY;
      for (double[] part : parts) {
        least = Math.min(least, part[i]);
      }
      double total = 0;
      for (int r = 0; r < parts.length; r++) {
        total += rounds.get(r).samples * Math.exp(least - parts[r][i]);
      }
      nats[i] = least - Math.log(total / samples) + rounds.getFirst().constant;
    }
    return nats;
  }

  @Override
  public void close() {
    owned.close();
  }
}
