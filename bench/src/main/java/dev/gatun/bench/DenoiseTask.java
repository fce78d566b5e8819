package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.models.Condition;
import dev.gatun.models.Model;
import dev.gatun.models.diffusion.DenoisingModel;
import dev.gatun.models.diffusion.DenoisingSampler;
import dev.gatun.models.train.RunFolder;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** What the commands have in common that make an image of another by denoising. */
final class DenoiseTask {
  @Parameters(paramLabel = "RUN", description = "a run folder of ddpm or edm")
  private Path run;

  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE",
      description = "the image, or a grid of several (.png), or an array [N,H,W,C] u8 (.npy)")
  private Path out;

  @Option(names = "--seed", paramLabel = "S", description = "of the draws (default: 0)")
  private Long seed;

  @Option(
      names = "--class",
      paramLabel = "K",
      description = "of the image, for a model trained with --conditional")
  private Integer label;

  @Option(
      names = "--sampler",
      paramLabel = "NAME",
      description = "ddim, ddpm, dpmpp or heun (default: ddim; edm: heun)")
  private String sampler;

  @Mixin private DenoiseOptions denoise = new DenoiseOptions();
  @Mixin private DeviceOption device = new DeviceOption();

  Path run() {
    return run;
  }

  long seed() {
    return seed == null ? 0 : seed;
  }

  /**
   * Throws if a sampler was asked for by a command that has its own.
   *
   * @param why it has; part of the message
   */
  void requireNoSampler(String why) {
    if (sampler != null) {
      throw new UsageException("--sampler " + sampler + ": " + why + "; leave the option out");
    }
    denoise.requireNoNoise(why);
  }

  /** Throws if a seed was given where nothing is random. */
  void requireNoSeed(String why) {
    if (seed != null) {
      throw new UsageException("--seed " + seed + ": " + why + "; leave the option out");
    }
  }

  /** A model with the folder it is in. */
  record Opened(RunFolder folder, DenoisingModel model) {
    Model.ImageShape shape() {
      return model.imageShape();
    }
  }

  /**
   * Opens the run, and checks the options.
   *
   * @param shown what the model must be shown of an image: one of these
   */
  Opened open(int count, Condition... shown) throws IOException {
    ImageFiles.requireSuffix(out, true);
    if (count <= 0) {
      throw new UsageException("--count " + count + ": must be positive");
    }
    RunFolder folder = RunFolder.open(run);
    if (!(folder.model() instanceof DenoisingModel model)) {
      throw new UsageException(
          run + ": is a run of " + folder.model().name() + "; give one of ddpm or edm");
    }
    if (!Arrays.asList(shown).contains(model.condition())) {
      throw new UsageException(
          run
              + ": the model is shown "
              + shownIs(model.condition())
              + "; give a run that was trained with --set condition="
              + shown[0].name().toLowerCase(Locale.ROOT));
    }
    if ((label != null) != (model.classes() > 0)
        || label != null && (label < 0 || label >= model.classes())) {
      throw new UsageException(
          model.classes() == 0
              ? "--class " + label + ": the model in " + run + " was trained without classes"
              : "--class: the model in "
                  + run
                  + " needs the image's class, 0 to "
                  + (model.classes() - 1));
    }
    return new Opened(folder, model);
  }

  private static String shownIs(Condition condition) {
    return switch (condition) {
      case NONE -> "nothing of the image";
      case GREY -> "the image in grey";
      case HALF, QUARTER -> "the image " + condition.factor() + " times smaller";
    };
  }

  /** The label of so many images; null where there are no classes. */
  byte[] labels(int count) {
    if (label == null) {
      return null;
    }
    byte[] all = new byte[count];
    Arrays.fill(all, label.byteValue());
    return all;
  }

  /** The sampler that was asked for. */
  DenoisingSampler.Settings settings(DenoisingModel model) {
    return denoise.settings(model, sampler);
  }

  DenoiseOptions denoise() {
    return denoise;
  }

  /** One after another, each from what the last one made of x. */
  @FunctionalInterface
  interface Jobs {
    /**
     * The next job.
     *
     * @param x what the job before made; null for the first
     */
    DenoisingSampler.Job next(double[] x);
  }

  /** Runs jobs, with a sampler each. */
  double[] run(Console console, Opened opened, DenoisingSampler.Settings[] settings, Jobs jobs)
      throws IOException {
    try (Device on = device.open(console)) {
      DType type = DeviceOption.dtype(console, on, opened.folder.config().training().dtype());
      double[] x = null;
      try (RunFolder.Checkpoint checkpoint = opened.folder.checkpoint(on)) {
        for (DenoisingSampler.Settings each : settings) {
          DenoisingSampler.Job job = jobs.next(x);
          try (DenoisingSampler sampler =
                  UsageException.ifRefused(() ->
                      new DenoisingSampler(on, opened.model, checkpoint.weights(), each, type));
              Progress progress = new Progress(console, each.name(), sampler.work(job.count()))) {
            long[] done = {0};
            x = sampler.run(job, step -> progress.update(++done[0], ""));
          }
        }
      }
      return x;
    }
  }

  /** Runs one job, and writes what it drew. */
  void draw(
      Console console, Opened opened, DenoisingSampler.Settings settings, DenoisingSampler.Job job)
      throws IOException {
    double[] x = run(console, opened, new DenoisingSampler.Settings[] {settings}, before -> job);
    write(console, opened, x, job.count());
  }

  void write(Console console, Opened opened, double[] x, int count) throws IOException {
    ImageFiles.write(out, DenoisingSampler.pixels(x), count, opened.shape());
    console.say("wrote " + (count == 1 ? "the image" : count + " images") + " to " + out);
  }

  /** An image as often as it is drawn. */
  static byte[] repeat(byte[] image, int count) {
    byte[] all = new byte[count * image.length];
    for (int n = 0; n < count; n++) {
      System.arraycopy(image, 0, all, n * image.length, image.length);
    }
    return all;
  }
}
