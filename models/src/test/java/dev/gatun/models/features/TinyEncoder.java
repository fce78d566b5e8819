package dev.gatun.models.features;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.NormalizePixels;
import dev.gatun.engine.op.Relu;
import dev.gatun.engine.op.Reshape;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.models.EncodingModel;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/** An encoder of 8x8 grey images in two convolutions, the second over the whole map. */
record TinyEncoder(int features) implements EncodingModel {
  private static final int SIDE = 8;
  private static final int FILTERS = 4;

  record Config(int features) {}

  /**
   * Noise with a bright square: in the upper left, upper right or lower left, which are classes.
   */
  static Dataset squares(int count, long seed) {
    Random random = new Random(seed);
    byte[] pixels = new byte[count * SIDE * SIDE];
    int[] labels = new int[count];
    for (int i = 0; i < count; i++) {
      labels[i] = i % 3;
      for (int p = 0; p < SIDE * SIDE; p++) {
        boolean inside =
            p / SIDE / 4 == (labels[i] == 2 ? 1 : 0) && p % SIDE / 4 == (labels[i] == 1 ? 1 : 0);
        pixels[i * SIDE * SIDE + p] = (byte) (random.nextInt(100) + (inside ? 100 : 40));
      }
    }
    return Dataset.of("squares", SIDE, SIDE, 1, pixels, labels, 3, List.of());
  }

  @Override
  public String name() {
    return "tiny-encoder";
  }

  @Override
  public Config config() {
    return new Config(features);
  }

  @Override
  public List<ParameterSpec> encoderParameters() {
    return List.of(
        ParameterSpec.weights("map.weight", 9, 2, FILTERS, 2),
        ParameterSpec.bias("map.bias", FILTERS),
        ParameterSpec.weights("features.weight", 16, FILTERS, features, 1),
        ParameterSpec.bias("features.bias", features));
  }

  @Override
  public List<ParameterSpec> parameters() {
    List<ParameterSpec> all = new ArrayList<>(encoderParameters());
    all.addFirst(ParameterSpec.bias("decoder.bias", 3)); // not the encoder's, and before it
    return all;
  }

  @Override
  public ImageShape imageShape() {
    return new ImageShape(SIDE, SIDE, 1);
  }

  @Override
  public int levels() {
    return 256;
  }

  @Override
  public int classes() {
    return 0;
  }

  @Override
  public Objective objective() {
    return Objective.LOSS;
  }

  @Override
  public Value loss(Graph graph, Weights weights, Input input) {
    throw new UnsupportedOperationException("it is not trained itself");
  }

  @Override
  public Value encode(Graph g, Weights w, Input input) {
    Value x = g.apply(new NormalizePixels(256, input.type()), input.images());
    Conv2d halves = new Conv2d(Taps.square(3), 2, 2, null);
    x = g.apply(halves, x, w.get("map.weight"), w.get("map.bias")); // (N, 4, 4, FILTERS)
    x = g.apply(new Relu(), x);
    Conv2d whole = new Conv2d(Taps.rectangle(0, 3, 0, 3), 4, 4, DType.F32);
    x = g.apply(whole, x, w.get("features.weight"), w.get("features.bias"));
    return g.apply(new Reshape(x.shape().dim(0), features), x);
  }
}
