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
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.op.Diffuse;
import dev.gatun.engine.op.DiffusionTimes;
import dev.gatun.engine.op.SquaredError;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.diffusion.Ddpm;
import dev.gatun.models.diffusion.UNet;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What Gatun computes of a batch of noisy images, for a peer to be held against. */
final class UNetResults {
  private final Ddpm model;
  private final UNet net;

  UNetResults(Ddpm model) {
    this.model = model;
    net = new UNet(model.config().unet());
  }

  /**
   * What a training step makes of a data set of as many images as a batch: in the epoch's order,
   * with the step's times and noise.
   *
   * @param step counted from 0
   */
  Peer.Noisy noisy(Device device, Dataset data, int step) {
    int count = data.count();
    byte[] images =
        data.images(new Philox(UNetSetup.SEED).permutation(count, Philox.Stream.SHUFFLE, step));
    Model.Constant times = model.constants().getFirst();
    Graph graph = new Graph();
    try (Owned scope = new Owned()) {
      Tensor pixels = scope.add(Tensor.allocate(device, DType.U8, shape(count).toArray()));
      Value at = graph.bind(scope.add(Tensor.allocate(device, DType.F64, 1)).writeDoubles(step));
      Value table = graph.bind(of(scope, device, times.values(), times.shape()));
      List<Value> drawn =
          graph.apply(new DiffusionTimes(UNetSetup.SEED, 0, count), List.of(table, at));
      List<Value> made =
          graph.apply(
              new Diffuse(UNetSetup.SEED, 0, DType.F32),
              List.of(graph.bind(pixels.write(images)), drawn.getFirst(), at));
      Program program = scope.add(graph.compile(device, drawn.get(1), made.get(0), made.get(1)));
      program.run();
      return new Peer.Noisy(
          program.tensor(made.get(0)).toFloats(),
          program.tensor(drawn.get(1)).toFloats(),
          program.tensor(made.get(1)).toFloats());
    }
  }

  /** What the network says. */
  float[] predict(Device device, Parameters weights, Peer.Noisy batch, DType type) {
    Graph graph = new Graph();
    try (Owned scope = new Owned()) {
      Value said = network(graph, bind(graph, weights), scope, device, batch, type);
      Program program = scope.add(graph.compile(device, said));
      program.run();
      return program.tensor(said).toFloats();
    }
  }

  /**
   * What comes of a batch.
   *
   * @param outputs what the network says
   * @param loss the mean squared error
   */
  record Said(float[] outputs, float loss) {}

  /** Without a step: leaves the mean squared error's gradients in {@code slopes}. */
  Said train(Device device, Parameters weights, Peer.Noisy batch, DType type, Parameters slopes) {
    Graph graph = new Graph();
    try (Owned scope = new Owned()) {
      Map<String, Value> bound = bind(graph, weights);
      Value said = network(graph, bound, scope, device, batch, type);
      int count = batch.times().length;
      float[] ones = new float[count];
      Arrays.fill(ones, 1);
      Value target = graph.bind(of(scope, device, batch.target(), shape(count)));
      Value each = graph.bind(of(scope, device, ones, Shape.of(count)));
      Value mean = graph.apply(new SquaredError(), List.of(said, target, each)).getFirst();
      List<Value> all = graph.gradients(mean, List.copyOf(bound.values()));
      int i = 0;
      for (String name : bound.keySet()) {
        graph.store(all.get(i++), slopes.get(name));
      }
      Program program = scope.add(graph.compile(device, said, mean));
      program.run();
      return new Said(program.tensor(said).toFloats(), (float) program.tensor(mean).item());
    }
  }

  /** Of the mean squared error, in f32. */
  Map<String, float[]> gradients(Device device, Parameters weights, Peer.Noisy batch) {
    try (Parameters slopes = new Parameters(device, weights.specs())) {
      train(device, weights, batch, DType.F32, slopes);
      Map<String, float[]> values = new LinkedHashMap<>();
      slopes.specs().forEach(s -> values.put(s.name(), slopes.get(s.name()).toFloats()));
      return values;
    }
  }

  private static Map<String, Value> bind(Graph graph, Parameters weights) {
    Map<String, Value> bound = new LinkedHashMap<>();
    weights.specs().forEach(s -> bound.put(s.name(), graph.bind(weights.get(s.name()))));
    return bound;
  }

  private Value network(
      Graph graph,
      Map<String, Value> bound,
      Owned scope,
      Device device,
      Peer.Noisy batch,
      DType type) {
    int count = batch.times().length;
    Tensor x = scope.add(Tensor.allocate(device, type, shape(count).toArray()));
    double[] wide = new double[batch.x().length];
    Arrays.setAll(wide, i -> batch.x()[i]);
    x.writeDoubles(wide);
    Value times = graph.bind(of(scope, device, batch.times(), Shape.of(count)));
    return net.apply(graph, bound::get, graph.bind(x), times, new UNet.Input(null, type, null));
  }

  /** [count,H,W,C]. */
  Shape shape(int count) {
    ImageShape s = model.imageShape();
    return Shape.of(count, s.height(), s.width(), s.channels());
  }

  private static Tensor of(Owned scope, Device device, float[] values, Shape shape) {
    return scope.add(Tensor.allocate(device, DType.F32, shape.toArray())).write(values);
  }
}
