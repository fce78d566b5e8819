package dev.gatun.bench;

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

  @Option(names = "--count", paramLabel = "N", description = "images (default: 64)")
  private int count = 64;

  @Mixin private DrawOptions options = new DrawOptions();

  SampleCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    options.require(count);
    options.draw(console, run, RunFolder.open(run), count, null, 0);
    return 0;
  }
}
