package dev.gatun.models.pixelcnn;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.LikelihoodModel;
import dev.gatun.models.Model;
import java.util.Random;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.params.provider.Arguments;

/** Small networks for tests, with nothing left at zero: a bias that leaks must show. */
final class Nets {
  /** The models. */
  enum Kind {
    PIXELCNN,
    GATED,
    PLUS_PLUS;

    /** A net of a few thousand weights. */
    PixelModel small(int height, int width, int colours, int levels, int classes) {
      return switch (this) {
        case PIXELCNN ->
            new PixelCnn(
                new PixelCnn.Config(height, width, colours, levels, classes, 12, 2, 5, 3, 24));
        case GATED ->
            new GatedPixelCnn(
                new GatedPixelCnn.Config(height, width, colours, levels, classes, 6, 3, 5, 3, 24));
        // the dropout is of training alone: it must not show anywhere else
        case PLUS_PLUS -> plusPlus(height, width, colours, levels, classes, 2);
      };
    }
  }

  private Nets() {}

  static PixelCnnPlusPlus plusPlus(
      int height, int width, int colours, int levels, int classes, int resolutions) {
    return new PixelCnnPlusPlus(
        new PixelCnnPlusPlus.Config(
            height, width, colours, levels, classes, 6, 1, 3, resolutions, 0.5));
  }

  static GatedPixelCnn gated(
      int height, int width, int levels, int layers, int firstKernel, int filters) {
    return new GatedPixelCnn(
        new GatedPixelCnn.Config(height, width, 1, levels, 0, filters, layers, firstKernel, 3, 10));
  }

  /** Every kind, grey and in colour, without and with three classes. */
  static Stream<Arguments> variants() {
    return Stream.of(Kind.values())
        .flatMap(kind ->
            Stream.of(1, 3)
                .flatMap(colours ->
                    Stream.of(0, 3).map(classes -> Arguments.of(kind, colours, classes))));
  }

  static Parameters weights(Device device, Model model, long seed) {
    Parameters weights = new Parameters(device, model.parameters());
    Random random = new Random(seed);
    for (ParameterSpec spec : weights.specs()) {
      float[] values = new float[spec.shape().elements()];
      boolean gain = spec.name().endsWith(".g");
      double deviation =
          switch (spec.shape().rank()) {
            case 1 -> 0.3;
            case 2 -> 0.6;
            default -> 1.5 / Math.sqrt(spec.shape().dim(0) * spec.shape().dim(1));
          };
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) ((gain ? 1.2 : 0) + deviation * random.nextGaussian());
      }
      weights.get(spec.name()).write(values);
    }
    return weights;
  }

  static byte[] images(Model model, int count, long seed) {
    byte[] images = new byte[count * model.imageShape().dimensions()];
    Random random = new Random(seed);
    for (int i = 0; i < images.length; i++) {
      images[i] = (byte) random.nextInt(model.levels());
    }
    return images;
  }

  /** Labels 0, 1, 2 ... in turn; null where the model has none. */
  static byte[] labels(Model model, int count) {
    if (model.classes() == 0) {
      return null;
    }
    byte[] labels = new byte[count];
    for (int i = 0; i < count; i++) {
      labels[i] = (byte) (i % model.classes());
    }
    return labels;
  }

  /** Builds a network on images and labels, runs it in a dtype and reads one value. */
  static float[] run(
      Device device,
      Model model,
      Parameters weights,
      byte[] images,
      byte[] labels,
      DType type,
      Function<Built, Value> value) {
    Model.ImageShape shape = model.imageShape();
    int count = images.length / shape.dimensions();
    try (Tensor input =
            Tensor.allocate(
                device, DType.U8, count, shape.height(), shape.width(), shape.channels());
        Tensor classes = Tensor.allocate(device, DType.U8, count)) {
      input.write(images);
      if (labels != null) {
        classes.write(labels);
      }
      Graph g = new Graph();
      Model.Input in = new Model.Input(g.bind(input), g.bind(classes), type, null);
      Value out = value.apply(new Built(g, name -> g.bind(weights.get(name)), in));
      try (Program program = g.compile(device, out)) {
        program.run();
        return program.tensor(out).toFloats();
      }
    }
  }

  /** What a network is built from. */
  record Built(Graph graph, Model.Weights weights, Model.Input input) {
    Value parameters(PixelModel model) {
      return model.parameters(graph, weights, input);
    }
  }

  /** The network's outputs [N,H,W,P] in f32. */
  static float[] parameters(
      Device device, PixelModel model, Parameters weights, byte[] images, byte[] labels) {
    return run(device, model, weights, images, labels, DType.F32, b -> b.parameters(model));
  }

  /** Each image's negative log-likelihood in nats. */
  static double[] nats(
      Device device, Model model, Parameters weights, byte[] images, byte[] labels) {
    float[] terms = terms(device, model, weights, images, labels);
    int count = images.length / model.imageShape().dimensions();
    double[] nats = new double[count];
    for (int i = 0; i < terms.length; i++) {
      nats[i / (terms.length / count)] += terms[i];
    }
    return nats;
  }

  static float[] terms(
      Device device, Model model, Parameters weights, byte[] images, byte[] labels) {
    return run(
        device,
        model,
        weights,
        images,
        labels,
        DType.F32,
        b -> LikelihoodModel.of(model).nats(b.graph, b.weights, b.input).terms());
  }
}
