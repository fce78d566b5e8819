package dev.gatun.bench;

import dev.gatun.models.Condition;
import dev.gatun.models.Model;
import dev.gatun.models.diffusion.DenoisingSampler.Job;
import dev.gatun.models.diffusion.DenoisingSampler.Settings;
import dev.gatun.models.diffusion.Interpolation;
import dev.gatun.models.diffusion.NoisePath;
import dev.gatun.models.diffusion.SamplerSteps;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code gatun interpolate}. */
@Command(
    name = "interpolate",
    description = "Draws what lies between two images, by the noise that makes them.")
final class InterpolateCommand implements Callable<Integer> {
  private static final int STEPS = 100;

  private final Console console;

  @Option(
      names = "--image",
      required = true,
      paramLabel = "FILE",
      description = "an image, PNG or JPEG, of the model's size; given twice")
  private List<Path> images = new ArrayList<>();

  @Option(
      names = "--count",
      paramLabel = "N",
      description = "images in all, those at both ends included (default: 9)")
  private int count = 9;

  @Mixin private DenoiseTask task = new DenoiseTask();

  InterpolateCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    DenoiseTask.Opened opened = task.open(count, Condition.NONE);
    Model.ImageShape shape = opened.shape();
    if (images.size() != 2 || count < 2) {
      throw new UsageException("two images lie at the ends: give --image twice, --count 2 or more");
    }
    task.requireNoSampler("images are encoded and decoded along the path of ddim");
    task.requireNoSeed("nothing is random here");
    byte[] both = new byte[2 * shape.dimensions()];
    for (int i = 0; i < 2; i++) {
      byte[] pixels = ImageFiles.pixels("--image", images.get(i), task.run(), shape);
      System.arraycopy(pixels, 0, both, i * pixels.length, pixels.length);
    }
    NoisePath path =
        UsageException.ifRefused(
            () -> opened.model().path(task.denoise().steps(opened.model(), STEPS)));
    Settings[] settings = {
      task.denoise().settings("encode", SamplerSteps.encode(path)),
      task.denoise().settings("decode", SamplerSteps.decode(path))
    };
    double[] x =
        task.run(
            console,
            opened,
            settings,
            noise ->
                noise == null
                    ? new Job(2, 0, task.labels(2), null, Interpolation.pixels(both))
                    : new Job(
                        count, 0, task.labels(count), null, Interpolation.between(noise, count)));
    task.write(console, opened, x, count);
    return 0;
  }
}
