package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.models.Model;
import dev.gatun.models.Models;
import dev.gatun.models.pixelcnn.Sampler;
import dev.gatun.models.train.RunFolder;
import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code gatun sample}. */
@Command(name = "sample", description = "Draws images from a trained model.")
final class SampleCommand implements Callable<Integer> {
  private final Console console;

  @Parameters(paramLabel = "RUN", description = "a run folder")
  private Path run;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE",
      description = "a grid (.png), or an array [N,H,W,C] u8 (.npy)")
  private Path out;

  @Option(names = "--count", paramLabel = "N", description = "images (default: 64)")
  private int count = 64;

  @Option(names = "--seed", paramLabel = "S", description = "of the draws (default: 0)")
  private long seed;

  @Option(names = "--class", paramLabel = "K", description = "for class-conditional models")
  private Integer label;

  @Option(
      names = "--temperature",
      paramLabel = "T",
      description = "below 1 is tamer, above 1 wilder (default: 1)")
  private double temperature = 1;

  @Option(names = "--sampler", paramLabel = "NAME", description = "rows (default) or full")
  private String sampler;

  @Mixin private DeviceOption device = new DeviceOption();

  SampleCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    ImageFiles.requireSuffix(out, true);
    if (count <= 0) {
      throw new UsageException("--count " + count + ": must be positive");
    }
    if (!(temperature > 0 && Double.isFinite(temperature))) {
      throw new UsageException("--temperature " + temperature + ": must be positive");
    }
    RunFolder folder = RunFolder.open(run);
    Model model = folder.model();
    if (label != null) {
      throw new UsageException(
          "--class "
              + label
              + ": the model in "
              + run
              + " was trained without classes;"
              + " leave the option out");
    }
    String name = sampler == null ? Models.samplers(model).getFirst() : sampler;
    if (!Models.samplers(model).contains(name)) {
      throw new UsageException(
          "--sampler "
              + name
              + ": "
              + model.name()
              + " has "
              + String.join(", ", Models.samplers(model)));
    }
    try (Device opened = device.open(console)) {
      DType type = DeviceOption.dtype(console, opened, folder.config().training().dtype());
      try (RunFolder.Checkpoint checkpoint = folder.checkpoint(opened)) {
        byte[] images =
            draw(console, opened, model, checkpoint, type, name, count, seed, temperature);
        if (out.toString().endsWith(".npy")) {
          ImageFiles.npy(out, images, count, model.imageShape());
        } else {
          ImageFiles.grid(out, images, count, model.imageShape());
        }
      }
    }
    console.say("wrote " + count + " images to " + out);
    return 0;
  }

  /** Draws images, with a progress bar. */
  static byte[] draw(
      Console console,
      Device device,
      Model model,
      RunFolder.Checkpoint checkpoint,
      DType type,
      String name,
      int count,
      long seed,
      double temperature) {
    int perBatch = model.imageShape().height();
    // a sampler counts rows of its batches of 64
    int total = (count + 63) / 64 * perBatch;
    try (Sampler sampler = Models.sampler(name, device, model, checkpoint.weights(), type);
        Progress progress = new Progress(console, "sample", total)) {
      return sampler.sample(count, seed, temperature, done -> progress.update(done, ""));
    }
  }
}
