package dev.gatun.models.pixelcnn;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.SelectRow;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntConsumer;

/**
 * Samplers of {@link GatedPixelCnn}: {@code rows}, which runs the vertical stack once a row and the
 * horizontal stack on one row alone, and {@code full}, which runs the whole network for every pixel
 * and is there to check the other against.
 */
public final class PixelSampler implements Sampler {
  /** Images drawn together; fewer are padded, so that every call runs the same kernels. */
  static final int BATCH = 64;

  private final String name;
  private final GatedPixelCnn model;
  private final List<AutoCloseable> owned = new ArrayList<>();
  private final Tensor images; // (N, H, W, 1) u8
  private final Tensor rowImages; // (N, 1, W, 1) u8, or all of the images for the full sampler
  private final Tensor row; // (1) i32
  private final Program beginRow; // null for the full sampler
  private final Program pixel;
  private final Tensor logits; // (N, R, W, K) f32

  private PixelSampler(
      String name, Device device, GatedPixelCnn model, Parameters weights, DType type) {
    this.name = name;
    this.model = model;
    boolean byRows = name.equals("rows");
    try {
      Model.ImageShape shape = model.imageShape();
      images = own(Tensor.allocate(device, DType.U8, BATCH, shape.height(), shape.width(), 1));
      row = own(Tensor.allocate(device, DType.I32, 1));
      Graph pixelGraph = new Graph();
      Value out;
      if (byRows) {
        rowImages = own(Tensor.allocate(device, DType.U8, BATCH, 1, shape.width(), 1));
        Graph rowGraph = new Graph();
        List<Value> links =
            model.verticalLinks(rowGraph, bound(weights, rowGraph), rowGraph.bind(images), type);
        List<Value> rowLinks = new ArrayList<>();
        for (Value link : links) {
          Value selected = rowGraph.apply(new SelectRow(), link, rowGraph.bind(row));
          Tensor kept = own(Tensor.allocate(device, selected.spec()));
          rowGraph.store(selected, kept);
          rowLinks.add(pixelGraph.bind(kept));
        }
        beginRow = own(rowGraph.compile(device));
        out =
            model.horizontalLogits(
                pixelGraph, bound(weights, pixelGraph), pixelGraph.bind(rowImages), rowLinks, type);
      } else {
        rowImages = images;
        beginRow = null;
        out = model.logits(pixelGraph, bound(weights, pixelGraph), pixelGraph.bind(images), type);
      }
      pixel = own(pixelGraph.compile(device, out));
      logits = pixel.tensor(out);
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  private static Model.Weights bound(Parameters weights, Graph graph) {
    return parameter -> graph.bind(weights.get(parameter));
  }

  /** The vertical stack once a row, the horizontal stack on one row a pixel. */
  public static PixelSampler rows(
      Device device, GatedPixelCnn model, Parameters weights, DType type) {
    return new PixelSampler("rows", device, model, weights, type);
  }

  /** The whole network for every pixel. */
  public static PixelSampler full(
      Device device, GatedPixelCnn model, Parameters weights, DType type) {
    return new PixelSampler("full", device, model, weights, type);
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public byte[] sample(int count, long seed, double temperature, IntConsumer progress) {
    int size = model.imageShape().dimensions();
    byte[] all = new byte[count * size];
    int height = model.imageShape().height();
    for (int first = 0; first < count; first += BATCH) {
      int done = first * height;
      int here = Math.min(BATCH, count - first);
      byte[] drawn = sampleBatch(first, seed, temperature, r -> progress.accept(done + r * here));
      System.arraycopy(drawn, 0, all, first * size, here * size);
    }
    return all;
  }

  private byte[] sampleBatch(int firstImage, long seed, double temperature, IntConsumer progress) {
    Philox philox = new Philox(seed);
    int height = model.imageShape().height();
    int width = model.imageShape().width();
    int classes = model.levels();
    byte[] drawn = new byte[BATCH * height * width];
    double[] scratch = new double[classes];
    for (int r = 0; r < height; r++) {
      begin(r, drawn);
      for (int c = 0; c < width; c++) {
        float[] values = pixelLogits(r, drawn);
        for (int n = 0; n < BATCH; n++) {
          int at = ((n * rows() + (rows() == 1 ? 0 : r)) * width + c) * classes;
          float uniform =
              philox.uniform(Philox.Stream.SAMPLE, firstImage + n, (long) r * width + c);
          drawn[(n * height + r) * width + c] =
              (byte) Categorical.draw(values, at, classes, temperature, uniform, scratch);
        }
      }
      progress.accept(r + 1);
    }
    return drawn;
  }

  private int rows() {
    return beginRow == null ? model.imageShape().height() : 1;
  }

  /** Prepares row {@code r}, all rows above being there. */
  void begin(int r, byte[] drawn) {
    if (beginRow != null) {
      images.write(drawn);
      row.write(r);
      beginRow.run();
    }
  }

  /** The logits of row {@code r} (or of all rows), given what has been drawn. */
  float[] pixelLogits(int r, byte[] drawn) {
    int height = model.imageShape().height();
    int width = model.imageShape().width();
    if (beginRow == null) {
      images.write(drawn);
    } else {
      byte[] single = new byte[BATCH * width];
      for (int n = 0; n < BATCH; n++) {
        System.arraycopy(drawn, (n * height + r) * width, single, n * width, width);
      }
      rowImages.write(single);
    }
    pixel.run();
    return logits.toFloats();
  }

  private <T extends AutoCloseable> T own(T resource) {
    owned.add(resource);
    return resource;
  }

  @Override
  public void close() {
    for (AutoCloseable resource : owned.reversed()) {
      try {
        resource.close();
      } catch (RuntimeException e) {
        throw e;
      } catch (Exception e) {
        throw new IllegalStateException(e);
      }
    }
    owned.clear();
  }
}
