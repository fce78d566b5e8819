package dev.gatun.models.features;

import dev.gatun.engine.DType;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Conv2d;
import dev.gatun.engine.op.Reshape;
import dev.gatun.engine.op.SoftmaxCrossEntropy;
import dev.gatun.engine.op.Taps;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.models.EncodingModel;
import dev.gatun.models.Model;
import java.util.ArrayList;
import java.util.List;

/**
 * A model's encoder with a linear layer on its features, which tells classes apart.
 *
 * <p>Letters: N images, F features, K classes.
 */
final class EncoderClassifier implements Model {
  private static final String LAYER = "encoder-classifier.classes"; // no encoder has these names

  /**
   * Hyper-parameters.
   *
   * @param encoder those of the model that has the encoder
   * @param classes K
   */
  record Config(Record encoder, int classes) {}

  private final EncodingModel encoder;
  private final int classes;

  /**
   * A network.
   *
   * @param classes K, 2 to 256
   */
  EncoderClassifier(EncodingModel encoder, int classes) {
    this.encoder = encoder;
    this.classes = classes;
  }

  @Override
  public String name() {
    return "encoder-classifier";
  }

  @Override
  public Config config() {
    return new Config(encoder.config(), classes);
  }

  @Override
  public List<ParameterSpec> parameters() {
    List<ParameterSpec> all = new ArrayList<>(encoder.encoderParameters());
    all.add(ParameterSpec.weights(LAYER + ".weight", 1, encoder.features(), classes, 1));
    all.add(ParameterSpec.bias(LAYER + ".bias", classes));
    return all;
  }

  @Override
  public ImageShape imageShape() {
    return encoder.imageShape();
  }

  @Override
  public int levels() {
    return encoder.levels();
  }

  @Override
  public int classes() {
    return classes;
  }

  @Override
  public List<Constant> constants() {
    return encoder.constants();
  }

  /**
   * The classes' logits.
   *
   * @return [N,1,1,K] f32
   */
  Value logits(Graph g, Weights w, Input input) {
    Value features = encoder.encode(g, w, input); // (N, F)
    Value pixels =
        g.apply(new Reshape(features.shape().dim(0), 1, 1, encoder.features()), features);
    return g.apply(
        new Conv2d(Taps.point(), 1, 1, DType.F32),
        pixels,
        w.get(LAYER + ".weight"),
        w.get(LAYER + ".bias"));
  }

  @Override
  public Objective objective() {
    return Objective.LOSS;
  }

  /** The cross-entropy of the labels, in nats. */
  @Override
  public Value loss(Graph g, Weights w, Input input) {
    return g.apply(new SoftmaxCrossEntropy(null), logits(g, w, input), input.labels());
  }
}
