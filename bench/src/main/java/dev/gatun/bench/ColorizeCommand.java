package dev.gatun.bench;

import dev.gatun.models.Condition;
import dev.gatun.models.Model;
import dev.gatun.models.diffusion.DenoisingSampler.Job;
import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code gatun colorize}. */
@Command(
    name = "colorize",
    description = "Draws the colours that a grey image may have.",
    footer = {"", "RUN was trained with --set condition=grey on coloured images."})
final class ColorizeCommand implements Callable<Integer> {
  private final Console console;

  @Option(
      names = "--image",
      required = true,
      paramLabel = "FILE",
      description = "the image, PNG or JPEG, of the model's size; its colours are not looked at")
  private Path image;

  @Option(names = "--count", paramLabel = "N", description = "several draws (default: 1)")
  private int count = 1;

  @Mixin private DenoiseTask task = new DenoiseTask();

  ColorizeCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    DenoiseTask.Opened opened = task.open(count, Condition.GREY);
    Model.ImageShape shape = opened.shape();
    byte[] pixels = ImageFiles.pixels("--image", image, task.run(), shape);
    byte[] shown = DenoiseTask.repeat(Condition.GREY.of(pixels, 1, shape), count);
    task.draw(
        console,
        opened,
        task.settings(opened.model()),
        new Job(count, task.seed(), task.labels(count), shown, null));
    return 0;
  }
}
