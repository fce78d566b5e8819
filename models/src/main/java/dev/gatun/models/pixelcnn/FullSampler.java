package dev.gatun.models.pixelcnn;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Sampler;
import java.util.function.IntConsumer;

/**
 * Runs the whole network for every pass of every pixel. It is there to check {@link CachedSampler}
 * against.
 */
public final class FullSampler implements Sampler {
  /** Images drawn together; fewer are padded, so that every call runs the same kernels. */
  public static final int BATCH = 64;

  private final PixelModel model;
  private final Owned owned = new Owned();
  private final Tensor images; // (N, H, W, C) u8
  private final Tensor labels; // (N) u8
  private final Program program;
  private final Tensor parameters; // (N, H, W, P) f32

  public FullSampler(Device device, PixelModel model, Parameters weights, DType type) {
    this.model = model;
    try {
      Model.ImageShape shape = model.imageShape();
      images =
          owned.add(
              Tensor.allocate(
                  device, DType.U8, BATCH, shape.height(), shape.width(), shape.channels()));
      labels = owned.add(Tensor.allocate(device, DType.U8, BATCH));
      Graph graph = new Graph();
      Model.Input input = new Model.Input(graph.bind(images), graph.bind(labels), type, null);
      Value out = model.parameters(graph, name -> graph.bind(weights.get(name)), input);
      program = owned.add(graph.compile(device, out));
      parameters = program.tensor(out);
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  @Override
  public String name() {
    return "full";
  }

  /** Rows of images. */
  @Override
  public long work(int count) {
    return (long) count * model.imageShape().height();
  }

  @Override
  public byte[] sample(Request request, IntConsumer progress) {
    request.requireFits(model);
    int size = model.imageShape().dimensions();
    byte[] all = new byte[request.count() * size];
    for (int first = 0; first < request.count(); first += BATCH) {
      int here = Math.min(BATCH, request.count() - first);
      int done = first * model.imageShape().height();
      byte[] drawn = batch(first, request, rows -> progress.accept(done + rows * here));
      System.arraycopy(drawn, 0, all, first * size, here * size);
    }
    return all;
  }

  private byte[] batch(int first, Request request, IntConsumer progress) {
    Model.ImageShape shape = model.imageShape();
    PixelDraws draws = new PixelDraws(model, request);
    int passes = model.likelihood().passes();
    int count = model.likelihood().parameters();
    byte[] drawn = new byte[BATCH * shape.dimensions()];
    if (model.classes() > 0) {
      byte[] own = new byte[BATCH];
      for (int n = 0; n < BATCH; n++) {
        own[n] = request.label(first + n, model.classes());
      }
      labels.write(own);
    }
    for (int row = 0; row < shape.height(); row++) {
      for (int column = 0; column < shape.width(); column++) {
        for (int pass = 0; pass < passes; pass++) {
          float[] values = run(drawn);
          for (int n = 0; n < BATCH; n++) {
            int pixel = (n * shape.height() + row) * shape.width() + column;
            draws.draw(
                first + n,
                row,
                column,
                pass,
                values,
                pixel * count + pass * (count / passes),
                drawn,
                pixel * shape.channels());
          }
        }
      }
      progress.accept(row + 1);
    }
    return drawn;
  }

  /** The parameters [N,H,W,P] of every pixel of {@link #BATCH} images [N,H,W,C]. */
  public float[] run(byte[] batch) {
    images.write(batch);
    program.run();
    return parameters.toFloats();
  }

  @Override
  public void close() {
    owned.close();
  }
}
