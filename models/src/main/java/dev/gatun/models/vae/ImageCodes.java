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
import dev.gatun.models.Model;
import dev.gatun.models.train.ImageBatch;
import dev.gatun.models.train.Trainer;

/** The latents that stand for images, a batch at a time. */
public final class ImageCodes implements AutoCloseable {
  private static final int BATCH = 64;

  private final CodingModel model;
  private final Owned owned = new Owned();
  private final ImageBatch batch;
  private final Tensor step;
  private final Program program;
  private final Value codes;
  private final Value kl; // or null

  /** Prepares the network. */
  public ImageCodes(Device device, CodingModel model, Parameters weights, DType type) {
    this.model = model;
    try {
      batch = owned.add(new ImageBatch(device, model, BATCH));
      step = owned.add(Tensor.allocate(device, DType.F64, 1));
      Graph graph = new Graph();
      Model.Weights bound = name -> graph.bind(weights.get(name));
      Model.Input input = new Model.Input(graph.bind(batch.images()), null, type, null);
      codes = model.code(graph, bound, input, graph.bind(step));
      kl = model instanceof Vae vae ? vae.klByLatent(graph, bound, input) : null;
      program =
          owned.add(kl == null ? graph.compile(device, codes) : graph.compile(device, codes, kl));
    } catch (RuntimeException | Error e) {
      owned.close();
      throw e;
    }
  }

  /**
   * What was made of images.
   *
   * @param z [count,D]
   * @param kl nats of each latent, the mean over the whole batches; null where there is no prior
   */
  public record Codes(float[] z, double[] kl) {}

  /**
   * Latents of the first {@code limit} images.
   *
   * @throws IllegalArgumentException if they are not the model's
   */
  public Codes of(Dataset data, int limit) {
    Trainer.requireFits(model, data);
    int count = Math.min(limit, data.count());
    int size = model.latentSize();
    float[] z = new float[Math.multiplyExact(count, size)];
    double[] sum = kl == null ? null : new double[kl.shape().elements()];
    int batches = 0;
    for (int first = 0; first < count; first += BATCH) {
      int here = batch.load(data, first, count);
      step.writeDoubles(first);
      program.run();
      System.arraycopy(program.tensor(codes).toFloats(), 0, z, first * size, here * size);
      if (kl != null) {
        double[] own = program.tensor(kl).toDoubles();
        for (int d = 0; d < own.length; d++) {
          sum[d] += own[d];
        }
      }
      batches++;
    }
    for (int d = 0; sum != null && d < sum.length; d++) {
      sum[d] /= batches;
    }
    return new Codes(z, sum);
  }

  @Override
  public void close() {
    owned.close();
  }
}
