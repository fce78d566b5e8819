package dev.gatun.models.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.io.FormatException;
import dev.gatun.engine.io.Safetensors;
import dev.gatun.engine.io.SafetensorsEntry;
import dev.gatun.engine.io.SafetensorsFile;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Models;
import dev.gatun.models.pixelcnn.GatedPixelCnn;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TrainerTest extends WithDevice {
  private static final int SIZE = 6;
  private static final int LEVELS = 4;

  @TempDir Path folder;

  private static GatedPixelCnn model(int filters, int layers) {
    return new GatedPixelCnn(
        new GatedPixelCnn.Config(SIZE, SIZE, 1, LEVELS, 0, filters, layers, 3, 3, 8));
  }

  /** Diagonal stripes with some noise: easy to learn, not trivial. */
  private static Dataset data(int count) {
    byte[] pixels = new byte[count * SIZE * SIZE];
    Random random = new Random(1);
    for (int i = 0; i < pixels.length; i++) {
      int image = i / (SIZE * SIZE);
      int stripe = (i / SIZE % SIZE + i % SIZE + image) % LEVELS;
      pixels[i] = (byte) (random.nextInt(10) == 0 ? random.nextInt(LEVELS) : stripe);
    }
    return Dataset.of("stripes", SIZE, SIZE, 1, pixels, null, 0, List.of());
  }

  private static TrainConfig config(double learningRate, long seed) {
    return config(learningRate, seed, DType.F32);
  }

  private static TrainConfig config(double learningRate, long seed, DType dtype) {
    return new TrainConfig(8, learningRate, 5, 0.999, 0.9, 0.99, 1, 0.9, false, dtype, seed);
  }

  private Trainer trainer(double learningRate, long seed) {
    return new Trainer(device, model(8, 2), config(learningRate, seed), data(44));
  }

  private static byte[] state(Trainer trainer, Path file) throws IOException {
    trainer.saveState(file);
    return Files.readAllBytes(file);
  }

  private static Map<String, SafetensorsEntry> entries(Path file) throws IOException {
    try (SafetensorsFile open = SafetensorsFile.open(file)) {
      Map<String, SafetensorsEntry> copies = new java.util.LinkedHashMap<>();
      open.entries()
          .forEach((name, e) ->
              copies.put(
                  name,
                  new SafetensorsEntry(
                      name,
                      e.dtype(),
                      e.shape(),
                      MemorySegment.ofArray(e.data().toArray(ValueLayout.JAVA_BYTE)))));
      return copies;
    }
  }

  @Test
  void theLossFalls() {
    try (Trainer trainer = trainer(0.02, 1)) {
      double first = trainer.step();
      double last = 0;
      for (int i = 0; i < 80; i++) {
        last = trainer.step();
      }
      assertEquals(
          Math.log(LEVELS) / Math.log(2), first, 0.5, "untrained: near log2 of the levels");
      assertTrue(last < 0.7 * first, first + " to " + last + " bits/dim");
      assertEquals(81, trainer.steps());
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"f32", "bf16"})
  void aResumedRunEqualsAnUnbrokenOne(String dtype) throws IOException {
    DType type = DType.fromLabel(dtype);
    org.junit.jupiter.api.Assumptions.assumeTrue(
        device.refuses(type) == null, () -> device.refuses(type));
    TrainConfig config = config(0.01, 3, type);
    List<Double> unbroken = new ArrayList<>();
    List<Double> broken = new ArrayList<>();
    byte[] expected;
    // 44 images in batches of 8 are five steps an epoch: the break is amid the second one
    try (Trainer trainer = new Trainer(device, model(8, 2), config, data(44))) {
      for (int i = 0; i < 17; i++) {
        unbroken.add(trainer.step());
      }
      expected = state(trainer, folder.resolve("unbroken"));
    }
    Path saved = folder.resolve("state");
    try (Trainer trainer = new Trainer(device, model(8, 2), config, data(44))) {
      for (int i = 0; i < 7; i++) {
        broken.add(trainer.step());
      }
      trainer.saveState(saved);
      trainer.step();
    }
    try (Trainer trainer = new Trainer(device, model(8, 2), config, data(44))) {
      trainer.step(); // what came before a load does not matter
      trainer.loadState(saved);
      assertEquals(7, trainer.steps());
      for (int i = 7; i < 17; i++) {
        broken.add(trainer.step());
      }
      assertEquals(unbroken, broken);
      assertArrayEquals(expected, state(trainer, folder.resolve("resumed")));
    }
  }

  @Test
  void seedsDecideEverything() throws IOException {
    byte[][] states = new byte[3][];
    for (int i = 0; i < 3; i++) {
      try (Trainer trainer = trainer(0.01, i / 2)) {
        for (int k = 0; k < 6; k++) {
          trainer.step();
        }
        states[i] = state(trainer, folder.resolve("state" + i));
      }
    }
    assertArrayEquals(states[0], states[1]);
    assertFalse(Arrays.equals(states[0], states[2]));
  }

  /** The exponential average of the weights, and of the weights alone, is what is saved. */
  @Test
  void theModelThatIsSavedHoldsTheAveragedWeights() throws IOException {
    Path model = folder.resolve("model.safetensors");
    Path state = folder.resolve("state.safetensors");
    try (Trainer trainer = trainer(0.02, 1)) {
      double[] average = null;
      String name = "layers.0.vertical.weight";
      for (int t = 0; t <= 12; t++) {
        if (t > 0) {
          trainer.step();
        }
        trainer.saveState(state);
        float[] w =
            entries(state).get("weights." + name).data().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
        if (average == null) {
          average = new double[w.length];
        }
        double decay = t == 0 ? 0 : Math.min(0.9, t / (t + 10.0));
        for (int i = 0; i < w.length; i++) {
          average[i] = decay * average[i] + (1 - decay) * w[i];
        }
      }
      trainer.saveModel(model);
      Map<String, SafetensorsEntry> saved = entries(model);
      Map<String, SafetensorsEntry> all = entries(state);
      assertEquals(
          trainer.model().parameters().stream().map(s -> s.name()).toList(),
          List.copyOf(saved.keySet()));
      saved.forEach((key, entry) ->
          assertEquals(-1, entry.data().mismatch(all.get("ema." + key).data()), key));
      float[] ema = saved.get(name).data().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
      float[] used = trainer.averagedWeights().get(name).toFloats();
      assertArrayEquals(used, ema);
      boolean differs = false;
      float[] w = all.get("weights." + name).data().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED);
      for (int i = 0; i < ema.length; i++) {
        assertEquals(average[i], ema[i], 1e-5);
        differs |= Math.abs(w[i] - ema[i]) > 1e-4;
      }
      assertTrue(differs, "the average is no average");
    }
  }

  @Test
  void aTrainingMayBeginWithWeightsFromElsewhere() {
    try (Trainer first = trainer(0.02, 1);
        Trainer second = trainer(0.02, 2)) {
      for (int i = 0; i < 20; i++) {
        first.step();
      }
      second.startFrom(first.averagedWeights());
      assertArrayEquals(
          first.averagedWeights().flat().toFloats(), second.averagedWeights().flat().toFloats());
      double loss = second.step();
      try (Trainer fresh = trainer(0.02, 2)) {
        assertTrue(loss < 0.8 * fresh.step(), "loss " + loss);
      }
      assertThrows(IllegalStateException.class, () -> second.startFrom(first.averagedWeights()));
    }
  }

  @Test
  void aLossThatIsNoNumberNamesTheStep() {
    try (Trainer trainer = trainer(1e30, 1)) {
      DivergedException e =
          assertThrows(
              DivergedException.class,
              () -> {
                for (int i = 0; i < 20; i++) {
                  trainer.step();
                }
              });
      assertEquals(trainer.steps(), e.step());
      assertTrue(e.step() > 1 && e.step() < 20, e.getMessage());
      assertTrue(e.getMessage().contains("at step " + e.step()), e.getMessage());
      assertEquals(1, e.getMessage().lines().count());
    }
  }

  /**
   * A step may end in weights that are no numbers while its own loss was one: the loss was that of
   * the weights before. Such weights must not take the place of the last good checkpoint.
   */
  @Test
  void weightsThatAreNoNumbersAreNotSavedOverGoodOnes() throws IOException {
    Path model = folder.resolve("model.safetensors");
    Path state = folder.resolve("state.safetensors");
    // the rate is infinite in f32, so the first update is
    try (Trainer trainer = trainer(1e40, 1)) {
      trainer.saveModel(model);
      trainer.saveState(state);
      try {
        trainer.step();
        trainer.saveModel(model);
        trainer.saveState(state);
      } catch (RuntimeException | IOException e) {
        // refusing any of the three is right
      }
    }
    for (Path file : List.of(model, state)) {
      entries(file)
          .forEach((name, entry) -> {
            if (entry.dtype() == DType.F32) {
              for (float v : entry.data().toArray(ValueLayout.JAVA_FLOAT_UNALIGNED)) {
                assertTrue(Float.isFinite(v), name + " holds " + v);
              }
            }
          });
    }
  }

  private static String refusal(org.junit.jupiter.api.function.Executable executable) {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, executable);
    assertEquals(1, e.getMessage().lines().count(), e.getMessage());
    return e.getMessage();
  }

  @Test
  void dataThatDoesNotFitTheModelIsRefusedInOneLine() {
    Dataset colour = Dataset.of("emoji", SIZE, SIZE, 3, new byte[108 * 9], null, 0, List.of());
    String message =
        refusal(() -> new Trainer(device, model(8, 2), config(0.1, 1), colour).close());
    assertTrue(
        message.contains("emoji") && message.contains("6x6x3") && message.contains("6x6x1"),
        message);
    Dataset large = Dataset.of("large", 7, SIZE, 1, new byte[42 * 9], null, 0, List.of());
    message = refusal(() -> new Trainer(device, model(8, 2), config(0.1, 1), large).close());
    assertTrue(message.contains("7x6x1"), message);
    message = refusal(() -> new Trainer(device, model(8, 2), config(0.1, 1), data(7)).close());
    assertTrue(message.contains("batch of 8") && message.contains("7"), message);
  }

  @Test
  void pixelsAboveTheModelsLevelsAreRefusedInOneLine() {
    byte[] pixels = new byte[8 * SIZE * SIZE];
    pixels[77] = LEVELS;
    Dataset bright = Dataset.of("bright", SIZE, SIZE, 1, pixels, null, 0, List.of());
    String message =
        refusal(() -> {
          try (Trainer trainer = new Trainer(device, model(8, 2), config(0.1, 1), bright)) {
            trainer.step();
          }
        });
    assertTrue(message.contains("4"), message);
  }

  private void assertRefused(Trainer trainer, Path file, String... words) throws IOException {
    byte[] before = state(trainer, folder.resolve("before"));
    FormatException e = assertThrows(FormatException.class, () -> trainer.loadState(file));
    for (String word : words) {
      assertTrue(e.getMessage().contains(word), e.getMessage());
    }
    assertEquals(1, e.getMessage().lines().count(), e.getMessage());
    assertArrayEquals(before, state(trainer, folder.resolve("after")));
  }

  @Test
  void aStateOfAnotherModelOrConfigurationIsRefusedAndNothingChanges() throws IOException {
    Path saved = folder.resolve("state");
    try (Trainer trainer = trainer(0.01, 1)) {
      trainer.step();
      trainer.saveState(saved);
    }
    Path model = folder.resolve("model");
    try (Trainer wider = new Trainer(device, model(9, 2), config(0.01, 2), data(8));
        Trainer deeper = new Trainer(device, model(8, 3), config(0.01, 2), data(8));
        Trainer shallower = new Trainer(device, model(8, 1), config(0.01, 2), data(8));
        Trainer same = new Trainer(device, model(8, 2), config(0.01, 2), data(8))) {
      same.step();
      assertRefused(wider, saved, "'weights.layers.0.vertical.weight'", "16", "18");
      assertRefused(deeper, saved, "layers.2");
      same.saveModel(model);
      assertRefused(same, model, "optimizer_step");
      List<SafetensorsEntry> all = new ArrayList<>(entries(saved).values());
      Safetensors.write(model, Map.of("model", "made", "steps", "3"), all);
      assertRefused(same, model, "not a training state of gated-pixelcnn");
      Safetensors.write(model, Map.of("model", "gated-pixelcnn", "steps", "-3"), all);
      assertRefused(same, model, "not a training state");
      Safetensors.write(model, Map.of("model", "gated-pixelcnn"), all);
      assertRefused(same, model, "not a training state");
      // one tensor of the last group is missing: nothing of the others may have been taken
      all.removeIf(e -> e.name().equals("ema.head.1.bias"));
      Safetensors.write(model, Map.of("model", "gated-pixelcnn", "steps", "3"), all);
      assertRefused(same, model, "'ema.head.1.bias'");
      // everything a model of one layer needs is in there, and more
      assertRefused(shallower, saved, "layers.1");
    }
  }

  @Test
  void aDamagedStateIsRefusedAndNothingChanges() throws IOException {
    try (Trainer trainer = trainer(0.01, 1)) {
      Path saved = folder.resolve("state");
      byte[] bytes = state(trainer, saved);
      trainer.step();
      for (int length : new int[] {0, 7, 100, bytes.length / 2, bytes.length - 1}) {
        Files.write(saved, Arrays.copyOf(bytes, length));
        assertRefused(trainer, saved, "state");
      }
    }
  }

  @Test
  void stepsAllocateNothing() {
    try (Trainer trainer = trainer(0.01, 1)) {
      trainer.step();
      long bytes = device.allocatedBytes();
      for (int i = 0; i < 60; i++) {
        trainer.step();
      }
      assertEquals(bytes, device.allocatedBytes());
      assertTrue(trainer.arenaBytes() > 0 && trainer.launches() > 20);
    }
  }

  /** Shards of 4 and 5 images, with their labels, against all 9 on one lane. */
  @Tag("cpu") // the only device that divides
  @Test
  void shardsTrainAsTheWholeBatchDoes() {
    assumeTrue(Runtime.getRuntime().availableProcessors() > 1, "one core has one lane");
    Dataset plain = data(44);
    int[] labels = IntStream.range(0, 44).map(i -> i % 3).toArray();
    byte[] pixels = plain.images(IntStream.range(0, 44).toArray());
    Dataset data = Dataset.of("stripes", SIZE, SIZE, 1, pixels, labels, 3, List.of("a", "b", "c"));
    GatedPixelCnn model =
        new GatedPixelCnn(new GatedPixelCnn.Config(SIZE, SIZE, 1, LEVELS, 3, 8, 2, 3, 3, 8));
    TrainConfig config = new TrainConfig(9, 1e-3, 0, 1, 0.9, 0.99, 1, 0.9, false, DType.F32, 5);
    List<Device> lanes = device.divide(2);
    try (Trainer whole = new Trainer(lanes.getFirst(), model, config, data);
        Trainer parted = new Trainer(device, model, config, data)) {
      assertTrue(parted.launches() > 1.5 * whole.launches(), "it is not parted");
      for (int i = 0; i < 12; i++) {
        assertEquals(whole.step(), parted.step(), 1e-5, "step " + i);
      }
    } finally {
      lanes.forEach(Device::close);
    }
  }

  /** On images that are all the same, where nothing but what is dropped tells shards apart. */
  @Tag("cpu") // the only device that divides
  @ParameterizedTest
  @ValueSource(doubles = {0, 0.5})
  void shardsDropEachTheirOwn(double dropout) {
    assumeTrue(Runtime.getRuntime().availableProcessors() > 1, "one core has one lane");
    Dataset same = Dataset.of("same", 8, 8, 1, new byte[8 * 64], null, 0, List.of());
    Model.ImageShape shape = new Model.ImageShape(8, 8, 1);
    List<Device> lanes = device.divide(2);
    double[] losses = new double[2];
    try {
      for (int i = 0; i < 2; i++) {
        Map<String, String> keys = Map.of("dropout", "" + dropout, "batch", i == 0 ? "8" : "4");
        Models.Setup setup =
            Models.setup("pixelcnn++", Models.Preset.TINY, shape, 0, DType.F32, 1, keys);
        try (Trainer trainer =
            new Trainer(
                i == 0 ? device : lanes.getFirst(), setup.model(), setup.training(), same)) {
          losses[i] = trainer.step();
        }
      }
    } finally {
      lanes.forEach(Device::close);
    }
    // were both shards' masks those of the four images alone, so would be the loss
    assertEquals(dropout == 0, Math.abs(losses[0] - losses[1]) < 1e-5, losses[0] + " " + losses[1]);
  }

  /** Every image is seen once an epoch: with a rate of almost 0 each epoch has the same mean. */
  @Test
  void anEpochSeesEachImageOnce() {
    TrainConfig still = new TrainConfig(4, 1e-12, 0, 1, 0.9, 0.99, 1, 0.9, false, DType.F32, 5);
    try (Trainer trainer = new Trainer(device, model(8, 2), still, data(12))) {
      double[] batches = new double[9];
      for (int i = 0; i < 9; i++) {
        batches[i] = trainer.step();
      }
      for (int epoch = 1; epoch < 3; epoch++) {
        double first = batches[0] + batches[1] + batches[2];
        double sum = batches[3 * epoch] + batches[3 * epoch + 1] + batches[3 * epoch + 2];
        assertEquals(first, sum, 1e-5);
      }
      assertTrue(Math.abs(batches[0] - batches[3]) > 1e-5, "the order never changes");
    }
  }

  @Test
  void theEvaluatorAgreesWithTheTrainerOnTheSameWeights() {
    GatedPixelCnn model = model(8, 2);
    Dataset data = data(70); // one full batch of the evaluator and a part of one
    try (Trainer trainer =
            new Trainer(
                device,
                model,
                new TrainConfig(70, 1e-9, 0, 1, 0.9, 0.99, 1, 0.9, false, DType.F32, 1),
                data);
        Parameters initial = new Parameters(device, model.parameters())) {
      initial.initialize(1);
      try (Evaluator evaluator = new Evaluator(device, model, initial, DType.F32)) {
        List<Integer> told = new ArrayList<>();
        Evaluator.Score all = evaluator.score(data, Integer.MAX_VALUE, told::add);
        assertEquals(trainer.step(), all.bitsPerDim(), 1e-5);
        assertEquals(70, all.images());
        assertEquals(List.of(64, 70), told);
        // the mean over images, whatever batch they were in
        double sum = 0;
        for (int i = 0; i < 70; i++) {
          sum += evaluator.score(data.subset(new int[] {i}), 1, n -> {}).bitsPerDim();
        }
        assertEquals(sum / 70, all.bitsPerDim(), 1e-5);
        assertEquals(3, evaluator.score(data, 3, n -> {}).images());
        Dataset colour = Dataset.of("c", SIZE, SIZE, 3, new byte[108], null, 0, List.of());
        refusal(() -> evaluator.score(colour, 1, n -> {}));
      }
    }
  }

  @Test
  void trainingConfigurationsThatMakeNoSenseAreRefused() {
    double inf = Double.POSITIVE_INFINITY;
    double[][] wrong = {
      {0, 1, 0, 1, 0, 0, 1, 0}, {1, 0, 0, 1, 0, 0, 1, 0}, {1, Double.NaN, 0, 1, 0, 0, 1, 0},
      {1, 1, -1, 1, 0, 0, 1, 0}, {1, 1, 0, 0, 0, 0, 1, 0}, {1, 1, 0, 1.1, 0, 0, 1, 0},
      {1, 1, 0, 1, 1, 0, 1, 0}, {1, 1, 0, 1, 0, -1, 1, 0}, {1, 1, 0, 1, 0, 0, 0, 0},
      {1, 1, 0, 1, 0, 0, 1, 1}, {1, inf, 0, 1, 0, 0, 1, 0}
    };
    for (double[] c : wrong) {
      refusal(() ->
          new TrainConfig(
              (int) c[0], c[1], (int) c[2], c[3], c[4], c[5], c[6], c[7], false, DType.F32, 1));
    }
    new TrainConfig(1, 1, 0, 1, 0, 0, inf, 0, false, DType.F32, 1);
  }
}
