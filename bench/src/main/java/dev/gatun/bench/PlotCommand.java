package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.data.Split;
import dev.gatun.models.BoundedModel;
import dev.gatun.models.EncodingModel;
import dev.gatun.models.Model;
import dev.gatun.models.diffusion.DenoisingModel;
import dev.gatun.models.diffusion.FlowDensity;
import dev.gatun.models.planar.PlanarDensity;
import dev.gatun.models.train.RunConfig;
import dev.gatun.models.train.RunFolder;
import dev.gatun.models.vae.CodingModel;
import dev.gatun.models.vae.ImportanceEvaluator;
import dev.gatun.models.vae.Vae;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.function.IntConsumer;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code gatun plot}. */
@Command(
    name = "plot",
    description = "Shows what a model with latents has learned.",
    footer = {
      "",
      "reconstructions: images, each above what is decoded of its latents.",
      "manifold: what is decoded of the quantiles of two latents; for --set latents=2.",
      "traversal: a row for each latent, those that say most first, from -3 to 3.",
      "interpolation: from one image to another, a row for each pair.",
      "scatter: images by their latents, coloured by class; of more than two latents",
      "the principal components.",
      "density: of a model of points of a plane, beside the true one."
    })
final class PlotCommand implements Callable<Integer> {
  private static final String DENSITY = "density";
  private static final int CELLS = 100;
  private static final int SAMPLES = 250;

  /** A picture of latents. */
  private enum What {
    RECONSTRUCTIONS(64, LatentPlots::reconstructions),
    MANIFOLD(0, (plots, images) -> plots.manifold()),
    TRAVERSAL(1024, LatentPlots::traversal),
    INTERPOLATION(20, LatentPlots::interpolation),
    SCATTER(5000, LatentPlots::scatter);

    private final int usual; // images that are looked at
    private final Drawing drawing;

    What(int usual, Drawing drawing) {
      this.usual = usual;
      this.drawing = drawing;
    }

    String label() {
      return name().toLowerCase(Locale.ROOT);
    }

    static Optional<What> of(String label) {
      return Arrays.stream(values()).filter(w -> w.label().equals(label)).findFirst();
    }
  }

  /** Draws a picture of images, or of none where they are not looked at. */
  private interface Drawing {
    void draw(LatentPlots plots, Dataset images) throws IOException;
  }

  private final Console console;

  @Parameters(paramLabel = "RUN", description = "a run folder")
  private Path run;

  @Option(
      names = "--what",
      required = true,
      paramLabel = "W",
      description = "reconstructions, manifold, traversal, interpolation, scatter or density")
  private String what;

  @Option(names = "--out", required = true, paramLabel = "FILE", description = "a picture (.png)")
  private Path out;

  @Option(
      names = "--data",
      paramLabel = "PATH",
      description = "the dataset; needed but for manifold (default: what the run was trained on)")
  private Path data;

  @Option(names = "--split", paramLabel = "S", description = "train or test (default: test)")
  private String split = "test";

  @Option(
      names = "--limit",
      paramLabel = "N",
      description = "images that are looked at (default: 5000; of reconstructions 64)")
  private Integer limit;

  @Mixin private DeviceOption device = new DeviceOption();

  PlotCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    ImageFiles.requireSuffix(out, false);
    Optional<What> wanted = What.of(what);
    if (wanted.isEmpty() && !what.equals(DENSITY)) {
      throw new UsageException(
          "--what "
              + what
              + ": expected "
              + Arrays.stream(What.values()).map(What::label).collect(Collectors.joining(", "))
              + " or "
              + DENSITY);
    }
    if (limit != null && limit <= 0) {
      throw new UsageException("--limit " + limit + ": must be positive");
    }
    if (limit != null && wanted.map(w -> w.usual).orElse(0) == 0) {
      throw new UsageException(
          "--limit: --what " + what + " looks at no images; leave the option out");
    }
    RunFolder folder = RunFolder.open(run);
    if (wanted.isPresent()) {
      latents(folder, wanted.get());
    } else {
      density(folder);
    }
    console.say("wrote " + out);
    return 0;
  }

  private void latents(RunFolder folder, What wanted) throws IOException {
    CodingModel model = model(folder.model(), wanted);
    try (Device opened = device.open(console)) {
      DType type = DeviceOption.dtype(console, opened, folder.config().training().dtype());
      Dataset images = wanted.usual == 0 ? null : images(folder, wanted.usual);
      try (RunFolder.Checkpoint checkpoint = folder.checkpoint(opened);
          LatentPlots plots =
              new LatentPlots(console, out, opened, model, checkpoint.weights(), type)) {
        wanted.drawing.draw(plots, images);
      }
    }
  }

  private Dataset images(RunFolder folder, int usual) throws IOException {
    Split part = DataSource.split(split);
    RunConfig.DataSummary known = folder.config().data();
    Dataset whole =
        DataSource.open(data == null ? Path.of(known.path()) : data, part, known.splitSeed());
    int count = Math.min(limit == null ? usual : limit, whole.count());
    return whole.subset(IntStream.range(0, count).toArray());
  }

  /** At the centres of a grid: by importance sampling, or along the probability flow. */
  private void density(RunFolder folder) throws IOException {
    Model model = folder.model();
    boolean sampled = model instanceof BoundedModel bounded && bounded.mostSamples() > 1;
    if (model.dataType() == DType.U8 || !(sampled || model instanceof DenoisingModel)) {
      throw new UsageException(
          "--what density: is for VAEs and diffusion models of points of a plane; train one with"
              + " --data two-moons");
    }
    Path trained = data == null ? Path.of(folder.config().data().path()) : data;
    PlanarDensity density = DataSource.density(trained);
    if (density == null) {
      throw new UsageException(
          "--what density: is for models of "
              + Arrays.stream(PlanarDensity.values())
                  .map(PlanarDensity::label)
                  .collect(Collectors.joining(", "))
              + ", not of "
              + trained);
    }
    double[] centres = PlanarDensity.gridPoints(CELLS, density.extent());
    float[] points = new float[centres.length];
    for (int i = 0; i < points.length; i++) {
      points[i] = (float) centres[i];
    }
    double[] logs;
    try (Device opened = device.open(console);
        RunFolder.Checkpoint checkpoint = folder.checkpoint(opened);
        Progress progress = new Progress(console, "plot", points.length / 2)) {
      logs = nats(opened, model, checkpoint, points, done -> progress.update(done, ""));
    }
    for (int i = 0; i < logs.length; i++) {
      logs[i] = -logs[i];
    }
    DensityPlot.write(
        out,
        List.of(
            DensityPlot.Panel.of(density.label(), density.grid(CELLS)),
            DensityPlot.Panel.of(model.name(), logs)),
        density.extent());
  }

  private static double[] nats(
      Device opened,
      Model model,
      RunFolder.Checkpoint checkpoint,
      float[] points,
      IntConsumer progress) {
    if (model instanceof DenoisingModel denoising) {
      try (FlowDensity flow =
          new FlowDensity(opened, denoising, checkpoint.weights(), Scorer.FLOW_STEPS)) {
        return flow.nats(points, progress);
      }
    }
    Dataset grid = Dataset.ofPoints("grid", 2, points);
    try (ImportanceEvaluator evaluator =
        new ImportanceEvaluator(
            opened, (BoundedModel) model, checkpoint.weights(), DType.F32, SAMPLES, 0)) {
      return evaluator.each(grid, grid.count(), progress);
    }
  }

  private static CodingModel model(Model model, What wanted) {
    UsageException.ifRefused(() -> EncodingModel.of(model));
    if (!(model instanceof CodingModel coding)) {
      throw new UsageException(model.name() + " has no decoder; there is nothing to plot");
    }
    if (model.dataType() != DType.U8 && wanted != What.SCATTER) {
      throw new UsageException(
          "--what " + wanted.label() + ": the model is of points, not of images; use density");
    }
    if (wanted == What.MANIFOLD
        && !(model instanceof Vae vae && vae.latentCount() == 2 && vae.latentSize() == 2)) {
      throw new UsageException(
          "--what manifold: is for a VAE of two latents; train one with --set latents=2");
    }
    if (wanted == What.TRAVERSAL
        && !(model instanceof Vae vae && vae.latentCount() == vae.latentSize())) {
      throw new UsageException(
          "--what traversal: is for a VAE whose latents are numbers, one by one");
    }
    return coding;
  }
}
