package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Philox;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.op.DenoiseStep.Thresholding;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.diffusion.DenoisingSampler;
import dev.gatun.models.diffusion.SamplerSteps;
import dev.gatun.models.diffusion.UNet;
import dev.gatun.models.train.Trainer;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * A denoising U-Net here and in a peer, in turns, once both have been seen to compute the same:
 * training steps on the same noisy images, and images drawn from the same noise.
 */
final class PeerUNetBench {
  private static final int TRAIN_WARM_UP = 6;
  private static final int TRAIN_ROUNDS = Integer.getInteger("gatun.bench.rounds", 8);
  private static final int SAMPLE_ROUNDS = Integer.getInteger("gatun.bench.rounds", 3);

  /** Steps a turn; the first of them pays for what the turn before left in the caches. */
  private static final int STEPS = 3;

  private static final int SAMPLE_SEED = 7;

  /** Of a pixel's 256: where two roundings part a value that is half way between two of them. */
  private static final int LEVELS = 1;

  private static final UNetResults RESULTS = new UNetResults(UNetSetup.MODEL);

  private PeerUNetBench() {}

  static Map<String, Object> train(Peer peer, Device device, Console console) throws IOException {
    PeerTrainBench.requireCpu(device);
    // as many images as a batch: every step sees them all
    Dataset data = TrainBench.data().subset(IntStream.range(0, UNetSetup.BATCH).toArray());
    PeerCheck check = UNetSetup.check();
    boolean mixed = device.preferredDType() == DType.BF16;
    try (Parameters weights = UNetSetup.weights(device);
        Peer.Denoiser network = peer.open(UNetSetup.CONFIG, UNetSetup.TRAINING, weights);
        Trainer ours = trainer(device, weights, data, DType.F32);
        Trainer oursMixed = mixed ? trainer(device, weights, data, DType.BF16) : null) {
      console.say("peer " + peer.name() + ": " + network.description());
      Peer.Noisy first = RESULTS.noisy(device, data, 0);
      check.outputs(
          "a pixel's noise",
          "outputs",
          RESULTS.predict(device, weights, first, DType.F32),
          network.predict(first.x(), first.times()));
      check.gradients(
          RESULTS.gradients(device, weights, first),
          network.gradients(first),
          UNetSetup.vanishing(weights));
      ours.step();
      network.step(first);
      check.firstStep(
          ours.averagedWeights(),
          network.averagedWeights(),
          PeerExport.adam(UNetSetup.TRAINING).rate(1));
      console.say("the same outputs, gradients and first step: " + check.report());
      Turns turns = new Turns("a step", UNetSetup.BATCH, TRAIN_WARM_UP, TRAIN_ROUNDS, 1, STEPS - 1);
      double[] loss = new double[2]; // ours and the peer's
      turns.add("ours f32", () -> loss[0] = ours.step());
      // what a step is made of is drawn before it is timed: in the peer's favour
      List<Peer.Noisy> batches = new ArrayList<>();
      for (int i = 0; i < TRAIN_WARM_UP + TRAIN_ROUNDS * STEPS; i++) {
        batches.add(RESULTS.noisy(device, data, i + 1));
      }
      Turns.Contender there =
          turns.add("peer f32", () -> loss[1] = network.step(batches.removeFirst()));
      if (mixed) {
        turns.add("ours bf16", oursMixed::step);
      }
      turns.run(
          console,
          "bench train",
          () -> check.sameLoss("squared error", TRAIN_WARM_UP + 1, loss[0], loss[1]));
      Map<String, Object> result = describe(peer, network, weights);
      result.put("agreement", check.report());
      result.put("steps", turns.report(there, "stepSeconds", console));
      return result;
    }
  }

  private static Trainer trainer(Device device, Parameters weights, Dataset data, DType type) {
    Trainer trainer =
        new Trainer(device, UNetSetup.MODEL, UNetSetup.TRAINING.withDType(type), data);
    trainer.startFrom(weights);
    return trainer;
  }

  static Map<String, Object> sample(Peer peer, Device device, Console console) {
    PeerTrainBench.requireCpu(device);
    PeerCheck check = UNetSetup.check();
    boolean mixed = device.preferredDType() == DType.BF16;
    SamplerSteps steps = SamplerSteps.ddim(UNetSetup.MODEL.path(UNetSetup.SAMPLER_STEPS), 0);
    try (Parameters weights = UNetSetup.weights(device);
        Peer.Denoiser network = peer.open(UNetSetup.CONFIG, UNetSetup.TRAINING, weights);
        DenoisingSampler ours = sampler(device, weights, steps, DType.F32);
        DenoisingSampler oursMixed = mixed ? sampler(device, weights, steps, DType.BF16) : null) {
      console.say("peer " + peer.name() + ": " + network.description());
      float[] noise = noise();
      // these are the warm-up, too
      requireSameImages(check, draw(ours), levels(network.sample(noise, steps.table())));
      console.say("the same images: " + check.report());
      Turns turns = new Turns(UNetSetup.BATCH + " images", UNetSetup.BATCH, 0, SAMPLE_ROUNDS, 0, 1);
      turns.add("ours f32", () -> draw(ours));
      Turns.Contender there = turns.add("peer f32", () -> network.sample(noise, steps.table()));
      if (mixed) {
        draw(oursMixed);
        turns.add("ours bf16", () -> draw(oursMixed));
      }
      turns.run(console, "bench sample", () -> {});
      Map<String, Object> result = describe(peer, network, weights);
      result.put("sampler", "ddim, " + UNetSetup.SAMPLER_STEPS + " steps");
      result.put("agreement", check.report());
      result.put("samples", turns.report(there, "sampleSeconds", console));
      return result;
    }
  }

  private static Map<String, Object> describe(
      Peer peer, Peer.Denoiser network, Parameters weights) {
    Map<String, Object> result = new LinkedHashMap<>();
    result.put("model", "unet");
    result.put("config", UNetSetup.CONFIG);
    result.put("parameters", weights.count());
    result.put("batch", UNetSetup.BATCH);
    result.put("peer", peer.name());
    result.put("peerIs", network.description());
    return result;
  }

  private static DenoisingSampler sampler(
      Device device, Parameters weights, SamplerSteps steps, DType type) {
    DenoisingSampler.Settings settings =
        new DenoisingSampler.Settings("ddim", steps, 1, Thresholding.STATIC);
    return new DenoisingSampler(device, UNetSetup.MODEL, weights, settings, type, UNetSetup.BATCH);
  }

  private static byte[] draw(DenoisingSampler sampler) {
    return sampler.sample(UNetSetup.BATCH, SAMPLE_SEED, 1, done -> {});
  }

  /** What the sampler's first row draws. */
  private static float[] noise() {
    UNet.Config c = UNetSetup.CONFIG;
    int size = c.height() * c.width() * c.channels();
    Philox philox = new Philox(SAMPLE_SEED);
    float[] noise = new float[UNetSetup.BATCH * size];
    for (int i = 0; i < noise.length; i++) {
      noise[i] = (float) philox.normal(Philox.Stream.SAMPLER, i / size, i % size);
    }
    return noise;
  }

  /** The nearest of the 256 levels between -1 and 1. */
  private static byte[] levels(float[] values) {
    byte[] levels = new byte[values.length];
    for (int i = 0; i < levels.length; i++) {
      levels[i] = (byte) Math.clamp(Math.round((values[i] + 1) * 127.5), 0, 255);
    }
    return levels;
  }

  private static void requireSameImages(PeerCheck check, byte[] ours, byte[] theirs) {
    int differ = 0;
    int grey = 0;
    for (int i = 0; i < ours.length; i++) {
      int here = Byte.toUnsignedInt(ours[i]);
      int there = Byte.toUnsignedInt(theirs[i]);
      if (Math.abs(here - there) > LEVELS) {
        throw new IllegalStateException(
            String.format(
                Locale.ROOT,
                "not timed, the peer draws something else: pixel %d is %d here, %d there",
                i,
                here,
                there));
      }
      differ += here != there ? 1 : 0;
      grey += here > 0 && here < 255 ? 1 : 0;
    }
    check.report().put("pixels", ours.length);
    check.report().put("pixelsThatDifferByALevel", differ);
    check.report().put("pixelsNeitherBlackNorWhite", grey);
  }
}
