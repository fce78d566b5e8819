package dev.gatun.bench;

import dev.gatun.models.Model;
import dev.gatun.models.train.RunFolder;
import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code gatun complete}. */
@Command(
    name = "complete",
    description = "Keeps the upper rows of an image and draws the rest, several times.")
final class CompleteCommand implements Callable<Integer> {
  private final Console console;

  @Parameters(paramLabel = "RUN", description = "a run folder")
  private Path run;

  @Option(
      names = "--image",
      required = true,
      paramLabel = "FILE",
      description = "the image, PNG or JPEG, of the model's size")
  private Path image;

  @Option(
      names = "--rows",
      required = true,
      paramLabel = "K",
      description = "how many of its rows are kept, from the top")
  private int rows;

  @Option(names = "--count", paramLabel = "N", description = "completions (default: 16)")
  private int count = 16;

  @Mixin private DrawOptions options = new DrawOptions();

  CompleteCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    options.require(count);
    RunFolder folder = RunFolder.open(run);
    Model.ImageShape shape = folder.model().imageShape();
    if (rows < 0 || rows > shape.height()) {
      throw new UsageException("--rows " + rows + ": must be 0 to " + shape.height());
    }
    byte[] pixels = ImageFiles.pixels("--image", image, run, shape);
    byte[] given = new byte[count * pixels.length];
    for (int n = 0; n < count; n++) {
      System.arraycopy(pixels, 0, given, n * pixels.length, pixels.length);
    }
    options.draw(console, run, folder, count, given, rows);
    return 0;
  }
}
