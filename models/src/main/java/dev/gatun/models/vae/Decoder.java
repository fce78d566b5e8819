package dev.gatun.models.vae;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.train.Parameters;
import java.util.Arrays;

/** Makes images, or points, of latents, a batch at a time. */
public final class Decoder implements AutoCloseable {
  private static final int BATCH = 64;

  private final CodingModel model;
  private final Owned owned = new Owned();
  private final Tensor latents;
  private final Program program;
  private final Value said;

  /** Prepares the network. */
  public Decoder(Device device, CodingModel model, Parameters weights, DType type) {
    this.model = model;
    try {
      latents = owned.add(Tensor.allocate(device, DType.F32, BATCH, 1, 1, model.latentSize()));
      Graph graph = new Graph();
      said = model.decode(graph, name -> graph.bind(weights.get(name)), graph.bind(latents), type);
      program = owned.add(graph.compile(device, said));
    } catch (RuntimeException | Error e) {
      owned.close();
      throw e;
    }
  }

  /**
   * What latents most nearly are.
   *
   * @param z [count,D]
   * @return [count,H,W,C], in [-1,1]; of points the coordinates
   */
  public float[] means(float[] z) {
    return decode(z, mean(model));
  }

  private static Draw mean(CodingModel model) {
    return (index, first, second) -> model.pixels().mean(first, second);
  }

  /**
   * What pixels most nearly are.
   *
   * @param said what the model's decoder says, [M,H,W,P*C]
   * @param colours written from {@code at} on, so many numbers
   */
  static void means(CodingModel model, float[] said, float[] colours, int at, int count) {
    read(model, said, colours, at, count, mean(model));
  }

  /**
   * Draws of the likelihood, given latents.
   *
   * @param z [count,D]
   * @param seed draw k follows from it and k
   * @param first number of the first
   * @return [count,H,W,C], in [-1,1] but for rounding; of points the coordinates
   */
  public float[] draws(float[] z, long seed, int first) {
    Philox philox = new Philox(seed);
    int size = model.imageShape().dimensions();
    return decode(
        z,
        (index, one, two) -> {
          int image = first + index / size;
          long at = index % size;
          // strictly between 0 and 1
          double uniform = (philox.uniform(Philox.Stream.SAMPLE, image, 4 * at) + 0x1p-25);
          // words 2 and 3 of the same block
          double normal = philox.normal(Philox.Stream.SAMPLE, image, 2 * at + 1);
          return model.pixels().draw(one, two, uniform, normal);
        });
  }

  /** The colour of number {@code index}, by what is said of it. */
  private interface Draw {
    double of(int index, double first, double second);
  }

  private float[] decode(float[] z, Draw draw) {
    int size = model.latentSize();
    if (z.length % size != 0) {
      throw new IllegalArgumentException(z.length + " numbers in latents of " + size);
    }
    int count = z.length / size;
    int dimensions = model.imageShape().dimensions();
    float[] all = new float[Math.multiplyExact(count, dimensions)];
    for (int from = 0; from < count; from += BATCH) {
      int here = Math.min(BATCH, count - from);
      latents.write(
          Arrays.copyOf(Arrays.copyOfRange(z, from * size, (from + here) * size), BATCH * size));
      program.run();
      float[] values = program.tensor(said).toFloats();
      read(model, values, all, from * dimensions, here * dimensions, draw);
    }
    return all;
  }

  private static void read(
      CodingModel model, float[] said, float[] colours, int at, int count, Draw draw) {
    int channels = model.imageShape().channels();
    int each = model.pixels().parameters() * channels;
    for (int i = 0; i < count; i++) {
      int k = i / channels * each + i % channels;
      double second = each > channels ? said[k + channels] : 0;
      colours[at + i] = (float) draw.of(at + i, said[k], second);
    }
  }

  /** Colours in [-1,1], rounded to the nearest of 256 levels. */
  public static byte[] levels(float[] colours) {
    byte[] pixels = new byte[colours.length];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) Math.clamp(Math.round((colours[i] + 1) * 127.5), 0, 255);
    }
    return pixels;
  }

  @Override
  public void close() {
    owned.close();
  }
}
