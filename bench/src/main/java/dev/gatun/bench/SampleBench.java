package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.Sampler;
import dev.gatun.models.pixelcnn.CachedSampler;
import dev.gatun.models.pixelcnn.FullSampler;
import dev.gatun.models.pixelcnn.PixelModel;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Sampling 64 images, with weights as they are drawn: as fast as trained ones. The cached sampler
 * is held against the time of its library calls alone, and against a sampler that runs the whole
 * network for every pixel.
 */
final class SampleBench {
  private static final int COUNT = 64;
  private static final int ROUNDS = Integer.getInteger("gatun.bench.rounds", 5);
  private static final int FORWARDS = 5;

  /** Before a round counts: until then Java is being compiled. */
  private static final int WARM_UP = 2;

  private SampleBench() {}

  /** A network to sample from. */
  private record Subject(
      String model, Preset preset, ImageShape shape, Map<String, String> overrides, boolean full) {}

  private static final ImageShape GREY = new ImageShape(28, 28, 1);
  private static final ImageShape COLOURED = new ImageShape(32, 32, 3);

  private static final List<Subject> SUBJECTS =
      List.of(
          new Subject(
              "gated-pixelcnn",
              Preset.SMALL,
              GREY,
              Map.of("layers", "15", "filters", "64", "headFilters", "256"),
              true),
          new Subject("pixelcnn", Preset.SMALL, GREY, Map.of(), true),
          new Subject("pixelcnn++", Preset.SMALL, GREY, Map.of(), true),
          new Subject("pixelcnn++", Preset.PAPER, COLOURED, Map.of(), false));

  static List<Map<String, Object>> run(Device device, Console console) {
    List<Map<String, Object>> all = new ArrayList<>();
    for (Subject subject : SUBJECTS) {
      all.add(measure(device, console, subject, device.preferredDType()));
      if (subject == SUBJECTS.getFirst() && device.preferredDType() != DType.F32) {
        all.add(measure(device, console, subject, DType.F32));
      }
    }
    return all;
  }

  private static Map<String, Object> measure(
      Device device, Console console, Subject subject, DType type) {
    PixelModel model =
        (PixelModel)
            Models.setup(subject.model, subject.preset, subject.shape, type, 0, subject.overrides)
                .model();
    Map<String, Object> row = new LinkedHashMap<>();
    row.put("model", subject.model);
    row.put("config", model.config());
    row.put("dtype", type.label());
    row.put("images", COUNT);
    try (Parameters weights = new Parameters(device, model.parameters())) {
      weights.initialize(0);
      row.put("parameters", weights.count());
      cached(device, console, model, weights, type, row);
      if (subject.full) {
        full(device, model, weights, type, row);
      }
    }
    String text =
        String.format(
            Locale.ROOT,
            "%s %s %s: %d images in %.2f s, %.2f times its bare products (%.2f s)",
            subject.model,
            subject.shape,
            type.label(),
            COUNT,
            row.get("seconds"),
            row.get("ratio"),
            row.get("bareSeconds"));
    if (subject.full) {
      text +=
          String.format(
              Locale.ROOT,
              "; by full forwards %.0f s (extrapolated from %d forwards), %.0f times as long",
              row.get("fullSeconds"),
              FORWARDS,
              row.get("fullRatio"));
    }
    console.say(text);
    return row;
  }

  private static void cached(
      Device device,
      Console console,
      PixelModel model,
      Parameters weights,
      DType type,
      Map<String, Object> row) {
    double[] seconds = new double[ROUNDS];
    double[] bare = new double[ROUNDS];
    double[] ratios = new double[ROUNDS];
    int height = model.imageShape().height();
    long total = (long) (ROUNDS + WARM_UP) * COUNT * height;
    try (CachedSampler sampler = new CachedSampler(device, model, weights, type);
        Progress progress = new Progress(console, model.name(), total)) {
      for (int i = -WARM_UP; i < ROUNDS; i++) {
        long before = (long) (i + WARM_UP) * COUNT * height;
        long start = System.nanoTime();
        sampler.sample(
            new Sampler.Request(COUNT, 0, 1), rows -> progress.update(before + rows, ""));
        double one = (System.nanoTime() - start) / 1e9;
        double two = sampler.bareSeconds(COUNT);
        if (i >= 0) {
          seconds[i] = one;
          bare[i] = two;
          ratios[i] = one / two;
        }
      }
    }
    row.put("seconds", ConvBench.median(seconds));
    row.put("bareSeconds", ConvBench.median(bare));
    row.put("ratio", ConvBench.median(ratios));
    row.put("imagesPerSecond", COUNT / ConvBench.median(seconds));
    row.put("allSeconds", seconds);
    row.put("allBareSeconds", bare);
  }

  private static void full(
      Device device, PixelModel model, Parameters weights, DType type, Map<String, Object> row) {
    double[] seconds = new double[FORWARDS];
    byte[] images = new byte[FullSampler.BATCH * model.imageShape().dimensions()];
    try (FullSampler sampler = new FullSampler(device, model, weights, type)) {
      for (int i = -WARM_UP; i < FORWARDS; i++) {
        long start = System.nanoTime();
        sampler.run(images);
        if (i >= 0) {
          seconds[i] = (System.nanoTime() - start) / 1e9;
        }
      }
    }
    int passes =
        model.imageShape().height() * model.imageShape().width() * model.likelihood().passes();
    double whole = passes * ConvBench.median(seconds);
    row.put("forwardSeconds", ConvBench.median(seconds));
    row.put("fullSeconds", whole);
    row.put("fullSecondsAre", "extrapolated from " + FORWARDS + " forwards");
    row.put("fullRatio", whole / (double) row.get("seconds"));
  }
}
