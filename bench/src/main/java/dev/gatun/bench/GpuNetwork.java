package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.DeviceException;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Philox;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.Records;
import dev.gatun.models.train.Trainer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A network that is trained and sampled from here and in a peer. */
abstract class GpuNetwork implements AutoCloseable {
  /** Images that both sides' results are compared on. */
  static final int COMPARED = 4;

  private final String family;
  private final Preset preset;
  final ImageShape shape;
  final Models.Setup setup;
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

  /**
   * Something a network does beside training.
   *
   * @param section of the table
   * @param what images it makes, or reads
   * @param workload as the worker calls it
   * @param count images
   * @param passes of a sampler that makes so many of what is timed; 0 where nothing is extrapolated
   */
  record Use(String section, String what, String workload, int count, int passes) {}

  /** What is timed at work; closed with what it needed. */
  record Open(Runnable work, Owned owned) implements AutoCloseable {
    @Override
    public void close() {
      owned.close();
    }
  }

  /** Whether it has masked kernels, which a peer may build whole or cropped. */
  abstract boolean masked();

  /** What it is timed at. */
  abstract List<Use> uses(boolean quick);

  /** Weights of which no part is hidden by zeros. */
  abstract Parameters makeWeights(Device reference);

  /** Writes what the worker is held against. */
  abstract void export(Path file, Device reference, Parameters weights, List<DType> types)
      throws IOException;

  /** The outputs for {@link #COMPARED} images. */
  abstract float[] outputs(Device device, Parameters on, DType type);

  /**
   * Prepares a use.
   *
   * @param on a copy of the weights, on that device
   * @param owned closes what is opened
   */
  abstract Runnable open(Use use, Device device, Parameters on, DType type, Owned owned);

  final int batch() {
    return batch;
  }

  /** By which the worker knows it. */
  final String name() {
    return family + " " + preset.label() + " " + shape;
  }

  final String label(DType type) {
    return name() + " " + type.label();
  }

  Model model() {
    return setup.model();
  }

  final void describe(Map<String, Object> facts) {
    facts.put("model", family);
    facts.put("config", model().config());
    facts.put("batch", batch);
  }

  /** Slopes with noise, the same each time. */
  final byte[] images(int count) {
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
      weights = owned.add(makeWeights(reference));
    }
    return weights;
  }

  /** What has the worker load it: with a file of our results, made on the CPU. */
  final Map<String, Object> command(Path work, Device reference) throws IOException {
    Path file = work.resolve(name().replaceAll("[^A-Za-z0-9+]", "-") + ".safetensors");
    List<DType> types = new ArrayList<>(List.of(DType.F32));
    if (reference.refuses(DType.BF16) == null) {
      types.add(DType.BF16);
    }
    export(file, reference, weights(reference), types);
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
  final Map<String, Object> prepare(
      String workload, int count, String dtype, Map<String, Object> how) {
    Map<String, Object> all = new LinkedHashMap<>(how);
    all.put("workload", workload);
    all.put("net", name());
    all.put("batch", count);
    all.put("dtype", dtype);
    return all;
  }

  private Parameters copy(Device device, Owned here) {
    Parameters copy = here.add(new Parameters(device, model().parameters()));
    copy.copyFrom(weights);
    return copy;
  }

  /**
   * Compares a device's outputs with the CPU's in f32, once for each dtype.
   *
   * @throws DeviceException if the device cannot compute them
   * @throws IllegalStateException if they are others
   */
  final void requireAgreement(Comparison row, Device device, Device reference, DType type) {
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

  /** As a user trains it; every step sees the same images. */
  final Trainer trainer(Device device, DType type) {
    ImageShape s = shape;
    Dataset data =
        Dataset.of("bench", s.height(), s.width(), s.channels(), images(batch), null, 0, List.of());
    return new Trainer(device, model(), setup.training().withDType(type), data);
  }

  /** A use of it with a copy of the weights. */
  final Open open(Use use, Device device, DType type) {
    Owned here = new Owned();
    try {
      return new Open(open(use, device, copy(device, here), type, here), here);
    } catch (RuntimeException | Error e) {
      here.close();
      throw e;
    }
  }

  @Override
  public final void close() {
    owned.close();
  }
}
