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
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
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
    PeerCheck check = new PeerCheck(setup.model(), COUNT);
    try (Parameters weights = new Parameters(device, setup.model().parameters())) {
      weights.initialize(0);
      try (Peer.Network network = PeerTrainBench.open(peer, setup, weights);
          Forward f32 = new Forward(device, setup.model().config(), weights, DType.F32, images);
          Forward bf16 =
              device.preferredDType() == DType.BF16
                  ? new Forward(device, setup.model().config(), weights, DType.BF16, images)
                  : null) {
        console.say("peer " + peer.name() + ": " + network.description());
        check.nats(device, weights, network, images);
        console.say("the same outputs: " + check.report());
        Map<String, Runnable> all = new LinkedHashMap<>();
        all.put("ours f32", f32::run);
        all.put("peer f32", () -> network.forward(images, COUNT));
        if (bf16 != null) {
          all.put("ours bf16", bf16::run);
        }
        result.put("model", setup.model().name());
        result.put("config", setup.model().config());
        result.put("images", COUNT);
        result.put("peer", peer.name());
        result.put("peerIs", network.description());
        result.put("agreement", check.report());
        result.put("forwards", time(all, shape.dimensions(), console));
      }
    }
    return result;
  }

  private static List<Map<String, Object>> time(
      Map<String, Runnable> all, int pixels, Console console) {
    Map<String, double[]> seconds = new LinkedHashMap<>();
    for (int i = -WARM_UP; i < FORWARDS; i++) {
      for (Map.Entry<String, Runnable> one : all.entrySet()) {
        long start = System.nanoTime();
        one.getValue().run();
        if (i >= 0) {
          seconds.computeIfAbsent(one.getKey(), k -> new double[FORWARDS])[i] =
              (System.nanoTime() - start) / 1e9;
        }
      }
    }
    double[] theirs = seconds.get("peer f32");
    List<Map<String, Object>> rows = new ArrayList<>();
    seconds.forEach((name, each) -> {
      double median = ConvBench.median(each);
      Map<String, Object> row = new LinkedHashMap<>();
      row.put("name", name);
      row.put("forwardSeconds", median);
      row.put("fastestSeconds", Arrays.stream(each).min().orElseThrow());
      row.put("sampleSeconds", pixels * median);
      row.put("sampleSecondsAre", "extrapolated from " + FORWARDS + " forwards");
      String text =
          String.format(
              Locale.ROOT,
              "%s: a forward pass %.0f ms; %d of them, %.0f s (extrapolated from %d forwards)",
              name,
              1000 * median,
              pixels,
              pixels * median,
              FORWARDS);
      if (each != theirs) {
        double[] ratios = new double[FORWARDS];
        Arrays.setAll(ratios, i -> theirs[i] / each[i]);
        row.put("speedup", ConvBench.median(ratios));
        text += String.format(Locale.ROOT, ", %.2f times the peer's speed", row.get("speedup"));
        if (name.endsWith("bf16")) {
          row.put("speedupIs", PeerTrainBench.MIXED);
          text += " (" + PeerTrainBench.MIXED + ")";
        }
      }
      row.put("seconds", each);
      rows.add(row);
      console.say(text);
    });
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
