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
      "With --peer djl, train and sample time the same network there too, once its outputs agree:",
      "--model gated-pixelcnn, unet, which draws in 50 steps of DDIM, or vae, of which train only.",
      "gpu: what the machine can do at best, single operations, training steps and sampling, with",
      "--peer pytorch in turns with PyTorch in a Python process; for any device, within minutes."
    })
final class BenchCommand implements Callable<Integer> {
  /** The networks that a peer of the CPU has. */
  private static final List<String> COMPARED = List.of("gated-pixelcnn", "unet", "vae");

  private final Console console;

  @Spec private CommandSpec spec;

  @Parameters(paramLabel = "SUITE", description = "conv, train, sample or gpu")
  private String suite;

  @Mixin private DeviceOption device = new DeviceOption();

  @Option(
      names = "--peer",
      paramLabel = "NAME",
      description = {
        "djl: PyTorch through DJL; only in a build with the profile peers",
        "pytorch: PyTorch in Python, for the suite gpu"
      })
  private String peer;

  @Option(
      names = "--model",
      paramLabel = "MODEL",
      description =
          "of a comparison with djl: gated-pixelcnn, unet or vae (default: gated-pixelcnn)")
  private String model;

  @Option(
      names = "--python",
      paramLabel = "P",
      description = "gpu: the Python that has PyTorch (default: python3)")
  private String python;

  @Option(
      names = "--minutes",
      paramLabel = "M",
      description = "gpu: when to stop adding rounds (default: 9)")
  private Double minutes;

  @Option(
      names = "--only",
      paramLabel = "TEXT",
      description = "gpu: the rows with this in their name, as 'training: step of 32'")
  private String only;

  @Option(names = "--quick", description = "gpu: tiny networks, to see that all of it works")
  private boolean quick;

  @Option(names = "--json", paramLabel = "FILE", description = "the results, as a JSON object")
  private Path json;

  BenchCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    Suite chosen = chosen();
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

  private Suite chosen() {
    if (suite.equals("gpu")) {
      return gpu();
    }
    if (python != null || minutes != null || only != null || quick) {
      throw new UsageException(
          "--python, --minutes, --only and --quick are for bench gpu, not " + suite);
    }
    if (peer == null) {
      if (model != null) {
        throw new UsageException("--model is for --peer djl");
      }
      return suite();
    }
    return compared(Peer.find(peer));
  }

  private Suite gpu() {
    if (model != null) {
      throw new UsageException("--model is for --peer djl");
    }
    if (peer != null && !peer.equals("pytorch")) {
      throw new UsageException("bench gpu: --peer must be pytorch, not '" + peer + "'");
    }
    if (peer == null && python != null) {
      throw new UsageException("--python is for --peer pytorch");
    }
    double limit = minutes == null ? 9 : minutes;
    if (!(limit > 0 && limit <= 24 * 60)) {
      throw new UsageException("--minutes must be above 0 and at most 1440, not " + minutes);
    }
    String interpreter = peer == null ? null : python == null ? "python3" : python;
    GpuBench.Options options = new GpuBench.Options(interpreter, limit, quick, only);
    return (opened, out) -> GpuBench.run(options, opened, out);
  }

  private Suite suite() {
    return switch (suite) {
      case "conv" -> ConvBench::run;
      case "train" -> TrainBench::run;
      case "sample" -> SampleBench::run;
      default ->
          throw new UsageException(
              "unknown suite '" + suite + "': expected conv, train, sample or gpu");
    };
  }

  private Suite compared(Peer with) {
    String network = model == null ? "gated-pixelcnn" : model;
    if (!COMPARED.contains(network)) {
      throw new UsageException(
          "unknown model '"
              + model
              + "' to compare: expected "
              + String.join(", ", COMPARED.subList(0, COMPARED.size() - 1))
              + " or "
              + COMPARED.getLast());
    }
    return switch (suite) {
      case "train" ->
          switch (network) {
            case "unet" -> (opened, out) -> PeerUNetBench.train(with, opened, out);
            case "vae" -> (opened, out) -> PeerVaeBench.train(with, opened, out);
            default -> (opened, out) -> PeerTrainBench.run(with, opened, out);
          };
      case "sample" ->
          switch (network) {
            case "unet" -> (opened, out) -> PeerUNetBench.sample(with, opened, out);
            case "vae" ->
                throw new UsageException(
                    "--model vae is for bench train: its decoder draws an image in one pass");
            default -> (opened, out) -> PeerSampleBench.run(with, opened, out);
          };
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
