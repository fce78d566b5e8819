package dev.gatun.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.io.SafetensorsFile;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.models.Condition;
import dev.gatun.models.NormalQuantile;
import dev.gatun.models.train.TrainConfig;
import dev.gatun.models.train.Trainer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DenoisingTrainingTest {
  private static final int SIDE = 8;

  @TempDir static Path folder;
  private static Device device;

  @BeforeAll
  static void open() {
    device = WithDevice.open();
  }

  @AfterAll
  static void close() {
    device.close();
    assertEquals(0, device.allocatedBytes());
  }

  /** Of three classes, each with its part of the image lit, in a colour of its own. */
  private static Dataset data() {
    int count = 24;
    byte[] pixels = new byte[count * SIDE * SIDE * 3];
    int[] labels = new int[count];
    for (int i = 0; i < pixels.length; i++) {
      int n = i / (SIDE * SIDE * 3);
      int x = i / 3 % SIDE;
      labels[n] = n % 3;
      pixels[i] = (byte) (x / 3 == n % 3 && i % 3 == n % 3 ? 200 + n : 30 + n);
    }
    return Dataset.of("lights", SIDE, SIDE, 3, pixels, labels, 3, List.of("a", "b", "c"));
  }

  private static UNet.Config net(double dropout) {
    return new UNet.Config(SIDE, SIDE, 3, 3, 8, "1,2", 1, "none", 8, 4, dropout, true, false);
  }

  private static Ddpm ddpm(Prediction prediction, double dropout) {
    return ddpm(prediction, dropout, false);
  }

  private static Ddpm ddpm(Prediction prediction, double dropout, boolean learned) {
    return new Ddpm(
        new Ddpm.Config(
            net(dropout),
            100,
            NoiseSchedule.Kind.COSINE,
            prediction,
            learned,
            5,
            0.2,
            Condition.GREY));
  }

  private static Edm edm() {
    return new Edm(new Edm.Config(net(0), -1.2, 1.2, Preconditioning.EDM, 0.2, Condition.HALF));
  }

  private static TrainConfig config(int batch) {
    return new TrainConfig(batch, 3e-3, 3, 1, 0.9, 0.99, 1, 0.9, true, DType.F32, 4);
  }

  private static double mean(List<Double> losses, int from, int to) {
    return losses.subList(from, to).stream().mapToDouble(l -> l).average().orElseThrow();
  }

  @Test
  @Tag("cpu") // DevicesAgreeTest holds the others to it
  void theLossFallsWhateverIsPredicted() {
    List<DenoisingModel> models = new ArrayList<>();
    for (Prediction prediction : Prediction.values()) {
      models.add(ddpm(prediction, 0.1));
    }
    models.add(ddpm(Prediction.NOISE, 0, true));
    models.add(edm());
    for (DenoisingModel model : models) {
      try (Trainer trainer = new Trainer(device, model, config(8), data())) {
        List<Double> losses = new ArrayList<>();
        int steps = model instanceof Edm ? 120 : 50; // what EDM weighs most is learned later
        for (int i = 0; i < steps; i++) {
          losses.add(trainer.step());
        }
        double before = mean(losses, 0, 8);
        double after = mean(losses, steps - 8, steps);
        assertTrue(after < 0.75 * before, model.config() + ": " + before + " to " + after);
      }
    }
  }

  /** Noise, times, dropout, withheld labels and flips all go on where they were. */
  @Test
  void aResumedRunEqualsAnUnbrokenOne() throws IOException {
    DenoisingModel model = ddpm(Prediction.NOISE, 0.2);
    List<Double> unbroken = new ArrayList<>();
    List<Double> broken = new ArrayList<>();
    float[] expected;
    try (Trainer trainer = new Trainer(device, model, config(5), data())) {
      for (int i = 0; i < 9; i++) {
        unbroken.add(trainer.step());
      }
      expected = trainer.averagedWeights().flat().toFloats();
    }
    Path saved = folder.resolve("state");
    try (Trainer trainer = new Trainer(device, model, config(5), data())) {
      for (int i = 0; i < 4; i++) {
        broken.add(trainer.step());
      }
      trainer.saveState(saved);
    }
    try (Trainer trainer = new Trainer(device, model, config(5), data())) {
      trainer.loadState(saved);
      for (int i = 4; i < 9; i++) {
        broken.add(trainer.step());
      }
      assertArrayEquals(expected, trainer.averagedWeights().flat().toFloats());
    }
    assertEquals(unbroken, broken);
  }

  /** A shard draws the times and the noise that its images have in the whole batch. */
  @Tag("cpu") // the only device that divides
  @Test
  void shardsTrainAsTheWholeBatchDoes() {
    assumeTrue(Runtime.getRuntime().availableProcessors() > 1, "one core has one lane");
    List<Device> lanes = device.divide(2);
    try (Trainer whole = new Trainer(lanes.getFirst(), edm(), config(9), data());
        Trainer parted = new Trainer(device, edm(), config(9), data())) {
      assertTrue(parted.launches() > 1.5 * whole.launches(), "it is not parted");
      for (int i = 0; i < 8; i++) {
        assertEquals(whole.step(), parted.step(), 1e-5, "step " + i);
      }
    } finally {
      lanes.forEach(Device::close);
    }
  }

  /** The trap: the average is of weights, never of the schedule's tables. */
  @Test
  void theModelsFileHoldsItsWeightsAndNothingElse() throws IOException {
    DenoisingModel model = edm();
    Path file = folder.resolve("model.safetensors");
    try (Trainer trainer = new Trainer(device, model, config(8), data())) {
      trainer.step();
      trainer.saveModel(file);
    }
    try (SafetensorsFile saved = SafetensorsFile.open(file)) {
      assertEquals(
          model.parameters().stream()
              .map(ParameterSpec::name)
              .collect(Collectors.toCollection(TreeSet::new)),
          new TreeSet<>(saved.entries().keySet()));
    }
  }

  @Test
  void logSigmaIsNormalAndTheTargetHasVarianceOne() {
    Preconditioning edm = Preconditioning.EDM;
    float[] table = DenoisingLoss.preconditioned(edm, -1.2, 1.2).table();
    int rows = table.length / 6;
    double mean = 0;
    double square = 0;
    for (int i = 0; i < rows; i++) {
      double sigma = table[6 * i + 1] / table[6 * i];
      mean += Math.log(sigma) / rows;
      square += Math.log(sigma) * Math.log(sigma) / rows;
      assertEquals(Math.log(sigma) / 4, table[6 * i + 4], 1e-5, "what the network is told");
      double c = table[6 * i + 2];
      double d = table[6 * i + 3];
      assertEquals(1, c * c * 0.25 + d * d, 1e-5, "of images with deviation 0.5");
      // what is said of x is what makes D of it: skip x + output target = p
      double x = edm.skip(sigma);
      assertEquals(1, x + edm.output(sigma) * c, 1e-5);
      assertEquals(0, x * sigma + edm.output(sigma) * d, 1e-5 * Math.max(1, sigma));
      assertEquals(1, table[6 * i + 5]);
    }
    assertEquals(-1.2, mean, 1e-5);
    // the tails beyond the outermost of the equal shares are cut off
    assertEquals(1.2, Math.sqrt(square - mean * mean), 2e-3);
  }

  @Test
  void quantilesAreThoseOfTables() {
    double[][] known = {
      {0.5, 0}, {0.975, 1.959963984540054}, {0.01, -2.326347874040841}, {1e-4, -3.719016485455709}
    };
    for (double[] pair : known) {
      assertEquals(pair[1], NormalQuantile.of(pair[0]), 1e-8);
    }
  }
}
