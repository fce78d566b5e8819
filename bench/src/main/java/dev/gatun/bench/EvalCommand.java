package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.data.Split;
import dev.gatun.models.Model;
import dev.gatun.models.planar.PlanarDensity;
import dev.gatun.models.train.RunConfig;
import dev.gatun.models.train.RunFolder;
import dev.gatun.models.train.Trainer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code gatun eval}. */
@Command(
    name = "eval",
    description = "Scores images with a trained model, and the images that it draws.",
    footer = {
      "",
      "bpd: bits a dimension of the images. fd, kid, pr: distance to the images, and precision and",
      "recall, of images that the model draws, in the features of a classifier that is trained on",
      "the training images once and kept; each beside the same figure of real images."
    })
final class EvalCommand implements Callable<Integer> {
  private static final List<String> METRICS = List.of("bpd", "fd", "kid", "pr");

  private final Console console;

  @Parameters(paramLabel = "RUN", description = "a run folder")
  private Path run;

  @Option(names = "--data", required = true, paramLabel = "PATH", description = "the dataset")
  private Path data;

  @Option(names = "--split", paramLabel = "S", description = "train or test (default: test)")
  private String split = "test";

  @Option(names = "--limit", paramLabel = "N", description = "only the first N images")
  private Integer limit;

  @Option(
      names = "--metrics",
      paramLabel = "M",
      split = ",",
      description =
          "of bpd, fd, kid and pr (default: bpd where the model has it, else fd; with --nearest none)")
  private List<String> metrics = new ArrayList<>();

  @Option(
      names = "--times",
      paramLabel = "K",
      description = "of the bound of ddpm, so many terms of each image are computed (default: 20)")
  private Integer times;

  @Option(
      names = "--samples",
      paramLabel = "K",
      description =
          "of a VAE's importance-weighted bound, of each image (default: 1, the evidence lower bound)")
  private Integer samples;

  @Mixin private GeneratedFigures generated = new GeneratedFigures();
  @Mixin private DeviceOption device = new DeviceOption();

  @Option(names = "--json", description = "a JSON object on standard output")
  private boolean json;

  EvalCommand(Console console) {
    this.console = console;
  }

  @Override
  public Integer call() throws IOException {
    Split part = DataSource.split(split);
    if (limit != null && limit <= 0) {
      throw new UsageException("--limit " + limit + ": must be positive");
    }
    generated.require();
    RunFolder folder = RunFolder.open(run);
    Scorer scorer = Scorer.of(folder.model(), times, samples);
    Set<String> wanted = wanted(folder.model(), scorer != null);
    RunConfig config = folder.config();
    Dataset whole = DataSource.open(data, part, config.data().splitSeed());
    Dataset images =
        limit == null || limit >= whole.count()
            ? whole
            : whole.subset(IntStream.range(0, limit).toArray());
    UsageException.ifRefused(() -> {
      Trainer.requireFits(folder.model(), images);
      return null;
    });
    boolean scored = wanted.remove("bpd");
    GeneratedFigures.Report report =
        wanted.isEmpty() && !generated.wanted()
            ? null
            : generated.prepare(
                folder,
                wanted,
                DataSource.open(data, Split.TRAIN, config.data().splitSeed()),
                images);
    try (Device opened = device.open(console)) {
      DType type = DeviceOption.dtype(console, opened, config.training().dtype());
      try (RunFolder.Checkpoint checkpoint = folder.checkpoint(opened)) {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("run", run.toString());
        all.put("model", folder.model().name());
        all.put("steps", checkpoint.steps());
        all.put("data", data.toString());
        all.put("split", split);
        if (scored) {
          score(scorer, new Scorer.Trained(opened, checkpoint.weights(), type), images, all);
        }
        if (report != null) {
          report.make(console, opened, checkpoint, type, all);
        }
        all.put("parameters", checkpoint.weights().count());
        all.put("device", opened.name());
        all.put("dtype", type.label());
        all.put("trainingSeed", config.training().seed());
        if (json) {
          console.json(all);
        }
        return 0;
      }
    }
  }

  private Set<String> wanted(Model model, boolean scored) {
    for (String metric : metrics) {
      if (!METRICS.contains(metric)) {
        throw new UsageException(
            "--metrics " + metric + ": expected some of " + String.join(",", METRICS));
      }
    }
    if (metrics.contains("bpd") && !scored) {
      throw new UsageException(
          "--metrics bpd: "
              + model.name()
              + " has no likelihood that can be computed, nor a bound; use fd");
    }
    if (metrics.isEmpty() && generated.wanted()) {
      return new LinkedHashSet<>(); // the sheet alone
    }
    return new LinkedHashSet<>(!metrics.isEmpty() ? metrics : List.of(scored ? "bpd" : "fd"));
  }

  private void score(
      Scorer scorer, Scorer.Trained trained, Dataset images, Map<String, Object> all) {
    Scorer.Score score;
    try (Progress progress = new Progress(console, "eval", images.count())) {
      score = scorer.score(trained, images, done -> progress.update(done, done + " images"));
    }
    all.putAll(score.fields());
    console.say(
        score.text()
            + " on "
            + images.count()
            + (images.dtype() == DType.U8 ? " images of the " : " points of the ")
            + split
            + " split"
            + score.rate());
    PlanarDensity density = DataSource.density(data);
    if (density != null) {
      all.put("entropy", density.entropy());
      console.say(
          String.format(
              Locale.ROOT,
              "no model can do better than the entropy of %s, %.3f nats",
              density.label(),
              density.entropy()));
    }
  }
}
