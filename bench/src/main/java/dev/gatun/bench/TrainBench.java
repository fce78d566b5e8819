package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.data.Split;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.train.Trainer;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * Training steps of the small gated PixelCNN on the demo's images: their speed and their memory.
 */
final class TrainBench {
  private static final String MODEL = "gated-pixelcnn";
  private static final int STEPS = Integer.getInteger("gatun.bench.steps", 2000);

  private TrainBench() {}

  static Map<String, Object> run(Device device, Console console) throws IOException {
    Dataset data = data();
    DType type = device.preferredDType();
    Models.Setup setup =
        Models.setup(
            MODEL,
            Preset.SMALL,
            new ImageShape(data.height(), data.width(), data.channels()),
            type,
            0,
            Map.of());
    Map<String, Object> all = new LinkedHashMap<>();
    try (Trainer trainer = new Trainer(device, setup.model(), setup.training(), data);
        Progress progress = new Progress(console, "bench train", STEPS)) {
      List<Map<String, Object>> memory = new ArrayList<>();
      double[] seconds = new double[STEPS - STEPS / 10];
      for (int step = 1; step <= STEPS; step++) {
        long start = System.nanoTime();
        double bits = trainer.step();
        if (step > STEPS / 10) {
          seconds[step - STEPS / 10 - 1] = (System.nanoTime() - start) / 1e9;
        }
        if (step == STEPS / 10 || step == STEPS / 2 || step == STEPS) {
          memory.add(memory(device, step));
        }
        progress.update(step, String.format(Locale.ROOT, "step %d  %.3f bits/dim", step, bits));
      }
      double median = ConvBench.median(seconds);
      int batch = setup.training().batch();
      all.put("model", MODEL);
      all.put("preset", "small");
      all.put("dtype", type.label());
      all.put("batch", batch);
      all.put("parameters", trainer.averagedWeights().count());
      all.put("launches", trainer.launches());
      all.put("arenaBytes", trainer.arenaBytes());
      all.put("stepSeconds", median);
      all.put("imagesPerSecond", batch / median);
      all.put("memory", memory);
      console.say(
          String.format(
              Locale.ROOT,
              "a step %.1f ms (median), %.0f images/s, %s",
              1000 * median,
              batch / median,
              type.label()));
      memory.forEach(m -> console.say("memory " + m));
    }
    return all;
  }

  /** The demo's training images. */
  static Dataset data() throws IOException {
    Path folder = Files.createTempDirectory("gatun-bench");
    try {
      return DataSource.open(DemoData.unpack(folder), Split.TRAIN, DataSource.SPLIT_SEED);
    } finally {
      try (var files = Files.list(folder)) {
        for (Path file : files.toList()) {
          Files.delete(file);
        }
      }
      Files.delete(folder);
    }
  }

  private static Map<String, Object> memory(Device device, int step) throws IOException {
    System.gc();
    Runtime runtime = Runtime.getRuntime();
    Map<String, Object> all = new LinkedHashMap<>();
    all.put("step", step);
    all.put("residentBytes", residentBytes());
    all.put("heapBytes", runtime.totalMemory() - runtime.freeMemory());
    all.put("deviceBytes", device.allocatedBytes());
    return all;
  }

  private static long residentBytes() throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith("VmRSS:")) {
        return 1024 * Long.parseLong(line.replaceAll("\\D", ""));
      }
    }
    throw new IOException("/proc/self/status has no VmRSS");
  }
}
