package dev.gatun.models.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.data.Dataset;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Every model learns: as its preset has it, from labels, and in bf16 as well as in f32. */
class TrainingTest extends WithDevice {
  /** Smooth images: a wave of some direction and phase for each colour, with a little noise. */
  private static Dataset waves(int side, int channels, int count) {
    Random random = new Random(2);
    byte[] pixels = new byte[count * side * side * channels];
    int at = 0;
    for (int n = 0; n < count; n++) {
      double dx = random.nextGaussian() * 0.4;
      double dy = random.nextGaussian() * 0.4;
      double phase = 2 * Math.PI * random.nextDouble();
      for (int y = 0; y < side; y++) {
        for (int x = 0; x < side; x++) {
          for (int c = 0; c < channels; c++) {
            double wave = Math.sin(dx * x + dy * y + phase + 0.3 * c);
            double value = 128 + 60 * wave + 4 * random.nextGaussian();
            pixels[at++] = (byte) (int) Math.max(0, Math.min(255, value));
          }
        }
      }
    }
    return Dataset.of("waves", side, side, channels, pixels, null, 0, List.of());
  }

  /** Each class has a brightness of its own, which one pixel alone does not give away. */
  private static Dataset shades(int channels, int count) {
    Random random = new Random(3);
    byte[] pixels = new byte[count * 4 * channels];
    int[] labels = new int[count];
    for (int n = 0; n < count; n++) {
      labels[n] = n % 4;
      for (int i = 0; i < 4 * channels; i++) {
        double value = 40 + 55 * labels[n] + 8 * random.nextGaussian();
        pixels[n * 4 * channels + i] = (byte) (int) Math.max(0, Math.min(255, value));
      }
    }
    return Dataset.of("shades", 2, 2, channels, pixels, labels, 4, List.of());
  }

  private double trained(
      String name, Dataset data, int classes, DType dtype, int steps, Map<String, String> keys) {
    ImageShape shape = new ImageShape(data.height(), data.width(), data.channels());
    Models.Setup setup = Models.setup(name, Preset.TINY, shape, classes, dtype, 1, keys);
    try (Trainer trainer = new Trainer(device, setup.model(), setup.training(), data)) {
      for (int i = 0; i < steps; i++) {
        trainer.step();
      }
      try (Evaluator evaluator =
          new Evaluator(device, setup.model(), trainer.averagedWeights(), dtype)) {
        return evaluator.score(data, data.count(), n -> {}).bitsPerDim();
      }
    }
  }

  /** A test of each model on grey and on coloured images. */
  @Retention(RetentionPolicy.RUNTIME)
  @ParameterizedTest
  @CsvSource({
    "pixelcnn,1",
    "pixelcnn,3",
    "gated-pixelcnn,1",
    "gated-pixelcnn,3",
    "pixelcnn++,1",
    "pixelcnn++,3"
  })
  private @interface EachModel {}

  @EachModel
  void theTinyPresetLearns(String name, int channels) {
    Dataset data = waves(8, channels, 64);
    double before = trained(name, data, 0, DType.F32, 0, Map.of());
    double after = trained(name, data, 0, DType.F32, 40, Map.of());
    System.out.println(name + " " + channels + ": " + before + " to " + after + " bits/dim");
    assertTrue(after < before - 0.2, before + " to " + after + " bits/dim");
  }

  @Tag("cpu") // DevicesAgreeTest holds the others to it, with labels
  @EachModel
  void labelsHelp(String name, int channels) {
    Dataset data = shades(channels, 64);
    Map<String, String> keys = Map.of("learningRate", "0.01");
    double without = trained(name, data, 0, DType.F32, 80, keys);
    double with = trained(name, data, 4, DType.F32, 80, keys);
    System.out.println(name + " " + channels + ": " + without + ", given labels " + with);
    assertTrue(with < without - 0.1, without + ", given labels " + with + " bits/dim");
  }

  /** After as many steps, each scored as it was trained. */
  @ParameterizedTest
  @ValueSource(strings = {"pixelcnn", "gated-pixelcnn", "pixelcnn++"})
  void bf16LearnsAsF32Does(String name) {
    Assumptions.assumeTrue(device.refuses(DType.BF16) == null, () -> device.refuses(DType.BF16));
    Dataset data = waves(8, 3, 64);
    double[] bits = new double[2];
    Arrays.setAll(bits, i -> trained(name, data, 0, i == 0 ? DType.F32 : DType.BF16, 20, Map.of()));
    System.out.println(name + ": f32 " + bits[0] + ", bf16 " + bits[1] + " bits/dim");
    assertEquals(bits[0], bits[1], 0.005 * bits[0]);
  }
}
