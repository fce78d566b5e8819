package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Shape;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.data.Split;
import dev.gatun.engine.io.Npy;
import dev.gatun.models.EncodingModel;
import dev.gatun.models.features.Encodings;
import dev.gatun.models.metrics.Features;
import dev.gatun.models.train.RunConfig;
import dev.gatun.models.train.RunFolder;
import dev.gatun.models.train.Trainer;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code gatun encode}. */
@Command(
    name = "encode",
    description = "Writes the features that a trained encoder has of images.",
    footer = {
      "",
      "A row for each image, in the order of the dataset, as a NumPy array of 32-bit",
      "floats."
    })
final class EncodeCommand implements Callable<Integer> {
  private final Console console;

  @Parameters(paramLabel = "RUN", description = "a run folder")
  private Path run;

  @Option(names = "--data", required = true, paramLabel = "PATH", description = "the dataset")
  private Path data;

  @Option(names = "--out", required = true, paramLabel = "FILE", description = "an array (.npy)")
  private Path out;

  @Option(names = "--split", paramLabel = "S", description = "train or test (default: test)")
  private String split = "test";

  @Option(names = "--limit", paramLabel = "N", description = "only the first N images")
  private Integer limit;

  @Mixin private DeviceOption device = new DeviceOption();

  EncodeCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    if (!String.valueOf(out.getFileName()).endsWith(".npy")) {
      throw new UsageException("--out " + out + ": expected a name that ends in .npy");
    }
    Split part = DataSource.split(split);
    if (limit != null && limit <= 0) {
      throw new UsageException("--limit " + limit + ": must be positive");
    }
    RunFolder folder = RunFolder.open(run);
    EncodingModel model = UsageException.ifRefused(() -> EncodingModel.of(folder.model()));
    RunConfig config = folder.config();
    Dataset whole = DataSource.open(data, part, config.data().splitSeed());
    Dataset images =
        limit == null || limit >= whole.count()
            ? whole
            : whole.subset(IntStream.range(0, limit).toArray());
    UsageException.ifRefused(() -> {
      Trainer.requireFits(model, images);
      return null;
    });
    try (Device opened = device.open(console)) {
      DType type = DeviceOption.dtype(console, opened, config.training().dtype());
      Features features;
      try (RunFolder.Checkpoint checkpoint = folder.checkpoint(opened);
          Encodings encodings = new Encodings(opened, model, checkpoint.weights(), type);
          Progress progress = new Progress(console, "encode", images.count())) {
        features =
            UsageException.ifRefused(
                () -> encodings.of(images, done -> progress.update(done, done + " images")));
      }
      Npy.write(
          out,
          Shape.of(features.count(), features.size()),
          DType.F32,
          MemorySegment.ofArray(features.values()));
      console.say("wrote " + features + " of the " + split + " split to " + out);
      return 0;
    }
  }
}
