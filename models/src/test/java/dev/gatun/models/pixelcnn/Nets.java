package dev.gatun.models.pixelcnn;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.train.Parameters;
import java.util.Random;

/** Small networks for tests, with nothing left at zero: a bias that leaks must show. */
final class Nets {
  private Nets() {}

  static GatedPixelCnn net(
      int height, int width, int levels, int layers, int firstKernel, int filters) {
    return new GatedPixelCnn(
        new GatedPixelCnn.Config(height, width, levels, filters, layers, firstKernel, 3, 10));
  }

  static Parameters weights(Device device, GatedPixelCnn model, long seed) {
    Parameters weights = new Parameters(device, model.parameters());
    Random random = new Random(seed);
    for (var spec : weights.specs()) {
      float[] values = new float[spec.shape().elements()];
      double deviation =
          spec.shape().rank() == 1
              ? 0.3
              : 1.2 / Math.sqrt(spec.shape().dim(0) * spec.shape().dim(1));
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) (deviation * random.nextGaussian());
      }
      weights.get(spec.name()).write(values);
    }
    return weights;
  }

  static byte[] images(GatedPixelCnn model, int count, long seed) {
    byte[] images = new byte[count * model.imageShape().dimensions()];
    Random random = new Random(seed);
    for (int i = 0; i < images.length; i++) {
      images[i] = (byte) random.nextInt(model.levels());
    }
    return images;
  }

  /** Logits [N,H,W,K] of images in f32. */
  static float[] logits(Device device, GatedPixelCnn model, Parameters weights, byte[] images) {
    Graph g = new Graph();
    int count = images.length / model.imageShape().dimensions();
    try (Tensor input =
        Tensor.allocate(
            device, DType.U8, count, model.imageShape().height(), model.imageShape().width(), 1)) {
      input.write(images);
      Value logits = model.logits(g, name -> g.bind(weights.get(name)), g.bind(input), DType.F32);
      try (Program program = g.compile(device, logits)) {
        program.run();
        return program.tensor(logits).toFloats();
      }
    }
  }
}
