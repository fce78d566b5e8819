package dev.gatun.bench;

import dev.gatun.models.Condition;
import dev.gatun.models.diffusion.DenoisingSampler.Job;
import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** A command that shows a model something of an image, and has it draw the rest. */
abstract class ShownImageCommand implements Callable<Integer> {
  private final Console console;
  private final Condition[] conditions;

  @Option(
      names = "--image",
      required = true,
      paramLabel = "FILE",
      description = "the image, PNG or JPEG, of a size that the model knows")
  private Path image;

  @Option(names = "--count", paramLabel = "N", description = "several draws (default: 1)")
  private int count = 1;

  @Mixin private DenoiseTask task = new DenoiseTask();

  /**
   * A command.
   *
   * @param conditions the model must have been trained with one of these
   */
  ShownImageCommand(Console console, Condition... conditions) {
    this.console = console;
    this.conditions = conditions;
  }

  /** What the model is shown of the image, [H,W,C] u8. */
  abstract byte[] shown(DenoiseTask.Opened opened, Path run, Path image) throws IOException;

  @Override
  public final Integer call() throws IOException {
    DenoiseTask.Opened opened = task.open(count, conditions);
    byte[] shown = DenoiseTask.repeat(shown(opened, task.run(), image), count);
    task.draw(
        console,
        opened,
        task.settings(opened.model()),
        new Job(count, task.seed(), task.labels(count), shown, null));
    return 0;
  }
}
