package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.op.Adam;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.pixelcnn.GatedPixelCnn;
import dev.gatun.models.train.TrainConfig;
import dev.gatun.models.train.Trainer;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.DoubleSupplier;
import java.util.stream.IntStream;

/**
 * Training steps of a gated PixelCNN here and in a peer, in turns on the same images, once both
 * have been seen to compute the same.
 */
final class PeerTrainBench {
  private static final String MODEL = "gated-pixelcnn";
  private static final int BATCH = 32;
  private static final int WARM_UP = 20;
  private static final int ROUNDS = Integer.getInteger("gatun.bench.rounds", 15);

  /** Steps a turn; the first of them pays for what the turn before left in the caches. */
  private static final int STEPS = 4;

  /** Of the losses after the warm-up: by then rounding errors have grown, mistakes far more. */
  private static final double LOSS_TOLERANCE = 0.01;

  private PeerTrainBench() {}

  /** The network that is compared, for images of a shape. */
  static Models.Setup setup(ImageShape shape, DType type) {
    Map<String, String> size =
        Map.of("layers", "15", "filters", "64", "headFilters", "256", "batch", "" + BATCH);
    return Models.setup(MODEL, Preset.SMALL, shape, type, 0, size);
  }

  static Map<String, Object> run(Peer peer, Device device, Console console) throws IOException {
    requireCpu(device);
    // as many images as a batch, so that every step of either sees the same ones
    Dataset data = TrainBench.data().subset(IntStream.range(0, BATCH).toArray());
    byte[] images = data.images(IntStream.range(0, BATCH).toArray());
    ImageShape shape = new ImageShape(data.height(), data.width(), data.channels());
    Models.Setup f32 = setup(shape, DType.F32);
    boolean mixed = device.preferredDType() == DType.BF16;
    List<Contender> all = new ArrayList<>();
    PeerCheck check = new PeerCheck(f32.model(), BATCH);
    Map<String, Object> result = new LinkedHashMap<>();
    try (Parameters weights = new Parameters(device, f32.model().parameters())) {
      weights.initialize(f32.training().seed());
      try (Peer.Network network = open(peer, f32, weights);
          Trainer ours = new Trainer(device, f32.model(), f32.training(), data);
          Trainer oursMixed =
              mixed
                  ? new Trainer(device, f32.model(), f32.training().withDType(DType.BF16), data)
                  : null) {
        console.say("peer " + peer.name() + ": " + network.description());
        check.nats(device, weights, network, images);
        check.gradients(device, weights, network, images);
        ours.step();
        network.step(images, BATCH);
        check.firstStep(ours.averagedWeights(), network.averagedWeights(), rate(f32.training()));
        console.say("the same outputs, gradients and first step: " + check.report());
        Contender here = new Contender("ours f32", ours::step);
        Contender there =
            new Contender("peer f32", () -> network.step(images, BATCH) / Math.log(2));
        all.add(here);
        all.add(there);
        if (mixed) {
          all.add(new Contender("ours bf16", oursMixed::step));
        }
        time(console, all);
        requireSameLoss(here, there, check);
        describe(result, peer, network, ours, f32.model());
      }
    }
    result.put("agreement", check.report());
    report(result, all, console);
    return result;
  }

  /** Opens a peer's network for a setup. */
  static Peer.Network open(Peer peer, Models.Setup setup, Parameters weights) {
    return peer.open((GatedPixelCnn.Config) setup.model().config(), setup.training(), weights);
  }

  static void requireCpu(Device device) {
    if (!device.name().equals("cpu")) {
      throw new UsageException("--peer compares on the CPU: use --device cpu");
    }
  }

  private static double rate(TrainConfig t) {
    return new Adam(
            t.learningRate(),
            t.beta1(),
            t.beta2(),
            0,
            t.warmupSteps(),
            t.decay(),
            t.clipNorm(),
            t.emaDecay())
        .rate(1);
  }

  /** Whoever trains, and the seconds of its steps. */
  private static final class Contender {
    private final String name;
    private final DoubleSupplier step;
    private final List<double[]> rounds = new ArrayList<>();
    private double warmLoss;

    /**
     * Has done nothing yet.
     *
     * @param step returns bits a dimension
     */
    Contender(String name, DoubleSupplier step) {
      this.name = name;
      this.step = step;
    }

    void warmUp() {
      for (int i = 0; i < WARM_UP; i++) {
        warmLoss = step.getAsDouble();
      }
    }

    void turn() {
      step.getAsDouble();
      double[] seconds = new double[STEPS - 1];
      for (int i = 0; i < seconds.length; i++) {
        long start = System.nanoTime();
        step.getAsDouble();
        seconds[i] = (System.nanoTime() - start) / 1e9;
      }
      rounds.add(seconds);
    }

    double[] seconds() {
      return rounds.stream().flatMapToDouble(Arrays::stream).toArray();
    }
  }

  private static void time(Console console, List<Contender> all) {
    try (Progress progress =
        new Progress(console, "bench train", (long) all.size() * (ROUNDS + 1))) {
      int done = 0;
      for (Contender contender : all) {
        contender.warmUp();
        progress.update(++done, "warm-up");
      }
      for (int round = 0; round < ROUNDS; round++) {
        for (Contender contender : all) {
          contender.turn();
          progress.update(++done, contender.name);
        }
      }
    }
  }

  private static void requireSameLoss(Contender here, Contender there, PeerCheck check) {
    double difference = Math.abs(here.warmLoss - there.warmLoss) / here.warmLoss;
    if (!(difference <= LOSS_TOLERANCE)) {
      throw new IllegalStateException(
          String.format(
              Locale.ROOT,
              "no figures, the peer trains otherwise: after %d steps %.4f bits/dim here, %.4f"
                  + " there",
              WARM_UP + 1,
              here.warmLoss,
              there.warmLoss));
    }
    check.report().put("stepsCompared", WARM_UP + 1);
    check.report().put("bitsPerDimThenOurs", here.warmLoss);
    check.report().put("bitsPerDimThenPeer", there.warmLoss);
  }

  private static void describe(
      Map<String, Object> result, Peer peer, Peer.Network network, Trainer ours, Model model) {
    result.put("model", MODEL);
    result.put("config", model.config());
    result.put("parameters", ours.averagedWeights().count());
    result.put("batch", BATCH);
    result.put("peer", peer.name());
    result.put("peerIs", network.description());
  }

  private static void report(Map<String, Object> result, List<Contender> all, Console console) {
    Contender there = all.get(1);
    List<Map<String, Object>> rows = new ArrayList<>();
    for (Contender contender : all) {
      double[] seconds = contender.seconds();
      Map<String, Object> row = new LinkedHashMap<>();
      row.put("name", contender.name);
      row.put("stepSeconds", ConvBench.median(seconds));
      row.put("fastestSeconds", Arrays.stream(seconds).min().orElseThrow());
      row.put("imagesPerSecond", BATCH / ConvBench.median(seconds));
      String text =
          String.format(
              Locale.ROOT,
              "%s: a step %.0f ms (median of %d), fastest %.0f ms",
              contender.name,
              1000 * ConvBench.median(seconds),
              seconds.length,
              1000 * (double) row.get("fastestSeconds"));
      if (contender != there) {
        double[] ratios = new double[ROUNDS];
        for (int i = 0; i < ROUNDS; i++) {
          ratios[i] =
              ConvBench.median(there.rounds.get(i)) / ConvBench.median(contender.rounds.get(i));
        }
        row.put("speedup", ConvBench.median(ratios));
        text += String.format(Locale.ROOT, ", %.2f times the peer's speed", row.get("speedup"));
        if (contender.name.endsWith("bf16")) {
          row.put("speedupIs", MIXED);
          text += " (" + MIXED + ")";
        }
      }
      row.put("rounds", contender.rounds);
      rows.add(row);
      console.say(text);
    }
    result.put("steps", rows);
  }

  /** What a comparison of bf16 with a peer's f32 is, and why it is made. */
  static final String MIXED =
      "mixed-precision gain, bf16 against f32: DJL's bf16 convolution aborts its JVM";
}
