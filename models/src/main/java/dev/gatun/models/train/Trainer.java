package dev.gatun.models.train;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.TensorSpec;
import dev.gatun.engine.Together;
import dev.gatun.engine.Value;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.io.FormatException;
import dev.gatun.engine.io.Safetensors;
import dev.gatun.engine.io.SafetensorsEntry;
import dev.gatun.engine.io.SafetensorsFile;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.op.Add;
import dev.gatun.engine.op.MovingAverage;
import dev.gatun.engine.op.SquaredNorm;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Trains a model: one step recorded once and replayed, without native memory allocated in between.
 *
 * <p>Where a device divides into lanes each takes a shard of the batch, forward and backward, and
 * meets the others once a step, when the gradients are added.
 *
 * <p>Which images a step sees follows from the seed and the step's number alone, so a run that was
 * stopped and resumed has the same weights, bit for bit, as one that was not, on a machine of as
 * many cores.
 */
public final class Trainer implements AutoCloseable {
  /** Images of the batch that a lane is worth having for. */
  private static final int LEAST_SHARD = 4;

  private final Model model;
  private final TrainConfig config;
  private final Parameters weights;
  private final Parameters firstMoment;
  private final Parameters secondMoment;
  private final Parameters ema;
  private final Parameters gradients;
  private final Tensor optimizerStep;
  private final Tensor images;
  private final Tensor labels;
  private final Tensor condition; // or null
  private final Map<String, Tensor> constants = new LinkedHashMap<>();
  private final List<Shard> shards = new ArrayList<>();
  private final Program update;
  private final Owned owned = new Owned();
  private final Batches batches;
  private long steps;

  /**
   * Allocates everything a step needs and initializes the weights.
   *
   * @throws IllegalArgumentException if the images do not fit the model, or there are fewer of them
   *     than a batch
   */
  public Trainer(Device device, Model model, TrainConfig config, Dataset data) {
    requireFits(model, data);
    if (data.count() < config.batch()) {
      throw new IllegalArgumentException(
          "a batch of "
              + config.batch()
              + " needs as many images; "
              + data.name()
              + " has "
              + data.count()
              + ": use a smaller --batch");
    }
    this.model = model;
    this.config = config;
    try {
      List<ParameterSpec> specs = model.parameters();
      weights = owned.add(new Parameters(device, specs));
      firstMoment = owned.add(new Parameters(device, specs));
      secondMoment = owned.add(new Parameters(device, specs));
      ema = owned.add(new Parameters(device, specs));
      gradients = owned.add(new Parameters(device, specs));
      optimizerStep = owned.add(Tensor.allocate(device, DType.F64, 1));
      Model.ImageShape shape = model.imageShape();
      images =
          owned.add(
              Tensor.allocate(
                  device,
                  model.dataType(),
                  config.batch(),
                  shape.height(),
                  shape.width(),
                  shape.channels()));
      labels = owned.add(Tensor.allocate(device, DType.U8, config.batch()));
      int shown = model.condition().channels(shape);
      condition =
          shown == 0
              ? null
              : owned.add(
                  Tensor.allocate(
                      device, DType.U8, config.batch(), shape.height(), shape.width(), shown));
      for (Model.Constant constant : model.constants()) {
        Tensor table = owned.add(Tensor.allocate(device, DType.F32, constant.shape().toArray()));
        table.write(constant.values());
        constants.put(constant.name(), table);
      }
      batches = new Batches(data, Batches.View.of(model, config));
      weights.initialize(config.seed());
      Batches.Batch first = batches.take(0);
      model.initialize(
          device, weights, first.images(), model.classes() > 0 ? first.labels() : null);
      ema.copyFrom(weights);
      List<Device> lanes = device.divide(config.batch() / LEAST_SHARD);
      lanes.forEach(owned::add);
      if (lanes.isEmpty()) {
        lanes = List.of(device);
      }
      for (int i = 0; i < lanes.size(); i++) {
        int from = config.batch() * i / lanes.size();
        int to = config.batch() * (i + 1) / lanes.size();
        Parameters own = i == 0 ? gradients : owned.add(new Parameters(device, specs));
        shards.add(new Shard(lanes.get(i), from, to - from, own));
      }
      Graph graph = new Graph();
      applyGradients(graph);
      update = owned.add(graph.compile(device));
    } catch (RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  /**
   * Begins with weights that were trained elsewhere, in place of those of {@link Model#initialize}.
   *
   * @param initial copied
   * @throws IllegalStateException if a step was taken
   */
  public void startFrom(Parameters initial) {
    if (steps > 0) {
      throw new IllegalStateException("the training is at step " + steps + " already");
    }
    weights.copyFrom(initial);
    ema.copyFrom(initial);
  }

  /** Throws {@link IllegalArgumentException} in one line if the images are not the model's. */
  public static void requireFits(Model model, Dataset data) {
    Model.ImageShape shape = model.imageShape();
    Model.ImageShape given = new Model.ImageShape(data.height(), data.width(), data.channels());
    if (!given.equals(shape)) {
      throw new IllegalArgumentException(
          "the images of "
              + data.name()
              + " are "
              + given
              + ", "
              + model.name()
              + " is for "
              + shape
              + ": choose other data, or train a model of that size");
    }
    if (data.dtype() != model.dataType()) {
      throw new IllegalArgumentException(
          model.name()
              + " is for data in "
              + model.dataType().label()
              + ", "
              + data.name()
              + " is in "
              + data.dtype().label()
              + ": choose other data, or train a model of them");
    }
    if (model.classes() > 0 && (!data.hasLabels() || data.classes() > model.classes())) {
      throw new IllegalArgumentException(
          "the model is given one of "
              + model.classes()
              + " classes, "
              + data.name()
              + (data.hasLabels() ? " has " + data.classes() : " has no labels")
              + ": choose other data, or train a model without classes");
    }
  }

  /** Some of the batch's images on a lane of the device. */
  private final class Shard implements Runnable {
    final double share;
    final Parameters slopes; // of the batch's loss by these images
    final Map<String, Tensor> observed = new LinkedHashMap<>(); // sums over these images
    final Program program;
    private final Value loss; // of these images

    Shard(Device lane, int from, int count, Parameters slopes) {
      this.slopes = slopes;
      share = (double) count / config.batch();
      Graph graph = new Graph();
      Map<String, Value> bound = new LinkedHashMap<>();
      for (ParameterSpec spec : weights.specs()) {
        bound.put(spec.name(), graph.bind(weights.get(spec.name())));
      }
      Map<String, Value> known = new LinkedHashMap<>(bound);
      constants.forEach((name, table) -> known.put(name, graph.bind(table)));
      Model.Input input =
          new Model.Input(
              graph.bind(rows(images, from, count)),
              graph.bind(rows(labels, from, count)),
              condition == null ? null : graph.bind(rows(condition, from, count)),
              config.dtype(),
              new Model.Training(graph.bind(optimizerStep), config.seed(), from));
      loss = model.loss(graph, known::get, input);
      for (Model.Statistic statistic : model.statistics()) {
        Tensor sum = owned.add(Tensor.allocate(lane, weights.get(statistic.name()).spec()));
        Value seen = input.training().observed().get(statistic.name());
        if (seen == null) {
          throw new IllegalStateException("the loss does not observe " + statistic.name());
        }
        graph.store(seen, sum);
        observed.put(statistic.name(), sum);
      }
      List<Value> all = graph.gradients(loss, List.copyOf(bound.values()), (float) share);
      int i = 0;
      for (String name : bound.keySet()) {
        Value slope = all.get(i++);
        if (observed.containsKey(name)) {
          continue; // its slope stays zero, by which Adam leaves it alone
        }
        if (slope == null) {
          throw new IllegalStateException("the loss does not depend on parameter " + name);
        }
        graph.store(slope, slopes.get(name));
      }
      program = owned.add(graph.compile(lane, loss));
    }

    private static Tensor rows(Tensor all, int from, int count) {
      int[] dims = all.shape().toArray();
      long rowBytes = all.spec().sizeBytes() / dims[0];
      dims[0] = count;
      return Tensor.view(all.buffer(), from * rowBytes, TensorSpec.of(all.dtype(), dims));
    }

    @Override
    public void run() {
      program.run();
    }

    /** The part of the batch's loss that is these images'. */
    double loss() {
      return share * program.tensor(loss).item();
    }
  }

  private void applyGradients(Graph graph) {
    Value flat = graph.bind(gradients.flat());
    for (Shard shard : shards.subList(1, shards.size())) {
      flat = graph.apply(new Add(), flat, graph.bind(shard.slopes.flat()));
    }
    graph.apply(
        new Adam(
            config.learningRate(),
            config.beta1(),
            config.beta2(),
            1e-8,
            config.warmupSteps(),
            config.decay(),
            config.clipNorm(),
            config.emaDecay()),
        List.of(
            graph.bind(weights.flat()),
            graph.bind(firstMoment.flat()),
            graph.bind(secondMoment.flat()),
            graph.bind(ema.flat()),
            graph.bind(optimizerStep),
            flat,
            graph.apply(new SquaredNorm(), flat)));
    for (Model.Statistic statistic : model.statistics()) {
      Value sum = null;
      for (Shard shard : shards) {
        Value part = graph.bind(shard.observed.get(statistic.name()));
        sum = sum == null ? part : graph.apply(new Add(), sum, part);
      }
      graph.apply(
          new MovingAverage(statistic.decay()),
          List.of(graph.bind(weights.get(statistic.name())), sum));
    }
  }

  /**
   * Runs one step.
   *
   * @return the batch's {@link Model#reported} loss before the update
   * @throws DivergedException if that is not a finite number; nothing was saved since
   */
  public double step() {
    Batches.Batch batch = batches.take(steps);
    images.write(MemorySegment.ofArray(batch.images()));
    if (model.classes() > 0) {
      labels.write(batch.labels());
    }
    if (condition != null) {
      condition.write(batch.condition());
    }
    Together.run(shards);
    update.run();
    steps++;
    double loss = shards.stream().mapToDouble(Shard::loss).sum();
    if (!Double.isFinite(loss)) {
      throw new DivergedException(steps, loss);
    }
    return model.reported(loss);
  }

  /** Steps done, those before a resume included. */
  public long steps() {
    return steps;
  }

  public TrainConfig config() {
    return config;
  }

  public Model model() {
    return model;
  }

  /** The averaged weights: what is scored, sampled from and saved as the model. */
  public Parameters averagedWeights() {
    return ema;
  }

  /** Launches in one step. */
  public int launches() {
    return update.launches() + shards.stream().mapToInt(shard -> shard.program.launches()).sum();
  }

  /** Bytes that a step's intermediate values share. */
  public long arenaBytes() {
    return update.arenaBytes()
        + shards.stream().mapToLong(shard -> shard.program.arenaBytes()).sum();
  }

  /** A step's loss is that of the weights before it: the update itself may have gone astray. */
  private void requireFinite(Parameters parameters) {
    for (float value : parameters.flat().toFloats()) {
      if (!Float.isFinite(value)) {
        throw new DivergedException(steps, value);
      }
    }
  }

  /**
   * Writes the averaged weights as a checkpoint, atomically.
   *
   * @throws DivergedException if they are not finite; the file is as it was
   */
  public void saveModel(Path file) throws IOException {
    requireFinite(ema);
    Safetensors.write(
        file, Map.of("model", model.name(), "steps", Long.toString(steps)), ema.entries(""));
  }

  /**
   * Writes everything that a resumed run needs, atomically.
   *
   * @throws DivergedException if the weights are not finite; the file is as it was
   */
  public void saveState(Path file) throws IOException {
    requireFinite(weights);
    requireFinite(ema);
    List<SafetensorsEntry> entries = new ArrayList<>();
    entries.addAll(weights.entries("weights."));
    entries.addAll(firstMoment.entries("first_moment."));
    entries.addAll(secondMoment.entries("second_moment."));
    entries.addAll(ema.entries("ema."));
    MemorySegment step = MemorySegment.ofArray(new byte[8]);
    optimizerStep.read(step);
    entries.add(new SafetensorsEntry("optimizer_step", DType.F64, optimizerStep.shape(), step));
    Safetensors.write(file, Map.of("model", model.name(), "steps", Long.toString(steps)), entries);
  }

  /**
   * Goes on from a saved state.
   *
   * @throws FormatException if the file is damaged or of another model; nothing has changed then
   */
  public void loadState(Path file) throws IOException {
    try (SafetensorsFile saved = SafetensorsFile.open(file)) {
      String count = saved.metadata().get("steps");
      if (!model.name().equals(saved.metadata().get("model"))
          || count == null
          || !count.matches("\\d{1,15}")) {
        throw new FormatException(
            file,
            "is not a training state of " + model.name(),
            "resume in the folder that the run was started in");
      }
      SafetensorsEntry step = saved.entry("optimizer_step");
      if (step.data().byteSize() != 8) {
        throw new FormatException(file, "optimizer_step is not one f64", "the file is damaged");
      }
      // looked at in full before anything is overwritten
      weights.requireIn(file, saved, "weights.");
      firstMoment.requireIn(file, saved, "first_moment.");
      secondMoment.requireIn(file, saved, "second_moment.");
      ema.requireIn(file, saved, "ema.");
      weights.load(file, saved, "weights.");
      firstMoment.load(file, saved, "first_moment.");
      secondMoment.load(file, saved, "second_moment.");
      ema.load(file, saved, "ema.");
      optimizerStep.write(step.data());
      steps = Long.parseLong(count);
    }
  }

  @Override
  public void close() {
    owned.close();
  }
}
