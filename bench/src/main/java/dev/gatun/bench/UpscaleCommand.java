package dev.gatun.bench;

import dev.gatun.engine.io.Image;
import dev.gatun.engine.io.Images;
import dev.gatun.models.Condition;
import dev.gatun.models.Model;
import java.io.IOException;
import java.nio.file.Path;
import picocli.CommandLine.Command;

/** {@code gatun upscale}. */
@Command(
    name = "upscale",
    description = "Draws what a small image may look like when it is larger.",
    footer = {
      "",
      "An image as large as the model draws is made smaller first.",
      "RUN was trained with --set condition=half, or quarter."
    })
final class UpscaleCommand extends ShownImageCommand {
  UpscaleCommand(Console console) {
    super(console, Condition.HALF, Condition.QUARTER);
  }

  @Override
  byte[] shown(DenoiseTask.Opened opened, Path run, Path image) throws IOException {
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
              + run
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
    byte[] pixels = ImageFiles.colours("--image", image, run, read, shape.channels());
    return large ? condition.of(pixels, 1, shape) : condition.enlarge(pixels, 1, shape);
  }
}
