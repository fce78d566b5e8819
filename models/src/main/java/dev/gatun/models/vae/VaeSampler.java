package dev.gatun.models.vae;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Program;
import dev.gatun.engine.Value;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Sampler;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * Draws latents of the prior and decodes them: to what they most nearly are, which is how a VAE's
 * images are usually shown, or to a draw of the likelihood, which is what the model says.
 */
public final class VaeSampler implements Sampler {
  /** Images whose progress is told at once. */
  private static final int ROUND = 256;

  private final Vae model;
  private final boolean exact;
  private final Owned owned = new Owned();
  private final Decoder decoder;
  private final List<float[]> prior = new ArrayList<>();

  /**
   * Prepares the network.
   *
   * @param exact whether pixels are drawn, too
   */
  public VaeSampler(Device device, Vae model, Parameters weights, DType type, boolean exact) {
    this.model = model;
    this.exact = exact;
    try {
      decoder = owned.add(new Decoder(device, model, weights, type));
      Graph graph = new Graph();
      List<Value> values = model.prior(graph, name -> graph.bind(weights.get(name)), type);
      try (Program program = graph.compile(device, values.toArray(Value[]::new))) {
        program.run();
        values.forEach(value -> prior.add(program.tensor(value).toFloats()));
      }
    } catch (RuntimeException | Error e) {
      owned.close();
      throw e;
    }
  }

  @Override
  public String name() {
    return exact ? "exact" : "mean";
  }

  @Override
  public long work(int count) {
    return count;
  }

  /**
   * Latents of the prior.
   *
   * @return [count,D]
   */
  public float[] latents(int count, long seed, double temperature) {
    Philox philox = new Philox(seed);
    int size = model.latentSize();
    float[] z = new float[Math.multiplyExact(count, size)];
    for (int i = 0; i < count; i++) {
      model.draw(prior, philox, i, temperature, z, i * size);
    }
    return z;
  }

  /**
   * Draws, as they are before rounding.
   *
   * @return [count,H,W,C] in [-1,1] but for draws beyond; of points the coordinates
   */
  public float[] values(int count, long seed, double temperature, IntConsumer progress) {
    float[] z = latents(count, seed, temperature);
    int size = model.latentSize();
    int each = model.imageShape().dimensions();
    float[] all = new float[Math.multiplyExact(count, each)];
    for (int from = 0; from < count; from += ROUND) {
      int to = Math.min(count, from + ROUND);
      float[] part = Arrays.copyOfRange(z, from * size, to * size);
      float[] made = exact ? decoder.draws(part, seed, from) : decoder.means(part);
      System.arraycopy(made, 0, all, from * each, made.length);
      progress.accept(to);
    }
    return all;
  }

  @Override
  public byte[] sample(Request request, IntConsumer progress) {
    request.requireFits(model);
    request.requireNothingGiven(model);
    if (model.dataType() != DType.U8) {
      throw new IllegalArgumentException(
          model.name() + " was trained on points, which are no images; plot their density");
    }
    return Decoder.levels(values(request.count(), request.seed(), request.temperature(), progress));
  }

  @Override
  public void close() {
    owned.close();
  }
}
