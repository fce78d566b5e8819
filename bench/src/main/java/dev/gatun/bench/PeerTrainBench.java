package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.pixelcnn.GatedPixelCnn;
import dev.gatun.models.train.Trainer;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
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
    PeerCheck check = PixelCnnResults.check(f32.model(), BATCH);
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
        check.outputs(
            "a pixel's loss",
            "nats",
            PixelCnnResults.nats(device, f32.model(), weights, images),
            network.nats(images, BATCH));
        check.gradients(
            PixelCnnResults.gradients(device, f32.model(), weights, images),
            network.gradients(images, BATCH),
            Map.of());
        ours.step();
        network.step(images, BATCH);
        check.firstStep(
            ours.averagedWeights(),
            network.averagedWeights(),
            PeerExport.adam(f32.training()).rate(1));
        console.say("the same outputs, gradients and first step: " + check.report());
        Turns turns = new Turns("a step", BATCH, WARM_UP, ROUNDS, 1, STEPS - 1);
        double[] bits = new double[2]; // ours and the peer's
        turns.add("ours f32", () -> bits[0] = ours.step());
        Turns.Contender there =
            turns.add("peer f32", () -> bits[1] = network.step(images, BATCH) / Math.log(2));
        if (mixed) {
          turns.add("ours bf16", oursMixed::step);
        }
        turns.run(
            console,
            "bench train",
            () -> check.sameLoss("bits/dim", WARM_UP + 1, bits[0], bits[1]));
        describe(result, peer, network, ours, f32.model());
        result.put("agreement", check.report());
        result.put("steps", turns.report(there, "stepSeconds", console));
      }
    }
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

  private static void describe(
      Map<String, Object> result, Peer peer, Peer.Network network, Trainer ours, Model model) {
    result.put("model", MODEL);
    result.put("config", model.config());
    result.put("parameters", ours.averagedWeights().count());
    result.put("batch", BATCH);
    result.put("peer", peer.name());
    result.put("peerIs", network.description());
  }
}
