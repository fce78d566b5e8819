package dev.gatun.bench;

import dev.gatun.engine.io.Image;
import dev.gatun.engine.io.Images;
import dev.gatun.models.Condition;
import dev.gatun.models.Model;
import dev.gatun.models.diffusion.DenoisingSampler.Job;
import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code gatun upscale}. */
@Command(
    name = "upscale",
    description = "Draws what a small image may look like when it is larger.",
    footer = {"", "RUN was trained with --set condition=half, or quarter."})
final class UpscaleCommand implements Callable<Integer> {
  private final Console console;

  @Option(
      names = "--image",
      required = true,
      paramLabel = "FILE",
      description = "the small image, PNG or JPEG; a large one is made smaller first")
  private Path image;

  @Option(names = "--count", paramLabel = "N", description = "several draws (default: 1)")
  private int count = 1;

  @Mixin private DenoiseTask task = new DenoiseTask();

  UpscaleCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    DenoiseTask.Opened opened = task.open(count, Condition.HALF, Condition.QUARTER);
    byte[] shown = DenoiseTask.repeat(shown(opened), count);
    task.draw(
        console,
        opened,
        task.settings(opened.model()),
        new Job(count, task.seed(), task.labels(count), shown, null));
    return 0;
  }

  private byte[] shown(DenoiseTask.Opened opened) throws IOException {
    Model.ImageShape shape = opened.shape();
    Condition condition = opened.model().condition();
    Image read = Images.read(image);
    int height = shape.height() / condition.factor();
    int width = shape.width() / condition.factor();
    boolean small = read.height() == height && read.width() == width;
    boolean large = read.height() == shape.height() && read.width() == shape.width();
    if (!small && !large) {
      throw new UsageException(
          "--image "
              + image
              + ": is "
              + read.height()
              + "x"
              + read.width()
              + ", the model in "
              + task.run()
              + " is shown "
              + height
              + "x"
              + width
              + " and draws "
              + shape.height()
              + "x"
              + shape.width()
              + "; scale it to one of them");
    }
    byte[] pixels = ImageFiles.colours("--image", image, task.run(), read, shape.channels());
    return large ? condition.of(pixels, 1, shape) : condition.enlarge(pixels, 1, shape);
  }
}
