package dev.gatun.bench;

import dev.gatun.engine.Device;
import dev.gatun.engine.io.AtomicFile;
import dev.gatun.ffi.Dnnl;
import dev.gatun.models.Models;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code gatun bench}. */
@Command(
    name = "bench",
    description = {
      "Measures speed and memory.",
      "conv: a convolution through the engine against the bare oneDNN primitive. train: a training",
      "step, and whether memory stays flat over 2,000 of them. sample: drawing 64 images.",
      "With --peer, train and sample time the same network there too, once its outputs agree."
    })
final class BenchCommand implements Callable<Integer> {
  private final Console console;

  @Spec private CommandSpec spec;

  @Parameters(paramLabel = "SUITE", description = "conv, train or sample")
  private String suite;

  @Mixin private DeviceOption device = new DeviceOption();

  @Option(
      names = "--peer",
      paramLabel = "NAME",
      description = "djl: PyTorch through DJL; only in a build with the profile peers")
  private String peer;

  @Option(names = "--json", paramLabel = "FILE", description = "the results, as a JSON object")
  private Path json;

  BenchCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    Suite chosen = peer == null ? suite() : compared(Peer.find(peer));
    try (Device opened = device.open(console)) {
      Map<String, Object> all = new LinkedHashMap<>();
      all.put("suite", suite);
      List<String> args = spec.root().commandLine().getParseResult().originalArgs();
      all.put("command", "gatun " + String.join(" ", args));
      all.put("time", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
      all.put("device", opened.name());
      all.put("machine", opened.description());
      all.put("gatun", Models.VERSION);
      all.put("java", Runtime.version().toString());
      all.put("os", System.getProperty("os.name") + " " + System.getProperty("os.version"));
      if (opened.name().equals("cpu")) {
        all.put("oneDNN", Dnnl.version());
      }
      all.put("results", chosen.run(opened, console));
      if (json != null) {
        AtomicFile.write(json, (Console.toJson(all) + "\n").getBytes(StandardCharsets.UTF_8));
        console.say("wrote " + json);
      }
      return 0;
    }
  }

  private Suite suite() {
    return switch (suite) {
      case "conv" -> ConvBench::run;
      case "train" -> TrainBench::run;
      case "sample" -> SampleBench::run;
      default ->
          throw new UsageException("unknown suite '" + suite + "': expected conv, train or sample");
    };
  }

  private Suite compared(Peer with) {
    return switch (suite) {
      case "train" -> (device, out) -> PeerTrainBench.run(with, device, out);
      case "sample" -> (device, out) -> PeerSampleBench.run(with, device, out);
      default ->
          throw new UsageException("--peer is for bench train and bench sample, not " + suite);
    };
  }

  /** Measures something, says it, and returns it for the JSON. */
  @FunctionalInterface
  interface Suite {
    Object run(Device device, Console console) throws IOException;
  }
}
