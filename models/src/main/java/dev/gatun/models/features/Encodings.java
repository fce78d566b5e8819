package dev.gatun.models.features;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.EncodingModel;
import dev.gatun.models.Model;
import dev.gatun.models.metrics.Features;
import dev.gatun.models.train.ImageBatch;
import dev.gatun.models.train.Trainer;
import java.util.function.IntConsumer;

/** What a trained encoder makes of images. Not thread-safe. */
public final class Encodings implements AutoCloseable {
  private static final int BATCH = 128;

  private final EncodingModel model;
  private final Owned owned = new Owned();
  private final ImageBatch batch;
  private final Program program;
  private final Tensor encoded; // BATCH x F, f32

  /**
   * Prepares the encoder for batches.
   *
   * @param weights the model's, or at least those of its encoder; the caller closes them
   * @param dtype of activations
   */
  public Encodings(Device device, EncodingModel model, Parameters weights, DType dtype) {
    this.model = model;
    try {
      batch = owned.add(new ImageBatch(device, model, BATCH));
      Graph graph = new Graph();
      Value features =
          model.encode(
              graph,
              name -> graph.bind(weights.get(name)),
              new Model.Input(graph.bind(batch.images()), null, dtype, null));
      program = owned.add(graph.compile(device, features));
      encoded = program.tensor(features);
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  /**
   * Features of all images of a set, in its order.
   *
   * @param progress is told how many are done
   * @return [N,F] f32
   * @throws IllegalArgumentException in one line if the images do not fit the model, or a feature
   *     is not finite
   */
  public Features of(Dataset data, IntConsumer progress) {
    Trainer.requireFits(model, data);
    int features = model.features();
    float[] all = new float[Math.multiplyExact(data.count(), features)];
    for (int first = 0; first < data.count(); first += BATCH) {
      int here = batch.load(data, first, data.count());
      program.run();
      System.arraycopy(encoded.toFloats(), 0, all, first * features, here * features);
      progress.accept(first + here);
    }
    return new Features(data.count(), features, all);
  }

  @Override
  public void close() {
    owned.close();
  }
}
