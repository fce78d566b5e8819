package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;

import dev.gatun.engine.io.Image;
import dev.gatun.engine.io.Images;
import dev.gatun.models.features.FewLabels;
import dev.gatun.models.features.FewLabels.Method;
import java.io.IOException;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FewLabelsChartTest {
  @TempDir Path folder;

  private static FewLabels.Row row(int labels) {
    Map<Method, Double> accuracy = new EnumMap<>(Method.class);
    for (Method method : Method.values()) {
      accuracy.put(method, 0.5 + 0.05 * method.ordinal() + 0.02 * Math.log10(labels));
    }
    return new FewLabels.Row(labels, accuracy);
  }

  /** One number of labels is a point a method; rows may come in any order. */
  @Test
  void numbersOfLabelsAreDrawnHoweverMany() throws IOException {
    for (List<FewLabels.Row> rows :
        List.of(List.of(row(60_000)), List.of(row(60_000), row(100), row(1_000)))) {
      Path png = folder.resolve(rows.size() + ".png");
      FewLabelsChart.write(png, new FewLabels(rows), "an encoder");
      Image image = Images.read(png);
      assertEquals(900, image.width());
      assertEquals(500, image.height());
    }
  }
}
