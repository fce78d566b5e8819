package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Shape;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Together;
import dev.gatun.engine.Value;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.Diffuse;
import dev.gatun.engine.op.DiffusionTimes;
import dev.gatun.engine.op.SquaredError;
import dev.gatun.engine.op.SquaredNorm;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.diffusion.DenoisingLoss;
import dev.gatun.models.diffusion.UNet;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Training steps of the {@link UNetSetup}, always of the same images, a shard of them on each lane
 * of the device; and what the first of them computes, for a peer to be held against.
 */
final class UNetStep implements AutoCloseable {
  private static final int COUNT = UNetSetup.BATCH;

  private final Owned owned = new Owned();
  private final UNet net = new UNet(UNetSetup.CONFIG);
  private final Device device;
  private final DType type;
  private final Parameters weights;
  private final Parameters ema;
  private final Parameters gradients;
  private final Tensor images;
  private final Tensor table;
  private final Tensor number;
  private final List<Shard> shards = new ArrayList<>();
  private final Program update;

  /**
   * Copies the weights.
   *
   * @param pixels [N,H,W,C]
   */
  UNetStep(Device device, Parameters initial, byte[] pixels, DType type) {
    this.device = device;
    this.type = type;
    try {
      List<ParameterSpec> specs = initial.specs();
      weights = owned.add(new Parameters(device, specs));
      weights.copyFrom(initial);
      ema = owned.add(new Parameters(device, specs));
      ema.copyFrom(initial);
      gradients = owned.add(new Parameters(device, specs));
      images = owned.add(Tensor.allocate(device, DType.U8, shape(COUNT).toArray()));
      images.write(pixels);
      DenoisingLoss loss =
          DenoisingLoss.discrete(
              UNetSetup.MODEL.schedule(),
              UNetSetup.MODEL.config().prediction(),
              Double.POSITIVE_INFINITY);
      table = owned.add(Tensor.allocate(device, DType.F32, loss.tableShape().toArray()));
      table.write(loss.table());
      number = owned.add(Tensor.allocate(device, DType.F64, 1));
      List<Device> lanes = device.divide(COUNT);
      lanes.forEach(owned::add);
      if (lanes.isEmpty()) {
        lanes = List.of(device);
      }
      for (int i = 0; i < lanes.size(); i++) {
        int from = COUNT * i / lanes.size();
        int to = COUNT * (i + 1) / lanes.size();
        Parameters own = i == 0 ? gradients : owned.add(new Parameters(device, specs));
        shards.add(new Shard(lanes.get(i), from, to - from, own));
      }
      update = owned.add(update(specs));
    } catch (RuntimeException | Error e) {
      owned.close();
      throw e;
    }
  }

  private static Shape shape(int count) {
    UNet.Config c = UNetSetup.CONFIG;
    return Shape.of(count, c.height(), c.width(), c.channels());
  }

  private Value network(Graph graph, Map<String, Value> bound, Value x, Value times, DType as) {
    return net.apply(graph, bound::get, x, times, new UNet.Input(null, as, null));
  }

  private Map<String, Value> bind(Graph graph) {
    Map<String, Value> bound = new LinkedHashMap<>();
    weights.specs().forEach(s -> bound.put(s.name(), graph.bind(weights.get(s.name()))));
    return bound;
  }

  private static void store(
      Graph graph, Value loss, Map<String, Value> bound, float share, Parameters slopes) {
    List<Value> all = graph.gradients(loss, List.copyOf(bound.values()), share);
    int i = 0;
    for (String name : bound.keySet()) {
      graph.store(all.get(i++), slopes.get(name));
    }
  }

  /** Some of the batch's images on a lane of the device. */
  private final class Shard implements Runnable {
    private final double share;
    private final Parameters slopes;
    private final Program program;
    private final Value loss;

    Shard(Device lane, int from, int count, Parameters slopes) {
      this.slopes = slopes;
      share = (double) count / COUNT;
      Graph graph = new Graph();
      Map<String, Value> bound = bind(graph);
      TensorSpec own = new TensorSpec(shape(count), DType.U8);
      Tensor rows = Tensor.view(images.buffer(), (long) from * shape(1).elements(), own);
      Model.Training training = new Model.Training(graph.bind(number), UNetSetup.SEED, from);
      loss =
          DenoisingLoss.apply(
              graph,
              graph.bind(table),
              new Model.Input(graph.bind(rows), null, type, training),
              null,
              (x, times) -> network(graph, bound, x, times, type));
      store(graph, loss, bound, (float) share, slopes);
      program = owned.add(graph.compile(lane, loss));
    }

    @Override
    public void run() {
      program.run();
    }
  }

  private Program update(List<ParameterSpec> specs) {
    Graph graph = new Graph();
    Value flat = graph.bind(gradients.flat());
    for (Shard shard : shards.subList(1, shards.size())) {
      flat = graph.apply(new Add(), flat, graph.bind(shard.slopes.flat()));
    }
    graph.apply(
        PeerExport.adam(UNetSetup.TRAINING),
        List.of(
            graph.bind(weights.flat()),
            graph.bind(owned.add(new Parameters(device, specs)).flat()),
            graph.bind(owned.add(new Parameters(device, specs)).flat()),
            graph.bind(ema.flat()),
            graph.bind(number),
            flat,
            graph.apply(new SquaredNorm(), flat)));
    return graph.compile(device);
  }

  /** Trains; returns the mean squared error before it. */
  double step() {
    Together.run(shards);
    update.run();
    return shards.stream().mapToDouble(s -> s.share * s.program.tensor(s.loss).item()).sum();
  }

  Parameters averagedWeights() {
    return ema;
  }

  /** What a step, counted from 0, makes of the images. */
  Peer.Noisy noisy(int step) {
    Graph graph = new Graph();
    try (Tensor at = Tensor.allocate(device, DType.F64, 1).writeDoubles(step)) {
      Value bound = graph.bind(at);
      List<Value> drawn =
          graph.apply(
              new DiffusionTimes(UNetSetup.SEED, 0, COUNT), List.of(graph.bind(table), bound));
      List<Value> made =
          graph.apply(
              new Diffuse(UNetSetup.SEED, 0, DType.F32),
              List.of(graph.bind(images), drawn.getFirst(), bound));
      try (Program program = graph.compile(device, drawn.get(1), made.get(0), made.get(1))) {
        program.run();
        return new Peer.Noisy(
            program.tensor(made.get(0)).toFloats(),
            program.tensor(drawn.get(1)).toFloats(),
            program.tensor(made.get(1)).toFloats());
      }
    }
  }

  private Tensor of(Owned scope, float[] values, int... dims) {
    return scope.add(Tensor.allocate(device, DType.F32, dims)).write(values);
  }

  /** What the network says, in f32. */
  float[] predict(Peer.Noisy batch) {
    Graph graph = new Graph();
    try (Owned scope = new Owned()) {
      Value x = graph.bind(of(scope, batch.x(), shape(COUNT).toArray()));
      Value times = graph.bind(of(scope, batch.times(), COUNT));
      Value said = network(graph, bind(graph), x, times, DType.F32);
      Program program = scope.add(graph.compile(device, said));
      program.run();
      return program.tensor(said).toFloats();
    }
  }

  /** Of the mean squared error, in f32. */
  Map<String, float[]> gradients(Peer.Noisy batch) {
    Graph graph = new Graph();
    try (Owned scope = new Owned()) {
      Value x = graph.bind(of(scope, batch.x(), shape(COUNT).toArray()));
      Value times = graph.bind(of(scope, batch.times(), COUNT));
      Value target = graph.bind(of(scope, batch.target(), shape(COUNT).toArray()));
      float[] ones = new float[COUNT];
      Arrays.fill(ones, 1);
      Map<String, Value> bound = bind(graph);
      Value said = network(graph, bound, x, times, DType.F32);
      Value mean =
          graph
              .apply(new SquaredError(), List.of(said, target, graph.bind(of(scope, ones, COUNT))))
              .getFirst();
      Parameters slopes = scope.add(new Parameters(device, weights.specs()));
      store(graph, mean, bound, 1, slopes);
      scope.add(graph.compile(device, mean)).run();
      Map<String, float[]> all = new LinkedHashMap<>();
      bound.keySet().forEach(name -> all.put(name, slopes.get(name).toFloats()));
      return all;
    }
  }

  @Override
  public void close() {
    owned.close();
  }
}
