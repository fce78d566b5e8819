package dev.gatun.models.features;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import java.util.List;
import org.junit.jupiter.api.Test;

class FineTuningTest extends WithDevice {
  private static final TinyEncoder MODEL = new TinyEncoder(6);
  private static final Dataset LABELLED = TinyEncoder.squares(60, 1);
  private static final Dataset TEST = TinyEncoder.squares(150, 2);

  private FineTuning.Result run(Parameters weights, int steps) {
    FineTuning.Settings settings = new FineTuning.Settings(20, steps, 1e-2);
    return FineTuning.run(
        device, MODEL, weights, LABELLED, TEST, settings, DType.F32, 5, step -> {});
  }

  @Test
  void theLossFallsAndTheClassesAreLearned() {
    FineTuning.Result result = run(null, 100);
    assertEquals(100, result.losses().length);
    double first = result.losses()[0];
    double last = result.losses()[99];
    assertTrue(last < first / 10, first + " to " + last); // they can be told apart
    assertTrue(result.accuracy() > 0.95, "accuracy " + result.accuracy());
  }

  /** An encoder of zeros says nothing of an image: all classes are as likely. */
  @Test
  void itBeginsWithTheEncoderThatItIsGiven() {
    try (Parameters zeros = new Parameters(device, MODEL.parameters())) {
      assertEquals(Math.log(3), run(zeros, 1).losses()[0], 1e-6); // f32
    }
    double scratch = run(null, 1).losses()[0];
    assertTrue(Math.abs(Math.log(3) - scratch) > 1e-3, "from scratch it says something");
  }

  @Test
  void theBeginningIsAllThatDiffersFromScratch() {
    EncoderClassifier classifier = new EncoderClassifier(MODEL, 3);
    try (Parameters fresh = new Parameters(device, classifier.parameters());
        Parameters same = new Parameters(device, MODEL.parameters())) {
      fresh.initialize(5);
      for (ParameterSpec spec : MODEL.encoderParameters()) {
        same.get(spec.name()).write(fresh.get(spec.name()).toFloats());
      }
      assertArrayEquals(run(null, 5).losses(), run(same, 5).losses());
    }
  }

  @Test
  void smallSetsHaveSmallBatches() {
    assertEquals(new FineTuning.Settings(10, 300, 1e-3), FineTuning.Settings.of(10));
    assertEquals(new FineTuning.Settings(64, 468, 1e-3), FineTuning.Settings.of(1_000));
    assertEquals(new FineTuning.Settings(64, 3_000, 1e-3), FineTuning.Settings.of(60_000));
  }

  @Test
  void imagesWithoutLabelsAreRefusedInOneLine() {
    Dataset bare = Dataset.of("bare", 8, 8, 1, new byte[64 * 64], null, 0, List.of());
    Exception e =
        assertThrows(
            IllegalArgumentException.class,
            () ->
                FineTuning.run(
                    device,
                    MODEL,
                    null,
                    bare,
                    TEST,
                    FineTuning.Settings.of(64),
                    DType.F32,
                    0,
                    step -> {}));
    assertTrue(e.getMessage().startsWith("bare has no labels: "), e.getMessage());
  }
}
