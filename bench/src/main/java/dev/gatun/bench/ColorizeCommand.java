package dev.gatun.bench;

import dev.gatun.models.Condition;
import java.io.IOException;
import java.nio.file.Path;
import picocli.CommandLine.Command;

/** {@code gatun colorize}. */
@Command(
    name = "colorize",
    description = "Draws the colours that a grey image may have.",
    footer = {
      "",
      "The image is as large as the model draws; its own colours are not looked at.",
      "RUN was trained with --set condition=grey on coloured images."
    })
final class ColorizeCommand extends ShownImageCommand {
  ColorizeCommand(Console console) {
    super(console, Condition.GREY);
  }

  @Override
  byte[] shown(DenoiseTask.Opened opened, Path run, Path image) throws IOException {
    byte[] pixels = ImageFiles.pixels("--image", image, run, opened.shape());
    return Condition.GREY.of(pixels, 1, opened.shape());
  }
}
