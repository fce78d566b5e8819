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
import dev.gatun.models.vae.Decoder;
import dev.gatun.models.vae.ImageCodes;
import dev.gatun.models.vae.ImportanceEvaluator;
import dev.gatun.models.vae.LatentTour;
import dev.gatun.models.vae.Vae;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import java.util.function.IntConsumer;
import java.util.stream.Collectors;
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
  private static final int SIDE = 20;
  private static final int COLUMNS = 11;
  private static final int PAIRS = 16;
  private static final int CELLS = 100;
  private static final int SAMPLES = 250;

  private enum What {
    RECONSTRUCTIONS,
    MANIFOLD,
    TRAVERSAL,
    INTERPOLATION,
    SCATTER,
    DENSITY;

    String label() {
      return name().toLowerCase(Locale.ROOT);
    }
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
    What wanted = what();
    if (limit != null && limit <= 0) {
      throw new UsageException("--limit " + limit + ": must be positive");
    }
    RunFolder folder = RunFolder.open(run);
    if (wanted == What.DENSITY) {
      density(folder);
      console.say("wrote " + out);
      return 0;
    }
    CodingModel model = model(folder.model(), wanted);
    if (limit != null && (wanted == What.MANIFOLD || wanted == What.DENSITY)) {
      throw new UsageException(
          "--limit: --what " + what + " looks at no images; leave the option out");
    }
    try (Device opened = device.open(console)) {
      DType type = DeviceOption.dtype(console, opened, folder.config().training().dtype());
      try (RunFolder.Checkpoint checkpoint = folder.checkpoint(opened);
          Decoder decoder = new Decoder(opened, model, checkpoint.weights(), type);
          ImageCodes codes = new ImageCodes(opened, model, checkpoint.weights(), type)) {
        Plotting plotting = new Plotting(folder, model, decoder, codes);
        switch (wanted) {
          case RECONSTRUCTIONS -> plotting.reconstructions();
          case MANIFOLD -> plotting.manifold();
          case TRAVERSAL -> plotting.traversal();
          case INTERPOLATION -> plotting.interpolation();
          case SCATTER -> plotting.scatter();
          case DENSITY -> throw new IllegalStateException("has no latents to plot");
        }
      }
    }
    console.say("wrote " + out);
    return 0;
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

  private What what() {
    return Arrays.stream(What.values())
        .filter(w -> w.label().equals(what))
        .findFirst()
        .orElseThrow(() ->
            new UsageException(
                "--what "
                    + what
                    + ": expected "
                    + Arrays.stream(What.values())
                        .map(What::label)
                        .collect(Collectors.joining(", "))));
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

  /** The pictures. */
  private final class Plotting {
    private final RunFolder folder;
    private final CodingModel model;
    private final Decoder decoder;
    private final ImageCodes codes;

    Plotting(RunFolder folder, CodingModel model, Decoder decoder, ImageCodes codes) {
      this.folder = folder;
      this.model = model;
      this.decoder = decoder;
      this.codes = codes;
    }

    private Dataset images() throws IOException {
      Split part = DataSource.split(split);
      RunConfig.DataSummary known = folder.config().data();
      return DataSource.open(data == null ? Path.of(known.path()) : data, part, known.splitSeed());
    }

    private ImageCodes.Codes codes(Dataset images, int usual) {
      return UsageException.ifRefused(() -> codes.of(images, limit == null ? usual : limit));
    }

    private void grid(float[] z, int columns) throws IOException {
      byte[] pixels = Decoder.levels(decoder.means(z));
      int count = z.length / model.latentSize();
      ImageFiles.grid(out, pixels, count, model.imageShape(), columns);
    }

    void reconstructions() throws IOException {
      Dataset images = images();
      float[] z = codes(images, 4 * PAIRS).z();
      int size = model.imageShape().dimensions();
      int count = z.length / model.latentSize();
      byte[] made = Decoder.levels(decoder.means(z));
      // rows of images, each above the row of what was made of them
      int rows = Math.ceilDiv(count, PAIRS);
      byte[] all = new byte[2 * rows * PAIRS * size];
      for (int i = 0; i < count; i++) {
        int at = (2 * (i / PAIRS) * PAIRS + i % PAIRS) * size;
        images.image(i, all, at);
        System.arraycopy(made, i * size, all, at + PAIRS * size, size);
      }
      ImageFiles.grid(out, all, 2 * rows * PAIRS, model.imageShape(), PAIRS);
    }

    void manifold() throws IOException {
      grid(LatentTour.manifold(SIDE), SIDE);
    }

    void traversal() throws IOException {
      ImageCodes.Codes found = codes(images(), 1024);
      int[] latents = LatentTour.byKl(found.kl(), COLUMNS - 1);
      StringBuilder text = new StringBuilder();
      for (int latent : latents) {
        text.append(
            String.format(
                Locale.ROOT, "%s%d: %.2f", text.isEmpty() ? "" : ", ", latent, found.kl()[latent]));
      }
      console.say("nats of the latents, row by row: " + text);
      float[] from = Arrays.copyOf(found.z(), model.latentSize());
      grid(LatentTour.traversal(from, latents, COLUMNS), COLUMNS);
    }

    void interpolation() throws IOException {
      float[] ends = codes(images(), 2 * (COLUMNS - 1)).z();
      int size = model.latentSize();
      if (ends.length < 2 * size) {
        throw new UsageException(
            "--limit " + limit + ": two images lie at the ends; give 2 or more");
      }
      ends = Arrays.copyOf(ends, ends.length / (2 * size) * 2 * size);
      grid(LatentTour.interpolation(ends, size, COLUMNS), COLUMNS);
    }

    void scatter() throws IOException {
      Dataset images = images();
      float[] z = codes(images, 5000).z();
      int size = model.latentSize();
      if (size > 2 && z.length == size) {
        throw new UsageException(
            "--what scatter: principal components need 2 images or more, not 1; look at more");
      }
      LatentChart.write(out, folder.model().name(), z, size, images);
    }
  }
}
