package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.models.Model;
import dev.gatun.models.Models;
import dev.gatun.models.Sampler;
import dev.gatun.models.diffusion.DenoisingModel;
import dev.gatun.models.diffusion.DenoisingSampler;
import dev.gatun.models.pixelcnn.PixelModel;
import dev.gatun.models.train.RunFolder;
import java.io.IOException;
import java.nio.file.Path;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** What the commands that draw images have in common. */
final class DrawOptions {
  @Option(
      names = "--out",
      required = true,
      paramLabel = "FILE",
      description = "a grid (.png), or an array [N,H,W,C] u8 (.npy)")
  private Path out;

  @Option(
      names = "--gif",
      paramLabel = "FILE",
      description = "the images being drawn, pixel by pixel or out of noise")
  private Path gif;

  @Option(
      names = "--strip",
      paramLabel = "FILE",
      description = "a few images (.png) on their way out of noise, from left to right")
  private Path strip;

  @Option(names = "--seed", paramLabel = "S", description = "of the draws (default: 0)")
  private long seed;

  @Option(
      names = "--class",
      paramLabel = "K",
      description = "for a model trained with --conditional (default: each class in turn)")
  private Integer label;

  @Option(
      names = "--temperature",
      paramLabel = "T",
      description = "below 1 is tamer, above 1 wilder (default: 1)")
  private double temperature = 1;

  @Option(
      names = "--sampler",
      paramLabel = "NAME",
      description = {
        "of a PixelCNN: cached (default) computes each pixel once; full is there to check it;",
        "of ddpm and edm: ddim, ddpm, dpmpp or heun (default: ddim; edm: heun);",
        "of VAEs: mean (default) shows what is likeliest of a latent, exact draws pixels, too"
      })
  private String sampler;

  @Mixin private DenoiseOptions denoise = new DenoiseOptions();

  @Mixin private DeviceOption device = new DeviceOption();

  /** Throws unless the options make sense by themselves. */
  void require(int count) {
    ImageFiles.requireSuffix(out, true);
    if (gif != null && !String.valueOf(gif.getFileName()).endsWith(".gif")) {
      throw new UsageException("--gif " + gif + ": expected a name that ends in .gif");
    }
    if (strip != null && !String.valueOf(strip.getFileName()).endsWith(".png")) {
      throw new UsageException("--strip " + strip + ": expected a name that ends in .png");
    }
    if (count <= 0) {
      throw new UsageException("--count " + count + ": must be positive");
    }
    if (!(temperature > 0 && Double.isFinite(temperature))) {
      throw new UsageException("--temperature " + temperature + ": must be positive");
    }
  }

  /**
   * Draws and writes images.
   *
   * @param given [count,H,W,C] whose first rows are kept; null for none
   */
  void draw(Console console, Path run, RunFolder folder, int count, byte[] given, int givenRows)
      throws IOException {
    Model model = folder.model();
    if (label != null && (label < 0 || label >= model.classes())) {
      throw new UsageException(
          "--class "
              + label
              + ": the model in "
              + run
              + (model.classes() == 0
                  ? " was trained without classes; leave the option out"
                  : " has classes 0 to " + (model.classes() - 1)));
    }
    Sampler.Request request =
        new Sampler.Request(count, seed, temperature, label, given, givenRows);
    Drawn drawn =
        model instanceof DenoisingModel denoising
            ? drawOutOfNoise(console, run, folder, denoising, request)
            : drawByPixels(console, folder, request);
    byte[] images = drawn.images;
    if (out.toString().endsWith(".npy")) {
      ImageFiles.npy(out, images, count, model.imageShape());
    } else {
      ImageFiles.grid(out, images, count, model.imageShape());
    }
    if (gif != null && drawn.frames != null) {
      drawn.frames.writeGif(gif);
    } else if (gif != null) {
      DrawingGif.write(gif, images, count, model.imageShape(), givenRows);
    }
    if (strip != null) {
      drawn.frames.writeStrip(strip);
    }
    console.say(
        "wrote " + count + " images to " + out + (gif == null ? "" : ", their drawing to " + gif));
  }

  /**
   * What was drawn.
   *
   * @param frames how, or null where that follows from the images
   */
  private record Drawn(byte[] images, DenoisingFrames frames) {}

  private Drawn drawByPixels(Console console, RunFolder folder, Sampler.Request request)
      throws IOException {
    Model model = folder.model();
    denoise.requireNone(model.name());
    if (strip != null) {
      throw new UsageException(
          "--strip: " + model.name() + " does not draw out of noise; use --gif");
    }
    String name = DenoiseOptions.sampler(model, sampler);
    if (model.dataType() != DType.U8) {
      throw new UsageException(
          model.name() + " was trained on points, which are no images; plot their density");
    }
    if (!(model instanceof PixelModel) && (gif != null || request.givenRows() > 0)) {
      throw new UsageException(
          model.name() + " draws images as a whole: there is no --gif of it, and none to complete");
    }
    try (Device opened = device.open(console)) {
      DType type = DeviceOption.dtype(console, opened, folder.config().training().dtype());
      try (RunFolder.Checkpoint checkpoint = folder.checkpoint(opened)) {
        return new Drawn(draw(console, opened, model, checkpoint, type, name, request), null);
      }
    }
  }

  private Drawn drawOutOfNoise(
      Console console, Path run, RunFolder folder, DenoisingModel model, Sampler.Request request)
      throws IOException {
    if (temperature != 1) {
      throw new UsageException(
          "--temperature: " + model.name() + " has none; leave the option out");
    }
    DenoiseOptions.requireDrawsAlone(run, model);
    DenoisingSampler.Settings settings = denoise.settings(model, sampler);
    try (Device opened = device.open(console)) {
      DType type = DeviceOption.dtype(console, opened, folder.config().training().dtype());
      try (RunFolder.Checkpoint checkpoint = folder.checkpoint(opened);
          DenoisingSampler sampler =
              UsageException.ifRefused(
                  () -> new DenoisingSampler(opened, model, checkpoint.weights(), settings, type));
          Progress progress = new Progress(console, "sample", sampler.work(request.count()))) {
        DenoisingFrames frames =
            gif == null && strip == null
                ? null
                : new DenoisingFrames(
                    request.count(), model.imageShape(), settings.steps().evaluations());
        long[] done = {0};
        double[] x =
            sampler.run(
                sampler.job(request),
                step -> {
                  if (frames != null) {
                    frames.after(step);
                  }
                  progress.update(++done[0], "");
                });
        return new Drawn(DenoisingSampler.pixels(x), frames);
      }
    }
  }

  /** Draws images, with a progress bar. */
  static byte[] draw(
      Console console,
      Device device,
      Model model,
      RunFolder.Checkpoint checkpoint,
      DType type,
      String name,
      Sampler.Request request) {
    try (Sampler sampler = Models.sampler(name, device, model, checkpoint.weights(), type);
        Progress progress = new Progress(console, "sample", sampler.work(request.count()))) {
      return sampler.sample(request, done -> progress.update(done, ""));
    }
  }
}
