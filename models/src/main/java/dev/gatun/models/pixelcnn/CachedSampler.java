package dev.gatun.models.pixelcnn;

import dev.gatun.engine.CausalPlan;
import dev.gatun.engine.CausalProgram;
import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.PixelDistribution;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Sampler;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.function.IntConsumer;

/**
 * Computes each value of each pixel once: what the network has found out about the pixels above and
 * to the left is kept.
 *
 * @see "Ramachandran et al. 2017, Fast Generation for Convolutional Autoregressive Models"
 */
public final class CachedSampler implements Sampler {
  private final Device device;
  private final PixelModel model;
  private final Parameters weights;
  private final DType type;
  private final Map<Integer, Prepared> prepared = new HashMap<>();

  public CachedSampler(Device device, PixelModel model, Parameters weights, DType type) {
    this.device = device;
    this.model = model;
    this.weights = weights;
    this.type = type;
  }

  /** The network for lanes of some size, with the tensors that stand for its inputs. */
  private record Prepared(CausalProgram program, Tensor images, Tensor labels)
      implements AutoCloseable {
    @Override
    public void close() {
      try (Owned all = new Owned()) {
        all.add(labels);
        all.add(images);
        all.add(program);
      }
    }
  }

  private Prepared prepare(int size) {
    Model.ImageShape shape = model.imageShape();
    Tensor images =
        Tensor.allocate(device, DType.U8, size, shape.height(), shape.width(), shape.channels());
    Tensor labels = null;
    try {
      labels = Tensor.allocate(device, DType.U8, size);
      Graph graph = new Graph();
      Value image = graph.bind(images);
      Value label = graph.bind(labels);
      Value out =
          model.parameters(
              graph,
              name -> graph.bind(weights.get(name)),
              new Model.Input(image, label, type, null));
      CausalPlan plan = new CausalPlan(image, out, model.likelihood().passes());
      return new Prepared(device.causal(graph, plan, label), images, labels);
    } catch (RuntimeException | Error e) {
      images.close();
      if (labels != null) {
        labels.close();
      }
      throw e;
    }
  }

  @Override
  public String name() {
    return "cached";
  }

  /** The program that draws {@code count} images, or so many of them at a time. */
  CausalProgram program(int count) {
    return prepared.computeIfAbsent(device.causalImages(count), this::prepare).program;
  }

  /** Rows of images. */
  @Override
  public long work(int count) {
    return (long) count * model.imageShape().height();
  }

  @Override
  public byte[] sample(Request request, IntConsumer progress) {
    request.requireFits(model);
    byte[] all = new byte[request.count() * model.imageShape().dimensions()];
    if (request.count() == 0) {
      return all;
    }
    CausalProgram program = program(request.count());
    int batch = program.lanes() * program.laneImages();
    for (int first = 0; first < request.count(); first += batch) {
      draw(program, first, Math.min(batch, request.count() - first), request, all, progress);
    }
    return all;
  }

  private void draw(
      CausalProgram program,
      int first,
      int here,
      Request request,
      byte[] all,
      IntConsumer progress) {
    Model.ImageShape shape = model.imageShape();
    int size = program.laneImages();
    int lanes = Math.ceilDiv(here, size);
    int channels = shape.channels();
    int passes = model.likelihood().passes();
    int count = model.likelihood().parameters() / passes;
    PixelDraws draws = new PixelDraws(model, request);
    byte[][] labels = null;
    if (model.classes() > 0) {
      labels = new byte[lanes][size];
      for (int k = 0; k < lanes * size; k++) {
        labels[k / size][k % size] = request.label(first + k, model.classes());
      }
    }
    PixelDistribution distribution = model.likelihood().distribution();
    if (program.draws(distribution)) {
      byte[] drawn =
          program.draw(
              labels == null ? null : labels[0],
              new CausalProgram.Drawing(
                  distribution,
                  request.temperature(),
                  request.seed(),
                  first,
                  here,
                  part(request.given(), first, here),
                  request.givenRows()),
              row -> progress.accept(first * shape.height() + row * here));
      System.arraycopy(drawn, 0, all, first * shape.dimensions(), drawn.length);
      return;
    }
    program.run(
        lanes,
        labels,
        (lane, row, column, pass, parameters, pixel) -> {
          for (int n = 0; n < size; n++) {
            int image = first + lane * size + n;
            draws.draw(image, row, column, pass, parameters, n * count, pixel, n * channels);
            if (image < request.count() && pass == passes - 1) {
              int at = ((image * shape.height() + row) * shape.width() + column) * channels;
              System.arraycopy(pixel, n * channels, all, at, channels);
            }
          }
          if (lane == 0 && column == shape.width() - 1 && pass == passes - 1) {
            progress.accept(first * shape.height() + (row + 1) * here);
          }
        });
  }

  private byte[] part(byte[] given, int first, int count) {
    int size = model.imageShape().dimensions();
    return given == null ? null : Arrays.copyOfRange(given, first * size, (first + count) * size);
  }

  /**
   * The time that the library's products and convolutions alone take for so many images, after they
   * have been drawn.
   *
   * @return seconds
   */
  public double bareSeconds(int count) {
    CausalProgram program = program(count);
    return program.bareSeconds(
        Math.min(program.lanes(), Math.ceilDiv(count, program.laneImages())));
  }

  @Override
  public void close() {
    try (Owned all = new Owned()) {
      prepared.values().forEach(all::add);
    } finally {
      prepared.clear();
    }
  }
}
