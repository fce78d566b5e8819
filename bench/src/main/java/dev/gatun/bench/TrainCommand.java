package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.data.Split;
import dev.gatun.models.Model;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.train.RunConfig;
import dev.gatun.models.train.RunConfig.DataSummary;
import dev.gatun.models.train.RunFolder;
import dev.gatun.models.train.TrainConfig;
import dev.gatun.models.train.Trainer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code gatun train}. */
@Command(
    name = "train",
    description = "Trains a model on a dataset, into a run folder.",
    footer = {
      "",
      "A run folder holds config.json, model.safetensors, state, metrics.jsonl and samples/.",
      "With --resume, --steps counts from the run's beginning, --seconds from now; --lr, --batch,",
      "--dtype and --set change how it is trained from here on."
    })
final class TrainCommand implements Callable<Integer> {
  private static final int INTERRUPTED = 130;

  private final Console console;

  @Parameters(
      paramLabel = "MODEL",
      description = {
        "pixelcnn, gated-pixelcnn, pixelcnn++, ddpm, edm, autoencoder, vae, iwae,",
        "vampprior-vae, gmm-vae, iaf-vae, categorical-vae or vq-vae"
      })
  private String model;

  @Option(
      names = "--data",
      required = true,
      paramLabel = "PATH",
      description = {
        "the dataset, or points of a density of the plane: eight-gaussians, two-moons,",
        "pinwheel or checkerboard"
      })
  private Path data;

  @Option(names = "--out", required = true, paramLabel = "RUN", description = "the run folder")
  private Path out;

  @Option(
      names = "--preset",
      paramLabel = "P",
      description = "tiny, small or paper (default: small)")
  private String preset;

  @Option(
      names = "--set",
      paramLabel = "key=value",
      description = "overrides a part of the preset; may be repeated")
  private Map<String, String> set = new LinkedHashMap<>();

  @Option(names = "--steps", paramLabel = "N", description = "stop at this step")
  private Long steps;

  @Option(names = "--seconds", paramLabel = "N", description = "stop after this time")
  private Double seconds;

  @Option(names = "--batch", paramLabel = "N", description = "images a step")
  private Integer batch;

  @Option(names = "--lr", paramLabel = "X", description = "learning rate after warm-up")
  private Double learningRate;

  @Option(
      names = "--dtype",
      paramLabel = "T",
      description = "of activations, f32 or bf16 (default: the device's fast one)")
  private String dtype;

  @Mixin private DeviceOption device = new DeviceOption();

  @Option(
      names = "--seed",
      paramLabel = "S",
      description = "of the weights and the order of images (default: 0)")
  private Long seed;

  @Option(
      names = "--conditional",
      description = "give the model each image's class: 'gatun sample --class' chooses one")
  private boolean conditional;

  @Option(names = "--resume", description = "go on with the run in RUN")
  private boolean resume;

  @Option(names = "--json", description = "a JSON object on standard output at the end")
  private boolean json;

  TrainCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    requireGoal();
    if (!Models.names().contains(model)) {
      throw new UsageException(
          "unknown model '" + model + "': expected " + String.join(" or ", Models.names()));
    }
    try (Interrupts interrupts = new Interrupts();
        Device opened = device.open(console)) {
      Dataset images = DataSource.open(data, Split.TRAIN, DataSource.SPLIT_SEED);
      RunFolder folder = resume ? reopen(opened, images) : start(opened, images);
      RunConfig config = folder.config();
      try (Trainer trainer =
          UsageException.ifRefused(
              () -> new Trainer(opened, config.model(), config.training(), images))) {
        if (resume && folder.hasState()) {
          folder.resume(trainer);
          console.say("resumed " + out + " at step " + trainer.steps());
        }
        TrainingLoop.Result result =
            new TrainingLoop(trainer, folder, interrupts).run(goal(config), console);
        report(result, config, trainer, opened);
        return result.interrupted() ? INTERRUPTED : 0;
      }
    }
  }

  private void requireGoal() {
    if (steps != null && seconds != null) {
      throw new UsageException("--steps and --seconds exclude each other: give one of them");
    }
    if (steps != null && steps <= 0 || seconds != null && !(seconds > 0)) {
      throw new UsageException(
          (steps != null ? "--steps " + steps : "--seconds " + seconds) + ": must be positive");
    }
  }

  private TrainingLoop.Goal goal(RunConfig config) {
    if (seconds != null) {
      return new TrainingLoop.Goal(0, seconds);
    }
    return new TrainingLoop.Goal(
        steps != null ? steps : Models.steps(config.model().name(), config.preset()), 0);
  }

  private Map<String, String> overrides() {
    Map<String, String> overrides = new LinkedHashMap<>(set);
    if (batch != null) {
      overrides.put("batch", batch.toString());
    }
    if (learningRate != null) {
      overrides.put("learningRate", learningRate.toString());
    }
    return overrides;
  }

  private RunFolder start(Device opened, Dataset images) throws IOException {
    Preset size =
        preset == null ? Preset.SMALL : UsageException.ifRefused(() -> Preset.fromLabel(preset));
    DType type = DeviceOption.dtype(opened, dtype);
    Model.ImageShape shape =
        new Model.ImageShape(images.height(), images.width(), images.channels());
    Models.Setup setup =
        UsageException.ifRefused(() ->
            Models.setup(
                model, size, shape, classes(images), type, seed == null ? 0 : seed, overrides()));
    if (images.count() < setup.training().batch()) {
      // before anything is written
      throw new UsageException(
          "a batch of "
              + setup.training().batch()
              + " needs as many images; "
              + data
              + " has "
              + images.count()
              + ": use a smaller --batch");
    }
    return RunFolder.create(
        out,
        new RunConfig(
            Models.VERSION,
            size,
            setup.model(),
            setup.training(),
            DataSummary.of(data, images, DataSource.SPLIT_SEED)));
  }

  private int classes(Dataset images) {
    if (!conditional) {
      return 0;
    }
    if (!images.hasLabels() || images.classes() < 2) {
      throw new UsageException(
          "--conditional: the images of " + data + " have no classes; leave the option out");
    }
    return images.classes();
  }

  private RunFolder reopen(Device opened, Dataset images) throws IOException {
    RunFolder folder = RunFolder.open(out);
    RunConfig saved = folder.config();
    if (!saved.model().name().equals(model)) {
      throw new UsageException(
          out
              + ": is a run of "
              + saved.model().name()
              + ", not of "
              + model
              + "; give that model or another --out");
    }
    requireSame("--seed", seed, saved.training().seed());
    requireSame("--preset", preset, saved.preset().label());
    if (conditional && saved.model().classes() == 0) {
      throw new UsageException(
          "--conditional: the run in "
              + out
              + " was begun without classes; leave the option out, or start another run");
    }
    UsageException.ifRefused(() -> {
      Trainer.requireFits(saved.model(), images);
      return null;
    });
    if (images.count() != saved.data().images()) {
      throw new UsageException(
          data
              + ": has "
              + images.count()
              + " images, the run was begun on "
              + saved.data().images()
              + " ("
              + saved.data().path()
              + "); give those");
    }
    TrainConfig training =
        UsageException.ifRefused(
            () -> Models.override(saved.model(), saved.training(), overrides()));
    String label = dtype == null ? training.dtype().label() : dtype;
    RunConfig changed = saved.withTraining(training.withDType(DeviceOption.dtype(opened, label)));
    if (!changed.equals(saved)) {
      folder.configure(changed);
    }
    return folder;
  }

  private <T> void requireSame(String option, T given, T saved) {
    if (given != null && !given.equals(saved)) {
      throw new UsageException(
          option
              + " "
              + given
              + ": the run in "
              + out
              + " was begun with "
              + saved
              + "; leave the option out, or start another run");
    }
  }

  private void report(
      TrainingLoop.Result result, RunConfig config, Trainer trainer, Device opened) {
    console.say(
        (result.interrupted() ? "stopped" : "trained")
            + " at step "
            + result.steps()
            + ", checkpoint in "
            + out
            + (result.interrupted() ? ": go on with --resume" : ""));
    if (json) {
      Map<String, Object> all = new LinkedHashMap<>();
      all.put("run", out.toString());
      all.put("model", config.model().name());
      all.put("steps", result.steps());
      all.put(config.model().objective().key(), Double.isNaN(result.loss()) ? null : result.loss());
      all.put("images", config.data().images());
      all.put("seconds", result.seconds());
      all.put("imagesPerSecond", result.imagesPerSecond());
      all.put("parameters", trainer.averagedWeights().count());
      all.put("device", opened.name());
      all.put("dtype", config.training().dtype().label());
      all.put("seed", config.training().seed());
      all.put("interrupted", result.interrupted());
      console.json(all);
    }
  }
}
