package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.op.GaussianSample;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.vae.Vae;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** What Gatun computes of a batch in f32 with a VAE, for a peer to be held against. */
final class VaeResults {
  private static final Vae MODEL = VaeSetup.MODEL;

  private VaeResults() {}

  /**
   * What a training step sees of a data set of as many images as a batch: in the epoch's order,
   * with the step's noise.
   *
   * @param step counted from 0
   */
  static Peer.Seen batch(Device device, Dataset data, int step) {
    int count = data.count();
    byte[] images =
        data.images(new Philox(VaeSetup.SEED).permutation(count, Philox.Stream.SHUFFLE, step));
    Graph graph = new Graph();
    try (Owned scope = new Owned()) {
      // what is drawn does not depend on the means and log-variances
      Tensor head = Tensor.allocate(device, DType.F32, count, 1, 1, 2 * MODEL.latentSize());
      scope.add(head).write(new float[head.shape().elements()]);
      List<Value> drawn =
          graph.apply(
              new GaussianSample(VaeSetup.SEED, 0, 1),
              List.of(graph.bind(head), step(graph, scope, device, step)));
      Program program = scope.add(graph.compile(device, drawn.get(1)));
      program.run();
      return new Peer.Seen(images, program.tensor(drawn.get(1)).toFloats());
    }
  }

  /** What the decoder says of the posterior's means, [N,H,W,2C]: noise has no part in it. */
  static float[] predict(Device device, Parameters weights, byte[] images) {
    Graph graph = new Graph();
    try (Owned scope = new Owned()) {
      Map<String, Value> bound = bind(graph, weights);
      Value step = step(graph, scope, device, 0);
      Value code = MODEL.code(graph, bound::get, input(graph, scope, device, images, null), step);
      Value said = MODEL.decode(graph, bound::get, code, DType.F32);
      Program program = scope.add(graph.compile(device, said));
      program.run();
      return program.tensor(said).toFloats();
    }
  }

  /** Of the loss of a step, with the step's noise. */
  static Map<String, float[]> gradients(
      Device device, Parameters weights, byte[] images, int number) {
    Graph graph = new Graph();
    try (Owned scope = new Owned()) {
      Map<String, Value> bound = bind(graph, weights);
      Parameters slopes = scope.add(new Parameters(device, weights.specs()));
      Model.Training training =
          new Model.Training(step(graph, scope, device, number), VaeSetup.SEED, 0);
      Value loss = MODEL.loss(graph, bound::get, input(graph, scope, device, images, training));
      List<Value> all = graph.gradients(loss, List.copyOf(bound.values()));
      int i = 0;
      for (String name : bound.keySet()) {
        graph.store(all.get(i++), slopes.get(name));
      }
      scope.add(graph.compile(device, loss)).run();
      Map<String, float[]> values = new LinkedHashMap<>();
      bound.keySet().forEach(name -> values.put(name, slopes.get(name).toFloats()));
      return values;
    }
  }

  private static Map<String, Value> bind(Graph graph, Parameters weights) {
    Map<String, Value> bound = new LinkedHashMap<>();
    weights.specs().forEach(s -> bound.put(s.name(), graph.bind(weights.get(s.name()))));
    return bound;
  }

  private static Model.Input input(
      Graph graph, Owned scope, Device device, byte[] images, Model.Training training) {
    ImageShape s = MODEL.imageShape();
    int count = images.length / s.dimensions();
    Tensor batch = Tensor.allocate(device, DType.U8, count, s.height(), s.width(), s.channels());
    Value bound = graph.bind(scope.add(batch).write(images));
    return new Model.Input(bound, null, DType.F32, training);
  }

  private static Value step(Graph graph, Owned scope, Device device, int step) {
    return graph.bind(scope.add(Tensor.allocate(device, DType.F64, 1)).writeDoubles(step));
  }
}
