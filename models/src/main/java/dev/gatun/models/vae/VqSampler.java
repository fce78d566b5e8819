package dev.gatun.models.vae;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Sampler;
import dev.gatun.models.pixelcnn.CachedSampler;
import java.util.function.IntConsumer;

/** Draws codes of the prior, pixel by pixel, and decodes them to what they most nearly are. */
public final class VqSampler implements Sampler {
  private static final int BATCH = 64;

  private final VqVae model;
  private final Owned owned = new Owned();
  private final CachedSampler codes;
  private final Tensor indices;
  private final Program program;
  private final Value said;

  /** Prepares both networks. */
  public VqSampler(Device device, VqVae model, Parameters weights, DType type) {
    this.model = model;
    VqVae.Config c = model.config();
    try {
      Parameters prior = owned.add(model.priorWeights(device, weights));
      codes = owned.add(new CachedSampler(device, model.prior(), prior, type));
      indices =
          owned.add(Tensor.allocate(device, DType.U8, BATCH, c.codeHeight(), c.codeWidth(), 1));
      Graph graph = new Graph();
      said =
          model.decodeIndices(
              graph, name -> graph.bind(weights.get(name)), graph.bind(indices), type);
      program = owned.add(graph.compile(device, said));
    } catch (RuntimeException | Error e) {
      owned.close();
      throw e;
    }
  }

  @Override
  public String name() {
    return "cached";
  }

  @Override
  public long work(int count) {
    return codes.work(count) + count;
  }

  @Override
  public byte[] sample(Request request, IntConsumer progress) {
    request.requireFits(model);
    request.requireNothingGiven(model);
    int count = request.count();
    byte[] drawn =
        codes.sample(new Request(count, request.seed(), request.temperature()), progress);
    VqVae.Config c = model.config();
    int size = model.imageShape().dimensions();
    float[] all = new float[Math.multiplyExact(count, size)];
    for (int from = 0; from < count; from += BATCH) {
      int here = Math.min(BATCH, count - from);
      byte[] batch = new byte[BATCH * c.places()];
      System.arraycopy(drawn, from * c.places(), batch, 0, here * c.places());
      indices.write(batch);
      program.run();
      Decoder.means(model, program.tensor(said).toFloats(), all, from * size, here * size);
      progress.accept((int) codes.work(count) + from + here);
    }
    return Decoder.levels(all);
  }

  @Override
  public void close() {
    owned.close();
  }
}
