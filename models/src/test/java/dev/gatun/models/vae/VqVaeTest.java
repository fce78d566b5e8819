package dev.gatun.models.vae;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.Philox;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.train.TrainConfig;
import dev.gatun.models.train.Trainer;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class VqVaeTest {
  private static final int SIDE = 8;
  private static Device device;

  @BeforeAll
  static void open() {
    device = Devices.open("cpu");
  }

  @AfterAll
  static void close() {
    device.close();
  }

  /** Four kinds of images, with a little noise. */
  private static Dataset tiles(int count) {
    Philox philox = new Philox(2);
    byte[] pixels = new byte[count * SIDE * SIDE];
    for (int n = 0; n < count; n++) {
      int kind = philox.below(4, Philox.Stream.TEST, 0, n);
      for (int i = 0; i < SIDE * SIDE; i++) {
        int y = i / SIDE;
        int x = i % SIDE;
        boolean bright =
            switch (kind) {
              case 0 -> y < 4;
              case 1 -> x < 4;
              case 2 -> (x + y) % 2 == 0;
              default -> true;
            };
        int noise = philox.below(20, Philox.Stream.TEST, 1 + n, i);
        pixels[n * SIDE * SIDE + i] = (byte) (bright ? 200 + noise : 20 + noise);
      }
    }
    return Dataset.of("tiles", SIDE, SIDE, 1, pixels, null, 0, List.of());
  }

  private static VqVae model() {
    return (VqVae)
        Models.setup(
                "vq-vae", Preset.TINY, new Model.ImageShape(SIDE, SIDE, 1), DType.F32, 3, Map.of())
            .model();
  }

  private static TrainConfig config() {
    return new TrainConfig(32, 3e-3, 10, 1, 0.9, 0.999, 1e4, 0.9, false, DType.F32, 3);
  }

  private static float[] state(Parameters weights) {
    return weights.get("codebook.state").toFloats();
  }

  /** The codebook moves, by the counts and sums of the batch alone. */
  @Test
  void theCodebookFollowsTheEncoder() {
    try (Trainer trainer = new Trainer(device, model(), config(), tiles(64))) {
      float[] first = state(trainer.averagedWeights());
      for (int i = 0; i < 40; i++) {
        trainer.step();
      }
      float[] then = state(trainer.averagedWeights());
      int columns = model().config().codeChannels() + 1;
      double total = 0;
      int used = 0;
      for (int k = 0; k < model().config().codes(); k++) {
        double count = then[(k + 1) * columns - 1];
        assertTrue(count >= 0, "a count of " + count);
        total += count;
        used += count > 1 ? 1 : 0;
      }
      assertNotEquals(first[0], then[0]);
      // counts tend to those of a batch, 32 images of 4 places, from 8 of 1
      assertTrue(total > 30 && total < 129, "counts of " + total);
      assertTrue(used >= 2, used + " codes are used");
    }
  }

  /** Statistics are no parameters of Adam's, and yet of every checkpoint. */
  @Test
  void aResumedRunEqualsAnUnbrokenOne(@TempDir Path folder) throws Exception {
    Dataset data = tiles(64);
    float[] unbroken;
    try (Trainer trainer = new Trainer(device, model(), config(), data)) {
      for (int i = 0; i < 12; i++) {
        trainer.step();
        if (i == 5) {
          trainer.saveState(folder.resolve("state"));
        }
      }
      unbroken = trainer.averagedWeights().flat().toFloats();
    }
    try (Trainer trainer = new Trainer(device, model(), config(), data)) {
      trainer.loadState(folder.resolve("state"));
      for (int i = 6; i < 12; i++) {
        trainer.step();
      }
      assertArrayEquals(unbroken, trainer.averagedWeights().flat().toFloats());
    }
  }

  /** A trap: bits a dimension come from a likelihood of the image and one of its codes. */
  @Test
  void theBoundIsOfTheImageAndOfItsCodes() {
    Dataset data = tiles(64);
    VqVae model = model();
    try (Trainer trainer = new Trainer(device, model, config(), data)) {
      for (int i = 0; i < 300; i++) {
        trainer.step();
      }
      try (ImportanceEvaluator evaluator =
          new ImportanceEvaluator(device, model, trainer.averagedWeights(), DType.F32, 1, 0)) {
        ImportanceEvaluator.Score score = evaluator.score(data, 64, n -> {});
        // each pixel is one of 20 equal levels: no model can say less than log2 20 = 4.32 bits
        assertTrue(score.unit() > Math.log(20) / Math.log(2), score.unit() + " bits/dim");
        assertTrue(score.unit() < 7, score.unit() + " bits/dim: no better than knowing nothing");
        assertEquals(score.nats(), score.unit() * 64 * Math.log(2), 1e-6 * score.nats());
      }
    }
  }
}
