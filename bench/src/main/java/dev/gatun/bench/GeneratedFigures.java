package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.data.Dataset;
import dev.gatun.ffi.NativeFiles;
import dev.gatun.models.Model;
import dev.gatun.models.Sampler;
import dev.gatun.models.metrics.Classifier;
import dev.gatun.models.metrics.Metrics;
import dev.gatun.models.metrics.NearestImages;
import dev.gatun.models.train.RunFolder;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** Figures of images that a model draws: how far they are from real ones. */
final class GeneratedFigures {
  private static final int SHEET_ROWS = 10;
  private static final int NEIGHBOURS = 7;

  @Option(
      names = "--count",
      paramLabel = "N",
      description =
          "images that are drawn for fd, kid and pr (default: half as many as are tested)")
  private Integer count;

  @Option(names = "--seed", paramLabel = "S", description = "of the draws (default: 0)")
  private long seed;

  @Option(
      names = "--sampler",
      paramLabel = "NAME",
      description = "the model's own (default: its first)")
  private String sampler;

  @Option(
      names = "--nearest",
      paramLabel = "FILE",
      description = "some of the drawn images (.png), each with the training images nearest to it")
  private Path nearest;

  @Mixin private DenoiseOptions denoise = new DenoiseOptions();

  /** Throws unless the options make sense by themselves. */
  void require() {
    if (count != null && count <= 0) {
      throw new UsageException("--count " + count + ": must be positive");
    }
    if (nearest != null && !nearest.toString().endsWith(".png")) {
      throw new UsageException("--nearest " + nearest + ": expected a name that ends in .png");
    }
  }

  /** Whether images have to be drawn for something beside figures. */
  boolean wanted() {
    return nearest != null;
  }

  /**
   * What is to be drawn, and held against what.
   *
   * @param wanted of fd, kid and pr; may be empty
   * @param test real images, of the split that was asked for
   * @param classifier null where nothing is wanted
   */
  private record Plan(
      Set<String> wanted,
      int images,
      Dataset training,
      Dataset test,
      Classifier.Settings classifier) {}

  /** Draws images, and reports on them. */
  final class Report {
    private final Plan plan;
    private final RunFolder folder;

    private Report(Plan plan, RunFolder folder) {
      this.plan = plan;
      this.folder = folder;
    }

    /**
     * Puts the figures where the others are.
     *
     * @param all gets them
     */
    void make(
        Console console,
        Device device,
        RunFolder.Checkpoint checkpoint,
        DType type,
        Map<String, Object> all)
        throws IOException {
      Model model = folder.model();
      byte[] drawn = draw(console, device, model, checkpoint, type, plan.images);
      all.put("drawn", plan.images);
      all.put("drawSeed", seed);
      denoise.describe(all, model, sampler);
      if (!plan.wanted.isEmpty()) {
        Metrics metrics = metrics(console, device, plan, drawn);
        put(all, plan.wanted, metrics);
        console.say(metrics.toString());
      }
      if (nearest != null) {
        int rows = Math.min(SHEET_ROWS, plan.images);
        sheet(drawn, rows, plan.training, model.imageShape());
        console.say("wrote drawn images, and on their right those nearest to them, to " + nearest);
      }
    }
  }

  /**
   * Checks all that can be known before anything is computed.
   *
   * @param wanted of fd, kid and pr; may be empty
   * @param test real images, of the split that was asked for
   */
  Report prepare(RunFolder folder, Set<String> wanted, Dataset training, Dataset test) {
    Model model = folder.model();
    DenoiseOptions.requireDrawsAlone(folder.folder(), model);
    denoise.require(model, sampler);
    if (wanted.isEmpty()) {
      int images = count != null ? count : SHEET_ROWS;
      return new Report(new Plan(wanted, images, training, test, null), folder);
    }
    requireLabels(training);
    int images = count != null ? count : Math.max(1, test.count() / 2);
    Classifier.Settings classifier =
        UsageException.ifRefused(() -> Classifier.Settings.of(training));
    UsageException.ifRefused(() -> {
      Metrics.requireEnough(classifier.net().features(), images, test.count() / 2);
      return null;
    });
    return new Report(new Plan(wanted, images, training, test, classifier), folder);
  }

  private static void requireLabels(Dataset data) {
    if (!data.hasLabels() || data.classes() < 2) {
      throw new UsageException(
          "--metrics: fd, kid and pr are taken in the features of a classifier, and "
              + data.name()
              + " has no classes; leave them out, or give images in folders named after their"
              + " classes");
    }
  }

  private byte[] draw(
      Console console,
      Device device,
      Model model,
      RunFolder.Checkpoint checkpoint,
      DType type,
      int images) {
    try (Sampler opened = denoise.open(device, model, checkpoint.weights(), type, sampler);
        Progress progress = new Progress(console, "sample", opened.work(images))) {
      return opened.sample(images, seed, 1, done -> progress.update(done, ""));
    }
  }

  private static Metrics metrics(Console console, Device device, Plan plan, byte[] drawn)
      throws IOException {
    try (Progress progress = new Progress(console, "classifier", plan.classifier.steps());
        Classifier classifier =
            Classifier.open(
                device,
                plan.training,
                plan.test,
                plan.classifier,
                NativeFiles.cacheRoot().resolve("classifiers"),
                console::say,
                done -> progress.update(done, ""))) {
      return UsageException.ifRefused(() ->
          Metrics.ofHalves(
              classifier.features(plan.test),
              classifier.features(drawn, plan.images),
              classifier.hash()));
    }
  }

  private static void put(Map<String, Object> all, Set<String> wanted, Metrics metrics) {
    if (wanted.contains("fd")) {
      all.put("classifierFd", metrics.classifierFd());
      all.put("classifierFdFloor", metrics.classifierFdFloor());
    }
    if (wanted.contains("kid")) {
      all.put("kernelDistance", metrics.kernelDistance().mean());
      all.put("kernelDistanceError", metrics.kernelDistance().standardError());
      all.put("kernelDistanceFloor", metrics.kernelDistanceFloor().mean());
      all.put("kernelDistanceFloorError", metrics.kernelDistanceFloor().standardError());
    }
    if (wanted.contains("pr")) {
      all.put("precision", metrics.precisionRecall().precision());
      all.put("precisionOfReal", metrics.precisionRecallOfReal().precision());
      all.put("recall", metrics.precisionRecall().recall());
      all.put("recallOfReal", metrics.precisionRecallOfReal().recall());
    }
    all.put("imagesOfEachKind", metrics.images());
    all.put("classifier", metrics.classifier());
  }

  /** A row for each image: itself, and the nearest training images. */
  private void sheet(byte[] drawn, int rows, Dataset training, Model.ImageShape shape)
      throws IOException {
    int size = shape.dimensions();
    int neighbours = Math.min(NEIGHBOURS, training.count());
    byte[] first = Arrays.copyOf(drawn, rows * size);
    NearestImages found = NearestImages.byPixels(first, rows, training, neighbours);
    int columns = neighbours + 1;
    byte[] all = new byte[rows * columns * size];
    for (int row = 0; row < rows; row++) {
      System.arraycopy(drawn, row * size, all, row * columns * size, size);
      for (int k = 0; k < neighbours; k++) {
        training.image(found.index(row, k), all, (row * columns + k + 1) * size);
      }
    }
    ImageFiles.grid(nearest, all, rows * columns, shape, columns);
  }
}
