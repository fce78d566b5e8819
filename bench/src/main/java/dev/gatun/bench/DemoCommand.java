package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.data.Split;
import dev.gatun.engine.io.AtomicFile;
import dev.gatun.engine.io.FormatException;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.Sampler;
import dev.gatun.models.train.Evaluator;
import dev.gatun.models.train.RunConfig;
import dev.gatun.models.train.RunConfig.DataSummary;
import dev.gatun.models.train.RunFolder;
import dev.gatun.models.train.Trainer;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code gatun demo}. */
@Command(
    name = "demo",
    description = {
      "Trains a small model on the images Gatun carries, scores it and draws with it.",
      "9,000 images of clothes to train on, 1,000 others to score. Writes samples.png, loss.png,",
      "metrics.json and the run folder run/."
    })
final class DemoCommand implements Callable<Integer> {
  private static final String MODEL = "gated-pixelcnn";
  private static final int SAMPLES = 64;
  private static final int INTERRUPTED = 130;

  private final Console console;

  @Option(
      names = "--out",
      paramLabel = "DIR",
      description = "where to write (default: ${DEFAULT-VALUE})")
  private Path out = Path.of("gatun-demo");

  @Option(
      names = "--seconds",
      paramLabel = "N",
      description = "how long to train (default: ${DEFAULT-VALUE})")
  private double seconds = 80;

  @Mixin private DeviceOption device = new DeviceOption();

  @Option(names = "--seed", paramLabel = "S", description = "(default: ${DEFAULT-VALUE})")
  private long seed;

  DemoCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    if (!(seconds > 0)) {
      throw new UsageException("--seconds " + seconds + ": must be positive");
    }
    long start = System.nanoTime();
    try (Device opened = device.open(console)) {
      Path files = DemoData.unpack(out.resolve("data"));
      DType type = opened.preferredDType();
      Dataset images = DataSource.open(files, Split.TRAIN, DataSource.SPLIT_SEED);
      Dataset heldOut = DataSource.open(files, Split.TEST, DataSource.SPLIT_SEED);
      RunFolder folder = start(files, images, type);
      TrainingLoop.Result trained = train(opened, folder, images);
      if (trained.interrupted()) {
        return INTERRUPTED;
      }
      try (RunFolder.Checkpoint checkpoint = folder.checkpoint(opened)) {
        Evaluator.Score score = score(opened, folder, checkpoint, heldOut);
        draw(opened, folder, checkpoint);
        LossChart.write(
            out.resolve("loss.png"),
            MODEL + " on Fashion-MNIST",
            folder.metrics(),
            score.bitsPerDim());
        write(opened, folder, checkpoint, trained, score, (System.nanoTime() - start) / 1e9);
      }
      return 0;
    }
  }

  private RunFolder start(Path files, Dataset images, DType type) throws IOException {
    Path run = out.resolve("run");
    replaceEarlierDemo(run, files);
    Models.Setup setup =
        Models.setup(
            MODEL,
            Preset.SMALL,
            new ImageShape(images.height(), images.width(), images.channels()),
            type,
            seed,
            Map.of());
    DataSummary data = DataSummary.of(files, images, DataSource.SPLIT_SEED);
    return RunFolder.create(
        run, new RunConfig(Models.VERSION, Preset.SMALL, setup.model(), setup.training(), data));
  }

  /** A demo may be run again; a run that somebody else put there stays. */
  private void replaceEarlierDemo(Path run, Path files) throws IOException {
    if (!RunFolder.isRun(run)) {
      return;
    }
    RunFolder earlier = RunFolder.open(run);
    if (!earlier.config().data().path().equals(files.toString())) {
      throw new FormatException(run, "holds a run that is no demo's", "give another --out");
    }
    console.say("replacing the earlier demo in " + out);
    earlier.clear();
  }

  private TrainingLoop.Result train(Device opened, RunFolder folder, Dataset images)
      throws IOException {
    try (Interrupts interrupts = new Interrupts();
        Trainer trainer = new Trainer(opened, folder.model(), folder.config().training(), images)) {
      TrainingLoop.Result result =
          new TrainingLoop(trainer, folder, interrupts)
              .run(new TrainingLoop.Goal(0, seconds), console);
      if (result.interrupted()) {
        console.say(
            "stopped at step "
                + result.steps()
                + ", checkpoint in "
                + folder.folder()
                + ": 'gatun sample' and 'gatun eval' can use it");
      }
      return result;
    }
  }

  private Evaluator.Score score(
      Device opened, RunFolder folder, RunFolder.Checkpoint checkpoint, Dataset heldOut) {
    try (Evaluator evaluator =
            new Evaluator(
                opened, folder.model(), checkpoint.weights(), folder.config().training().dtype());
        Progress progress = new Progress(console, "score", heldOut.count())) {
      Evaluator.Score score =
          evaluator.score(
              heldOut, heldOut.count(), done -> progress.update(done, done + " images"));
      Scorer.requireFinite(score.bitsPerDim());
      return score;
    }
  }

  private void draw(Device opened, RunFolder folder, RunFolder.Checkpoint checkpoint)
      throws IOException {
    byte[] images =
        DrawOptions.draw(
            console,
            opened,
            folder.model(),
            checkpoint,
            folder.config().training().dtype(),
            Models.samplers(folder.model()).getFirst(),
            new Sampler.Request(SAMPLES, seed, 1));
    ImageFiles.grid(out.resolve("samples.png"), images, SAMPLES, folder.model().imageShape());
    Files.copy(
        out.resolve("samples.png"),
        folder.samples().resolve(String.format("step-%06d.png", checkpoint.steps())),
        StandardCopyOption.REPLACE_EXISTING);
  }

  private void write(
      Device opened,
      RunFolder folder,
      RunFolder.Checkpoint checkpoint,
      TrainingLoop.Result trained,
      Evaluator.Score score,
      double total)
      throws IOException {
    Map<String, Object> all = new LinkedHashMap<>();
    all.put("model", MODEL);
    all.putAll(Scorer.fields(score));
    all.put("parameters", checkpoint.weights().count());
    all.put("device", opened.name());
    all.put("dtype", folder.config().training().dtype().label());
    all.put("seed", seed);
    all.put("trainSteps", trained.steps());
    all.put("trainBitsPerDim", trained.loss());
    all.put("trainSeconds", trained.seconds());
    all.put("trainImagesPerSecond", trained.imagesPerSecond());
    all.put("totalSeconds", total);
    all.put("gatun", Models.VERSION);
    AtomicFile.write(
        out.resolve("metrics.json"), (Console.toJson(all) + "\n").getBytes(StandardCharsets.UTF_8));
    console.say(
        String.format(
            Locale.ROOT,
            "%d steps, %.3f bits/dim on %d held-out images, %.0f s in all; wrote samples.png,"
                + " loss.png, metrics.json and run/ to %s",
            trained.steps(),
            score.bitsPerDim(),
            score.images(),
            total,
            out));
  }
}
