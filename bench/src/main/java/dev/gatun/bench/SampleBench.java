package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.pixelcnn.Sampler;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Sampling 64 images of 28x28 from the small gated PixelCNN, untrained: as fast as a trained one.
 */
final class SampleBench {
  private static final int COUNT = 64;
  private static final int SIDE = 28;

  /** Of the sampler that is used; the others are there for comparison and take minutes. */
  private static final int ROUNDS = 3;

  private SampleBench() {}

  static List<Map<String, Object>> run(Device device, Console console) {
    DType type = device.preferredDType();
    Model model =
        Models.setup(
                "gated-pixelcnn", Preset.SMALL, new ImageShape(SIDE, SIDE, 1), type, 0, Map.of())
            .model();
    List<Map<String, Object>> all = new ArrayList<>();
    try (Parameters weights = new Parameters(device, model.parameters())) {
      weights.initialize(0);
      for (String name : Models.samplers(model)) {
        all.add(measure(device, console, model, weights, type, name));
      }
    }
    return all;
  }

  private static Map<String, Object> measure(
      Device device, Console console, Model model, Parameters weights, DType type, String name) {
    int rounds = name.equals(Models.samplers(model).getFirst()) ? ROUNDS : 1;
    double[] seconds = new double[rounds];
    try (Sampler sampler = Models.sampler(name, device, model, weights, type);
        Progress progress = new Progress(console, name, (long) rounds * SIDE)) {
      for (int i = 0; i < rounds; i++) {
        int round = i;
        long start = System.nanoTime();
        sampler.sample(COUNT, i, 1, rows -> progress.update(round * SIDE + rows, ""));
        seconds[i] = (System.nanoTime() - start) / 1e9;
      }
    }
    double median = ConvBench.median(seconds);
    Map<String, Object> row = new LinkedHashMap<>();
    row.put("sampler", name);
    row.put("dtype", type.label());
    row.put("images", COUNT);
    row.put("seconds", median);
    row.put("imagesPerSecond", COUNT / median);
    console.say(
        String.format(
            Locale.ROOT, "%s: %d images in %.2f s, %s", name, COUNT, median, type.label()));
    return row;
  }
}
