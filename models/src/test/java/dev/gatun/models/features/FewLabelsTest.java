package dev.gatun.models.features;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.features.FewLabels.Method;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class FewLabelsTest extends WithDevice {
  private static final TinyEncoder MODEL = new TinyEncoder(24);
  private static final Dataset TRAIN = TinyEncoder.squares(240, 1);
  private static final Dataset TEST = TinyEncoder.squares(90, 2);

  private FewLabels run(Parameters weights, Dataset test, List<Integer> labels, List<String> log) {
    return FewLabels.run(device, MODEL, weights, DType.F32, TRAIN, test, labels, 0, log::add);
  }

  /**
   * Squares are found by any method; but an encoder of zeros finds none, and stays one, since its
   * units have no slope.
   */
  @Test
  void everyMethodIsMeasuredWithEveryNumberOfLabels() {
    List<String> log = new ArrayList<>();
    try (Parameters weights = new Parameters(device, MODEL.parameters())) {
      weights.initialize(2);
      FewLabels few = run(weights, TEST, List.of(60, 240), log);
      assertEquals(7, log.size(), log.toString());
      assertEquals(List.of(60, 240), few.rows().stream().map(FewLabels.Row::labels).toList());
      for (FewLabels.Row row : few.rows()) {
        assertEquals(Method.values().length, row.accuracy().size());
        row.accuracy()
            .forEach((method, accuracy) ->
                assertTrue(accuracy > 0.8 && accuracy <= 1, method + ", " + row));
      }
    }
    try (Parameters zeros = new Parameters(device, MODEL.parameters())) {
      FewLabels.Row row = run(zeros, TEST, List.of(60), log).rows().getFirst();
      assertEquals(1 / 3.0, row.accuracy().get(Method.ENCODER), 1e-12, "always the same class");
      assertEquals(1 / 3.0, row.accuracy().get(Method.FINE_TUNED), 1e-12);
      assertTrue(row.accuracy().get(Method.SCRATCH) > 0.8, row.toString());
      assertTrue(row.accuracy().get(Method.PCA) > 0.9, row.toString());
    }
  }

  @Test
  void whatCannotBeIsRefusedInOneLine() {
    try (Parameters weights = new Parameters(device, MODEL.parameters())) {
      Exception e =
          assertThrows(
              IllegalArgumentException.class,
              () -> run(weights, TEST, List.of(241), new ArrayList<>()));
      assertEquals(
          "241 labels of the 240 images of squares: ask for fewer, or for all", e.getMessage());
      e =
          assertThrows(
              IllegalArgumentException.class,
              () -> run(weights, TEST, List.of(4), new ArrayList<>()));
      assertEquals("4 labels: ask for 5 or more", e.getMessage());
      Dataset two = Dataset.of("two", 8, 8, 1, new byte[128], new int[] {0, 1}, 2, List.of());
      e =
          assertThrows(
              IllegalArgumentException.class,
              () -> run(weights, two, List.of(60), new ArrayList<>()));
      assertEquals("squares has 3 classes, two 2: use two parts of one data set", e.getMessage());
    }
  }
}
