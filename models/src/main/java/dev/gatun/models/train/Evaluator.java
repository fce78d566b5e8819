package dev.gatun.models.train;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Value;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.LikelihoodModel;
import dev.gatun.models.Model;
import java.util.function.IntConsumer;

/** Scores images: the model's exact negative log-likelihood. */
public final class Evaluator implements AutoCloseable {
  private static final int BATCH = 64;

  private final LikelihoodModel model;
  private final Owned owned = new Owned();
  private final ImageBatch batch;
  private final Program program;
  private final Value terms;

  /**
   * Prepares the network for batches.
   *
   * @throws IllegalArgumentException if the model has no likelihood
   */
  public Evaluator(Device device, Model model, Parameters weights, DType dtype) {
    this.model = LikelihoodModel.of(model);
    try {
      batch = owned.add(new ImageBatch(device, model, BATCH));
      Graph graph = new Graph();
      Model.Input input =
          new Model.Input(graph.bind(batch.images()), graph.bind(batch.labels()), dtype, null);
      terms = this.model.nats(graph, name -> graph.bind(weights.get(name)), input).terms();
      program = owned.add(graph.compile(device, terms));
    } catch (RuntimeException | Error e) {
      owned.close();
      throw e;
    }
  }

  /** The result of scoring {@code images} images. */
  public record Score(double bitsPerDim, int images, double seconds) {
    public double imagesPerSecond() {
      return images / seconds;
    }
  }

  /**
   * Scores the first {@code limit} images of a set.
   *
   * @param progress is told how many have been scored
   */
  public Score score(Dataset data, int limit, IntConsumer progress) {
    Trainer.requireFits(model, data);
    int count = ImageBatch.count(data, limit);
    int size = model.imageShape().dimensions();
    double nats = 0;
    long start = System.nanoTime();
    for (int first = 0; first < count; first += BATCH) {
      int here = batch.load(data, first, count);
      program.run();
      float[] rows = program.tensor(terms).toFloats();
      for (int i = 0; i < here * (rows.length / BATCH); i++) {
        nats += rows[i];
      }
      progress.accept(first + here);
    }
    double seconds = (System.nanoTime() - start) / 1e9;
    return new Score(nats / Math.log(2) / ((double) count * size), count, seconds);
  }

  @Override
  public void close() {
    owned.close();
  }
}
