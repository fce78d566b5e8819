package dev.gatun.models.diffusion;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.DenoiseStep;
import dev.gatun.engine.train.Parameters;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.IntConsumer;

/**
 * Draws images with a denoising network: a step, the network and what a sampler makes of it, is
 * recorded once and replayed; its number lies on the device.
 */
public final class DenoisingSampler implements AutoCloseable {
  private final Owned owned = new Owned();
  private final UNet.Config images;
  private final int batch;
  private final int evaluations;
  private final Tensor x;
  private final Tensor previous;
  private final Tensor prediction;
  private final Tensor state;
  private final Tensor labels;
  private final Program first;
  private final Program step;

  /**
   * Prepares the step.
   *
   * @param weights of the network, read at each step
   * @param clip whether denoised images are kept to what pixels can be
   * @param batch images drawn together
   */
  public DenoisingSampler(
      Device device,
      UNet net,
      Parameters weights,
      SamplerSteps sampler,
      DType type,
      boolean clip,
      int batch) {
    this.images = net.config();
    this.batch = batch;
    evaluations = sampler.evaluations();
    try {
      int[] dims = {batch, images.height(), images.width(), images.channels()};
      x = owned.add(Tensor.allocate(device, DType.F64, dims));
      previous = owned.add(Tensor.allocate(device, DType.F64, dims));
      prediction = owned.add(Tensor.allocate(device, type, dims));
      state = owned.add(Tensor.allocate(device, DType.I32, 4));
      labels = owned.add(Tensor.allocate(device, DType.U8, batch));
      Tensor input = owned.add(Tensor.allocate(device, type, dims));
      Tensor times = owned.add(Tensor.allocate(device, DType.F32, batch));
      double[] rows = sampler.table();
      Tensor table =
          owned.add(
              Tensor.allocate(
                  device,
                  TensorSpec.of(
                      DType.F64, rows.length / DenoiseStep.COLUMNS, DenoiseStep.COLUMNS)));
      table.writeDoubles(rows);
      DenoiseStep denoise = new DenoiseStep(clip, 1);

      Graph begin = new Graph();
      denoise(begin, denoise, begin.bind(prediction), table, input, times);
      first = owned.add(begin.compile(device));

      Graph graph = new Graph();
      Map<String, Value> bound = new HashMap<>();
      weights.specs().forEach(s -> bound.put(s.name(), graph.bind(weights.get(s.name()))));
      Value said =
          net.apply(
              graph,
              bound::get,
              graph.bind(input),
              graph.bind(times),
              new UNet.Input(graph.bind(labels), type, null));
      denoise(graph, denoise, said, table, input, times);
      step = owned.add(graph.compile(device));
    } catch (RuntimeException | Error e) {
      owned.close();
      throw e;
    }
  }

  private void denoise(
      Graph graph, DenoiseStep denoise, Value said, Tensor table, Tensor input, Tensor times) {
    List<Value> next =
        graph.apply(
            denoise,
            List.of(
                graph.bind(x), graph.bind(previous), said, graph.bind(table), graph.bind(state)));
    graph.store(next.get(0), input);
    graph.store(next.get(1), times);
  }

  /**
   * Draws images; image k of a seed is the same whatever is drawn beside it.
   *
   * @param given [count] labels; null where the network has no classes
   * @param steps is told how many runs of the network are done
   * @return [count,H,W,C] u8
   * @throws IllegalArgumentException if a label is not one of the network's classes
   */
  public byte[] sample(int count, long seed, byte[] given, IntConsumer steps) {
    requireLabels(count, given);
    int size = images.height() * images.width() * images.channels();
    byte[] all = new byte[count * size];
    int done = 0;
    for (int from = 0; from < count; from += batch) {
      int some = Math.min(batch, count - from);
      if (given != null) {
        labels.write(Arrays.copyOf(Arrays.copyOfRange(given, from, from + some), batch));
      }
      state.writeDoubles(new double[] {(int) seed, (int) (seed >> 32), from, 0});
      x.writeDoubles(new double[x.elements()]);
      previous.writeDoubles(new double[x.elements()]);
      first.run();
      for (int i = 0; i < evaluations; i++) {
        step.run();
        steps.accept(++done);
      }
      double[] drawn = x.toDoubles();
      for (int i = 0; i < some * size; i++) {
        all[from * size + i] = pixel(drawn[i]);
      }
    }
    return all;
  }

  private void requireLabels(int count, byte[] given) {
    if ((images.classes() > 0) != (given != null) || given != null && given.length != count) {
      throw new IllegalArgumentException(
          images.classes() > 0
              ? count + " images of a network with classes need as many labels"
              : "this network has no classes: leave the labels out");
    }
    for (int i = 0; given != null && i < count; i++) {
      int label = Byte.toUnsignedInt(given[i]);
      if (label >= images.classes()) {
        throw new IllegalArgumentException(
            "label " + label + " of image " + i + ": there are " + images.classes() + " classes");
      }
    }
  }

  /** The nearest of the 256 levels between -1 and 1. */
  static byte pixel(double v) {
    return (byte) Math.clamp(Math.round((v + 1) * 127.5), 0, 255);
  }

  @Override
  public void close() {
    owned.close();
  }
}
