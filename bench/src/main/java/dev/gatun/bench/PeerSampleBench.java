package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Graph;
import dev.gatun.engine.Program;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.Value;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.Models;
import dev.gatun.models.pixelcnn.GatedPixelCnn;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * Full forward passes over 64 images here and in a peer, in turns: a sampler without a cache needs
 * one a pixel.
 */
final class PeerSampleBench {
  /** Images of a forward pass. */
  static final int COUNT = 64;

  private static final int FORWARDS = 5;
  private static final int WARM_UP = 3;

  private PeerSampleBench() {}

  static Map<String, Object> run(Peer peer, Device device, Console console) throws IOException {
    PeerTrainBench.requireCpu(device);
    Dataset data = TrainBench.data();
    byte[] images = data.images(IntStream.range(0, COUNT).toArray());
    ImageShape shape = new ImageShape(data.height(), data.width(), data.channels());
    Models.Setup setup = PeerTrainBench.setup(shape, DType.F32);
    Map<String, Object> result = new LinkedHashMap<>();
    PeerCheck check = PixelCnnResults.check(setup.model(), COUNT);
    try (Parameters weights = new Parameters(device, setup.model().parameters())) {
      weights.initialize(0);
      try (Peer.Network network = PeerTrainBench.open(peer, setup, weights);
          Forward f32 = new Forward(device, setup.model().config(), weights, DType.F32, images);
          Forward bf16 =
              device.preferredDType() == DType.BF16
                  ? new Forward(device, setup.model().config(), weights, DType.BF16, images)
                  : null) {
        console.say("peer " + peer.name() + ": " + network.description());
        check.outputs(
            "a pixel's loss",
            "nats",
            PixelCnnResults.nats(device, setup.model(), weights, images),
            network.nats(images, COUNT));
        console.say("the same outputs: " + check.report());
        Turns turns = new Turns("a forward pass", COUNT, WARM_UP, FORWARDS, 0, 1);
        turns.add("ours f32", f32::run);
        Turns.Contender there = turns.add("peer f32", () -> network.forward(images, COUNT));
        if (bf16 != null) {
          turns.add("ours bf16", bf16::run);
        }
        turns.run(console, "bench sample", () -> {});
        result.put("model", setup.model().name());
        result.put("config", setup.model().config());
        result.put("images", COUNT);
        result.put("peer", peer.name());
        result.put("peerIs", network.description());
        result.put("agreement", check.report());
        result.put(
            "forwards",
            extrapolated(turns.report(there, "forwardSeconds", console), shape.dimensions()));
      }
    }
    return result;
  }

  /** What drawing an image takes that needs a pass for each of its pixels. */
  private static List<Map<String, Object>> extrapolated(
      List<Map<String, Object>> rows, int pixels) {
    for (Map<String, Object> row : rows) {
      row.put("sampleSeconds", pixels * (double) row.get("forwardSeconds"));
      row.put("sampleSecondsAre", "extrapolated from " + FORWARDS + " forwards");
    }
    return rows;
  }

  /** All logits of a batch. */
  private static final class Forward implements AutoCloseable {
    private final Tensor batch;
    private final Program program;

    Forward(Device device, Record config, Parameters weights, DType type, byte[] images) {
      GatedPixelCnn model = new GatedPixelCnn((GatedPixelCnn.Config) config);
      ImageShape shape = model.imageShape();
      batch =
          Tensor.allocate(device, DType.U8, COUNT, shape.height(), shape.width(), shape.channels());
      try {
        batch.write(images);
        Graph graph = new Graph();
        Value logits =
            model.parameters(
                graph,
                n -> graph.bind(weights.get(n)),
                new Model.Input(graph.bind(batch), null, type, null));
        program = graph.compile(device, logits);
      } catch (RuntimeException | Error e) {
        batch.close();
        throw e;
      }
    }

    void run() {
      program.run();
    }

    @Override
    public void close() {
      program.close();
      batch.close();
    }
  }
}
