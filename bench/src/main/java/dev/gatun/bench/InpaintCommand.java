package dev.gatun.bench;

import dev.gatun.engine.io.Image;
import dev.gatun.engine.io.Images;
import dev.gatun.models.Condition;
import dev.gatun.models.Model;
import dev.gatun.models.diffusion.DenoisingModel;
import dev.gatun.models.diffusion.DenoisingSampler;
import dev.gatun.models.diffusion.DenoisingSampler.Job;
import dev.gatun.models.diffusion.DenoisingSampler.Known;
import dev.gatun.models.diffusion.SamplerSteps;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code gatun inpaint}. */
@Command(
    name = "inpaint",
    description = "Draws a part of an image anew, so that it suits the rest.")
final class InpaintCommand implements Callable<Integer> {
  private final Console console;

  @Option(
      names = "--image",
      required = true,
      paramLabel = "FILE",
      description = "the image, PNG or JPEG, of the model's size")
  private Path image;

  @Option(
      names = "--mask",
      paramLabel = "FILE",
      description = "an image of that size, bright where it is drawn anew")
  private Path mask;

  @Option(
      names = "--box",
      paramLabel = "X,Y,W,H",
      description = "the part that is drawn anew, instead of --mask")
  private String box;

  @Option(
      names = "--resample",
      paramLabel = "R",
      description = "ancestral sampling with each step taken R times, as in RePaint")
  private Integer resample;

  @Option(names = "--count", paramLabel = "N", description = "several draws (default: 1)")
  private int count = 1;

  @Mixin private DenoiseTask task = new DenoiseTask();

  InpaintCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    DenoiseTask.Opened opened = task.open(count, Condition.NONE);
    Model.ImageShape shape = opened.shape();
    if ((mask == null) == (box == null)) {
      throw new UsageException("give --mask FILE or --box X,Y,W,H: where the image is drawn anew");
    }
    byte[] pixels = ImageFiles.pixels("--image", image, task.run(), shape);
    byte[] kept = mask != null ? kept(shape) : kept(box, shape);
    task.draw(
        console,
        opened,
        resample == null ? task.settings(opened.model()) : repaint(opened.model()),
        new Job(
            count,
            task.seed(),
            task.labels(count),
            null,
            null,
            new Known(DenoiseTask.repeat(pixels, count), DenoiseTask.repeat(kept, count))));
    return 0;
  }

  private DenoisingSampler.Settings repaint(DenoisingModel model) {
    task.requireNoSampler("--resample goes along the path of ddpm");
    int steps = task.denoise().steps(model, DenoisingSampler.Method.DDPM);
    SamplerSteps rows =
        UsageException.ifRefused(() -> SamplerSteps.repaint(model.path(steps), resample));
    return task.denoise().settings("repaint", rows);
  }

  private byte[] kept(Model.ImageShape shape) throws IOException {
    Image read = Images.read(mask);
    if (read.height() != shape.height() || read.width() != shape.width()) {
      throw new UsageException(
          "--mask "
              + mask
              + ": is "
              + read.height()
              + "x"
              + read.width()
              + ", the image "
              + shape.height()
              + "x"
              + shape.width());
    }
    byte[] kept = new byte[shape.height() * shape.width()];
    boolean all = true;
    for (int i = 0; i < kept.length; i++) {
      int brightest = 0;
      for (int c = 0; c < read.channels(); c++) {
        brightest = Math.max(brightest, read.pixels()[i * read.channels() + c] & 0xFF);
      }
      kept[i] = (byte) (brightest < 128 ? 1 : 0);
      all &= kept[i] == 1;
    }
    if (all) {
      throw new UsageException(
          "--mask " + mask + ": is dark everywhere; make it bright where the image is drawn anew");
    }
    return kept;
  }

  private static byte[] kept(String box, Model.ImageShape shape) {
    if (!box.matches("\\d{1,6},\\d{1,6},\\d{1,6},\\d{1,6}")) {
      throw new UsageException("--box " + box + ": expected four whole numbers, X,Y,W,H");
    }
    int[] at = Arrays.stream(box.split(",")).mapToInt(Integer::parseInt).toArray();
    if (at[2] == 0
        || at[3] == 0
        || at[0] + at[2] > shape.width()
        || at[1] + at[3] > shape.height()) {
      throw new UsageException(
          "--box "
              + box
              + ": must lie in the image, which is "
              + shape.width()
              + " wide and "
              + shape.height()
              + " high");
    }
    byte[] kept = new byte[shape.height() * shape.width()];
    Arrays.fill(kept, (byte) 1);
    for (int y = at[1]; y < at[1] + at[3]; y++) {
      int row = y * shape.width();
      Arrays.fill(kept, row + at[0], row + at[0] + at[2], (byte) 0);
    }
    return kept;
  }
}
