package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.DeviceException;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.Records;
import dev.gatun.models.Sampler;
import dev.gatun.models.pixelcnn.PixelModel;
import dev.gatun.models.train.Trainer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A network that is trained and sampled from here and in a peer. */
final class GpuNetwork implements AutoCloseable {
  /** Images that both sides' results are compared on. */
  private static final int COMPARED = 4;

  private final String family;
  private final Preset preset;
  private final ImageShape shape;
  private final Models.Setup setup;
  private final int batch;
  private final Owned owned = new Owned();
  private Parameters weights; // on the CPU
  private float[] wanted; // the outputs there, in f32
  private final Map<DType, String> agreed = new LinkedHashMap<>();

  GpuNetwork(
      String family, Preset preset, ImageShape shape, Map<String, String> overrides, int batch) {
    this.family = family;
    this.preset = preset;
    this.shape = shape;
    this.batch = batch;
    Map<String, String> all = new LinkedHashMap<>(overrides);
    all.put("batch", Integer.toString(batch));
    setup = Models.setup(family, preset, shape, DType.F32, 0, all);
  }

  int batch() {
    return batch;
  }

  /** By which the worker knows it. */
  String name() {
    return family + " " + preset.label() + " " + shape;
  }

  String label(DType type) {
    return name() + " " + type.label();
  }

  PixelModel model() {
    return (PixelModel) setup.model();
  }

  /** Passes of the whole network that a sampler without a cache makes. */
  int passes() {
    return shape.height() * shape.width() * model().likelihood().passes();
  }

  void describe(Map<String, Object> facts) {
    facts.put("model", family);
    facts.put("config", model().config());
    facts.put("batch", batch);
  }

  /** Slopes with noise, the same each time. */
  private byte[] images(int count) {
    Philox philox = new Philox(5);
    int size = shape.dimensions();
    byte[] all = new byte[count * size];
    for (int n = 0; n < count; n++) {
      int base = philox.below(128, Philox.Stream.TEST, n, 0);
      for (int i = 0; i < size; i++) {
        int noise = philox.below(24, Philox.Stream.TEST, n, i + 1);
        all[n * size + i] = (byte) (base + 96 * i / size + noise);
      }
    }
    return all;
  }

  /** The weights, made once, on the CPU. */
  private Parameters weights(Device reference) {
    if (weights == null) {
      weights = owned.add(PeerExport.weights(reference, model(), images(COMPARED), null));
    }
    return weights;
  }

  /** What has the worker load it: with a file of our results, made on the CPU. */
  Map<String, Object> command(Path work, Device reference) throws IOException {
    Path file = work.resolve(name().replaceAll("[^A-Za-z0-9+]", "-") + ".safetensors");
    List<DType> types = new ArrayList<>(List.of(DType.F32));
    if (reference.refuses(DType.BF16) == null) {
      types.add(DType.BF16);
    }
    byte[] images = images(COMPARED);
    PeerExport.write(
        file, reference, model(), setup.training(), weights(reference), images, null, types);
    Map<String, Object> load = new LinkedHashMap<>();
    load.put("command", "load");
    load.put("name", name());
    load.put("model", family);
    load.put("config", Records.toJson(model().config()));
    load.put("training", Records.toJson(setup.training()));
    load.put("ours", file.toString());
    return load;
  }

  /** What has the worker prepare something with it. */
  Map<String, Object> prepare(String workload, int count, String dtype, Map<String, Object> how) {
    Map<String, Object> all = new LinkedHashMap<>(how);
    all.put("workload", workload);
    all.put("net", name());
    all.put("batch", count);
    all.put("dtype", dtype);
    return all;
  }

  private Parameters copy(Device device, Owned here) {
    Parameters copy = here.add(new Parameters(device, model().parameters()));
    for (var spec : copy.specs()) {
      copy.get(spec.name()).write(weights.get(spec.name()).toFloats());
    }
    return copy;
  }

  /**
   * Compares a device's outputs with the CPU's in f32, once for each dtype.
   *
   * @throws DeviceException if the device cannot compute them
   * @throws IllegalStateException if they are others
   */
  void requireAgreement(Comparison row, Device device, Device reference, DType type) {
    String refused = device.refuses(type);
    if (refused != null) {
      throw new DeviceException(refused);
    }
    weights(reference);
    if (wanted == null) {
      wanted = outputs(reference, weights, DType.F32);
    }
    String before = agreed.get(type);
    if (before == null) {
      try (Owned here = new Owned()) {
        Agreement.require(
            row, "ourDifference", outputs(device, copy(device, here), type), wanted, type);
        agreed.put(type, "");
      } catch (IllegalStateException e) {
        agreed.put(type, e.getMessage());
        throw e;
      }
    } else if (!before.isEmpty()) {
      throw new IllegalStateException(before);
    }
  }

  private float[] outputs(Device device, Parameters on, DType type) {
    try (Forward forward = new Forward(device, on, type, COMPARED, null)) {
      forward.run();
      return forward.program.tensor(forward.out).toFloats();
    }
  }

  /** As a user trains it; every step sees the same images. */
  Trainer trainer(Device device, DType type) {
    ImageShape s = shape;
    Dataset data =
        Dataset.of("bench", s.height(), s.width(), s.channels(), images(batch), null, 0, List.of());
    return new Trainer(device, model(), setup.training().withDType(type), data);
  }

  /** One pass over images, all outputs computed and dropped. */
  Forward forward(Device device, DType type, int count) {
    Owned here = new Owned();
    try {
      return new Forward(device, copy(device, here), type, count, here);
    } catch (RuntimeException | Error e) {
      here.close();
      throw e;
    }
  }

  /** Draws images with the cached sampler. */
  Drawing sampler(Device device, DType type, int count) {
    Owned here = new Owned();
    try {
      Parameters on = copy(device, here);
      Sampler sampler = here.add(Models.sampler("cached", device, model(), on, type));
      return new Drawing(sampler, count, here);
    } catch (RuntimeException | Error e) {
      here.close();
      throw e;
    }
  }

  /** A sampler at work. */
  record Drawing(Sampler sampler, int count, Owned owned) implements Runnable, AutoCloseable {
    @Override
    public void run() {
      sampler.sample(new Sampler.Request(count, 0, 1), rows -> {});
    }

    @Override
    public void close() {
      owned.close();
    }
  }

  /** The network on a batch. */
  final class Forward implements Runnable, AutoCloseable {
    private final Owned here = new Owned();
    private final Program program;
    private final Value out;

    /**
     * Compiles it.
     *
     * @param with closed with it; null for nothing
     */
    Forward(Device device, Parameters on, DType type, int count, Owned with) {
      if (with != null) {
        here.add(with::close);
      }
      Tensor input =
          here.add(
              Tensor.allocate(
                  device, DType.U8, count, shape.height(), shape.width(), shape.channels()));
      input.write(images(count));
      Graph graph = new Graph();
      out =
          model()
              .parameters(
                  graph,
                  n -> graph.bind(on.get(n)),
                  new Model.Input(graph.bind(input), null, type, null));
      program = here.add(graph.compile(device, out));
    }

    @Override
    public void run() {
      program.run();
    }

    @Override
    public void close() {
      here.close();
    }
  }

  @Override
  public void close() {
    owned.close();
  }
}
