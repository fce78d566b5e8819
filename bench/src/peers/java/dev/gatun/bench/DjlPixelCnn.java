package dev.gatun.bench;

import ai.djl.Device;
import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Activation;
import ai.djl.nn.convolutional.Conv2d;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.pixelcnn.GatedPixelCnn;
import dev.gatun.models.train.TrainConfig;
import java.nio.ByteBuffer;
import java.util.Map;

/**
 * The gated PixelCNN as PyTorch runs it fastest: cropped kernels on padded inputs instead of masked
 * ones, activations and weights channels last, sums in place, and parameters that are views of one
 * vector, so that the optimizer is a dozen operations.
 */
final class DjlPixelCnn implements Peer.Network {
  private final Engine engine;
  private final GatedPixelCnn.Config config;
  private final NDManager manager;
  private final DjlWeights weights;

  DjlPixelCnn(
      Engine engine, GatedPixelCnn.Config config, TrainConfig training, Parameters initial) {
    this.engine = engine;
    this.config = config;
    manager = engine.newBaseManager(Device.cpu());
    weights = new DjlWeights(engine, manager, training, initial);
  }

  @Override
  public String description() {
    return DjlPeer.description(engine) + ", channels last";
  }

  /** x [N,C,H,W]; padding is that of both sides, rows and columns. */
  private static NDArray conv(
      Map<String, NDArray> p, String layer, NDArray x, int rows, int columns, Shape padding) {
    NDArray weight = p.get(layer + ".weight");
    NDArray bias = p.get(layer + ".bias");
    long in = x.getShape().get(1);
    return Conv2d.conv2d(
            x,
            weight.reshape(-1, rows, columns, in).transpose(0, 3, 1, 2),
            bias,
            new Shape(1, 1),
            padding,
            new Shape(1, 1),
            1)
        .singletonOrThrow();
  }

  private static NDArray pointwise(Map<String, NDArray> p, String layer, NDArray x) {
    return conv(p, layer, x, 1, 1, new Shape(0, 0));
  }

  /** The rows above; the first layer leaves the pixel's own row out. */
  private NDArray vertical(Map<String, NDArray> p, String layer, NDArray x, boolean first) {
    int r = (first ? config.firstKernel() : config.kernel()) / 2;
    NDArray padded = x.pad(new Shape(0, 0, r, first ? -1 : 0), 0);
    return conv(p, layer + "vertical", padded, first ? r : r + 1, 2 * r + 1, new Shape(0, r));
  }

  /** The row to the left; the first layer leaves the pixel itself out. */
  private NDArray horizontal(Map<String, NDArray> p, String layer, NDArray x, boolean first) {
    int r = (first ? config.firstKernel() : config.kernel()) / 2;
    NDArray padded = x.pad(new Shape(r, first ? -1 : 0, 0, 0), 0);
    return conv(p, layer + "horizontal", padded, 1, first ? r : r + 1, new Shape(0, 0));
  }

  private static NDArray gate(NDArray features) {
    NDList halves = features.split(2, 1);
    return halves.get(0).tanh().mul(Activation.sigmoid(halves.get(1)));
  }

  /** images [N,H,W,1] u8 to logits [N,K,H,W], channels last in memory. */
  private NDArray logits(NDManager scope, Map<String, NDArray> p, NDArray images) {
    NDArray pixels =
        images.toType(DataType.FLOAT32, true).divi(config.levels() - 1).muli(2).subi(1);
    NDArray ones = scope.ones(pixels.getShape());
    NDArray v = pixels.concat(ones, 3).transpose(0, 3, 1, 2);
    NDArray h = v;
    for (int l = 0; l < config.layers(); l++) {
      boolean first = l == 0;
      String layer = "layers." + l + ".";
      try (NDManager temporary = scope.newSubManager()) {
        v.attach(temporary);
        h.attach(temporary);
        NDArray above = vertical(p, layer, v, first); // (N, 2C, H, W)
        NDArray link = pointwise(p, layer + "link", above);
        NDArray gated = gate(horizontal(p, layer, h, first).addi(link)); // (N, C, H, W)
        NDArray out = pointwise(p, layer + "out", gated);
        h = first ? out : out.addi(h);
        h.attach(scope);
        if (l < config.layers() - 1) {
          v = gate(above);
          v.attach(scope);
        }
      }
    }
    NDArray head = pointwise(p, "head.0", Activation.relu(h));
    return pointwise(p, "head.1", Activation.relu(head));
  }

  /** The loss of each pixel, [N*H*W,1]. */
  private NDArray nats(NDManager scope, Map<String, NDArray> p, NDArray images) {
    NDArray logits = logits(scope, p, images);
    NDArray rows = logits.transpose(0, 2, 3, 1).reshape(-1, config.levels());
    NDArray targets = images.toType(DataType.INT64, true).reshape(-1, 1);
    return rows.logSoftmax(1).gather(targets, 1).neg();
  }

  private NDArray images(NDManager scope, byte[] images, int count) {
    return scope.create(
        ByteBuffer.wrap(images),
        new Shape(count, config.height(), config.width(), 1),
        DataType.UINT8);
  }

  @Override
  public float[] nats(byte[] images, int count) {
    try (NDManager scope = manager.newSubManager()) {
      return nats(scope, weights.views(weights.leaf(scope)), images(scope, images, count))
          .toFloatArray();
    }
  }

  @Override
  public void forward(byte[] images, int count) {
    try (NDManager scope = manager.newSubManager()) {
      logits(scope, weights.views(weights.leaf(scope)), images(scope, images, count));
    }
  }

  private NDArray loss(NDManager scope, NDArray leaf, byte[] images, int count) {
    return nats(scope, weights.views(leaf), images(scope, images, count)).mean();
  }

  @Override
  public Map<String, float[]> gradients(byte[] images, int count) {
    return weights.gradients((scope, leaf) -> loss(scope, leaf, images, count));
  }

  @Override
  public double step(byte[] images, int count) {
    return weights.step((scope, leaf) -> loss(scope, leaf, images, count));
  }

  @Override
  public Map<String, float[]> averagedWeights() {
    return weights.averaged();
  }

  @Override
  public void close() {
    manager.close();
  }
}
