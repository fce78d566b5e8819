package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.train.Trainer;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * Training steps of a variational autoencoder here and in a peer, in turns on the same images and
 * the same noise, once both have been seen to compute the same.
 */
final class PeerVaeBench {
  private static final int WARM_UP = 20;
  private static final int ROUNDS = Integer.getInteger("gatun.bench.rounds", 15);

  /** Steps a turn; the first of them pays for what the turn before left in the caches. */
  private static final int STEPS = 4;

  private PeerVaeBench() {}

  static Map<String, Object> train(Peer peer, Device device, Console console) throws IOException {
    PeerTrainBench.requireCpu(device);
    Dataset data = data();
    PeerCheck check = VaeSetup.check();
    boolean mixed = device.preferredDType() == DType.BF16;
    try (Parameters weights = VaeSetup.weights(device);
        Peer.Autoencoder network = peer.open(VaeSetup.CONFIG, VaeSetup.TRAINING, weights);
        Trainer ours = trainer(device, weights, data, DType.F32);
        Trainer oursMixed = mixed ? trainer(device, weights, data, DType.BF16) : null) {
      console.say("peer " + peer.name() + ": " + network.description());
      requireSame(check, device, weights, VaeResults.batch(device, data, 0), ours, network);
      console.say("the same outputs, loss, gradients and first step: " + check.report());
      Turns turns = new Turns("a step", VaeSetup.BATCH, WARM_UP, ROUNDS, 1, STEPS - 1);
      double[] loss = new double[2]; // ours and the peer's
      turns.add("ours f32", () -> loss[0] = ours.step());
      // what a step is made of is drawn before it is timed: in the peer's favour
      List<Peer.Seen> batches = new ArrayList<>();
      for (int i = 0; i < WARM_UP + ROUNDS * STEPS; i++) {
        batches.add(VaeResults.batch(device, data, i + 1));
      }
      Turns.Contender there =
          turns.add(
              "peer f32",
              () -> loss[1] = VaeSetup.MODEL.reported(network.step(batches.removeFirst())));
      if (mixed) {
        turns.add("ours bf16", oursMixed::step);
      }
      turns.run(
          console, "bench train", () -> check.sameLoss("bits/dim", WARM_UP + 1, loss[0], loss[1]));
      Map<String, Object> result = new LinkedHashMap<>();
      result.put("model", "vae");
      result.put("config", VaeSetup.CONFIG);
      result.put("parameters", weights.count());
      result.put("batch", VaeSetup.BATCH);
      result.put("peer", peer.name());
      result.put("peerIs", network.description());
      result.put("agreement", check.report());
      result.put("steps", turns.report(there, "stepSeconds", console));
      return result;
    }
  }

  /** As many images as a batch: every step sees them all. */
  static Dataset data() throws IOException {
    return TrainBench.data().subset(IntStream.range(0, VaeSetup.BATCH).toArray());
  }

  /** In {@code type}, from these weights. */
  static Trainer trainer(Device device, Parameters weights, Dataset data, DType type) {
    Trainer trainer = new Trainer(device, VaeSetup.MODEL, VaeSetup.TRAINING.withDType(type), data);
    trainer.startFrom(weights);
    return trainer;
  }

  /**
   * Holds a peer to what Gatun computes, and has both take their first step.
   *
   * @param weights that both start from
   * @param first what the first step sees
   * @throws IllegalStateException if the peer computes something else
   */
  static void requireSame(
      PeerCheck check,
      Device device,
      Parameters weights,
      Peer.Seen first,
      Trainer ours,
      Peer.Autoencoder network) {
    check.outputs(
        "a pixel's mean or log-scale",
        "outputs",
        VaeResults.predict(device, weights, first.images()),
        network.predict(new Peer.Seen(first.images(), new float[first.eps().length])));
    check.gradients(
        VaeResults.gradients(device, weights, first.images(), 0),
        network.gradients(first),
        Map.of());
    float here = (float) ours.step();
    float there = (float) VaeSetup.MODEL.reported(network.step(first));
    check.outputs("the loss", "loss", new float[] {here}, new float[] {there});
    check.firstStep(
        ours.averagedWeights(),
        network.averagedWeights(),
        PeerExport.adam(VaeSetup.TRAINING).rate(1));
  }
}
