package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Program;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.io.Safetensors;
import dev.gatun.engine.io.SafetensorsEntry;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.op.SquaredNorm;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.pixelcnn.PixelModel;
import dev.gatun.models.train.TrainConfig;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Weights, a batch, and what Gatun computes from them, as a safetensors file: a peer in a process
 * of its own checks itself against it before it is timed.
 *
 * <p>The file has {@code images} and {@code labels}, {@code weights.NAME}; for each dtype T of
 * activations {@code T.parameters}, {@code T.nats} (the mean) and {@code T.gradients.NAME}; and
 * {@code stepped.NAME}, the averaged weights after the first optimizer step in f32.
 */
final class PeerExport {
  /** Of Adam, as the trainer has it. */
  static final double EPSILON = 1e-8;

  private PeerExport() {}

  /**
   * Weights as a model starts with them, and biases that are not zero: one that leaks must show.
   *
   * @return to be closed by the caller
   */
  static Parameters weights(Device device, Model model, byte[] images, byte[] labels) {
    Parameters weights = new Parameters(device, model.parameters());
    weights.initialize(1);
    model.initialize(device, weights, images, labels);
    Philox philox = new Philox(2);
    int subsequence = 0;
    for (ParameterSpec spec : weights.specs()) {
      if (spec.shape().rows() == 1 && !spec.name().endsWith(".g")) {
        Tensor tensor = weights.get(spec.name());
        float[] values = tensor.toFloats();
        for (int i = 0; i < values.length; i++) {
          values[i] += (float) (0.05 * philox.normal(Philox.Stream.TEST, subsequence, i));
        }
        tensor.write(values);
      }
      subsequence++;
    }
    return weights;
  }

  /**
   * Writes the file. The model's dropout, where it has one, has no part in it.
   *
   * @param labels null where the model has no classes
   * @param types that the device does not refuse; the first step is made in f32, whatever they are
   */
  static void write(
      Path file,
      Device device,
      PixelModel model,
      TrainConfig training,
      Parameters weights,
      byte[] images,
      byte[] labels,
      List<DType> types)
      throws IOException {
    int count = images.length / model.imageShape().dimensions();
    Model.ImageShape s = model.imageShape();
    List<SafetensorsEntry> entries = new ArrayList<>();
    Shape shape = Shape.of(count, s.height(), s.width(), s.channels());
    entries.add(new SafetensorsEntry("images", DType.U8, shape, MemorySegment.ofArray(images)));
    if (labels != null) {
      entries.add(
          new SafetensorsEntry("labels", DType.U8, Shape.of(count), MemorySegment.ofArray(labels)));
    }
    entries.addAll(weights.entries("weights."));
    try (Owned owned = new Owned()) {
      Tensor batch = owned.add(Tensor.allocate(device, DType.U8, shape.toArray())).write(images);
      Tensor classes = owned.add(Tensor.allocate(device, DType.U8, count));
      if (labels != null) {
        classes.write(labels);
      }
      for (DType type : types) {
        Parameters slopes = owned.add(new Parameters(device, weights.specs()));
        entries.addAll(compute(device, model, weights, slopes, batch, classes, type));
        entries.addAll(slopes.entries(type.label() + ".gradients."));
        if (type == DType.F32) {
          entries.addAll(stepped(device, training, weights, slopes));
        }
      }
    }
    Safetensors.write(file, Map.of("model", model.name()), entries);
  }

  /** Outputs and the loss; gradients are left in {@code slopes}. */
  private static List<SafetensorsEntry> compute(
      Device device,
      PixelModel model,
      Parameters weights,
      Parameters slopes,
      Tensor batch,
      Tensor classes,
      DType type) {
    Graph graph = new Graph();
    Map<String, Value> bound = new LinkedHashMap<>();
    weights.specs().forEach(p -> bound.put(p.name(), graph.bind(weights.get(p.name()))));
    Value images = graph.bind(batch);
    Model.Input input = new Model.Input(images, graph.bind(classes), type, null);
    Value parameters = model.parameters(graph, bound::get, input);
    Value mean = model.likelihood().nats(graph, parameters, images, type).mean();
    List<Value> all = graph.gradients(mean, List.copyOf(bound.values()));
    int i = 0;
    for (String name : bound.keySet()) {
      graph.store(all.get(i++), slopes.get(name));
    }
    try (Program program = graph.compile(device, parameters, mean)) {
      program.run();
      return List.of(
          entry(type.label() + ".parameters", program.tensor(parameters)),
          entry(type.label() + ".nats", program.tensor(mean)));
    }
  }

  /** A tensor's values and dtype under a name. */
  static SafetensorsEntry entry(String name, Tensor tensor) {
    MemorySegment data = MemorySegment.ofArray(new byte[(int) tensor.spec().sizeBytes()]);
    tensor.read(data);
    return new SafetensorsEntry(name, tensor.dtype(), tensor.shape(), data);
  }

  /** The optimizer of a training run. */
  static Adam adam(TrainConfig t) {
    return new Adam(
        t.learningRate(),
        t.beta1(),
        t.beta2(),
        EPSILON,
        t.warmupSteps(),
        t.decay(),
        t.clipNorm(),
        t.emaDecay());
  }

  /** The averaged weights after the first step with these gradients. */
  static List<SafetensorsEntry> stepped(
      Device device, TrainConfig training, Parameters weights, Parameters slopes) {
    try (Owned owned = new Owned()) {
      Parameters moved = owned.add(new Parameters(device, weights.specs()));
      moved.copyFrom(weights);
      Parameters average = owned.add(new Parameters(device, weights.specs()));
      average.copyFrom(weights);
      Parameters first = owned.add(new Parameters(device, weights.specs()));
      Parameters second = owned.add(new Parameters(device, weights.specs()));
      Tensor step = owned.add(Tensor.allocate(device, DType.F64, 1));
      Tensor norm = owned.add(device.apply(new SquaredNorm(), slopes.flat()).getFirst());
      device.run(
          adam(training),
          List.of(
              moved.flat(), first.flat(), second.flat(), average.flat(), step, slopes.flat(), norm),
          List.of());
      return average.entries("stepped.");
    }
  }
}
