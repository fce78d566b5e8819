package dev.gatun.bench;

import dev.gatun.models.features.FewLabels;
import dev.gatun.models.features.FewLabels.Method;
import java.awt.Color;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.style.Styler.LegendPosition;

/** Accuracy over the number of labels, a line a method. */
final class FewLabelsChart {
  private FewLabelsChart() {}

  /**
   * Draws the chart.
   *
   * @param title which encoder, of what
   */
  static void write(Path file, FewLabels few, String title) throws IOException {
    XYChart chart =
        new XYChartBuilder()
            .width(900)
            .height(500)
            .title(title)
            .xAxisTitle("labels")
            .yAxisTitle("test accuracy, %")
            .build();
    chart.getStyler().setLegendPosition(LegendPosition.OutsideE);
    chart.getStyler().setChartBackgroundColor(Color.WHITE);
    chart.getStyler().setXAxisLogarithmic(true);
    chart.getStyler().setXAxisDecimalPattern("#,###");
    chart.getStyler().setYAxisDecimalPattern("0");
    List<FewLabels.Row> rows =
        few.rows().stream().sorted(Comparator.comparingInt(FewLabels.Row::labels)).toList();
    double[] labels = rows.stream().mapToDouble(FewLabels.Row::labels).toArray();
    for (Method method : Method.values()) {
      chart.addSeries(
          method.title(),
          labels,
          rows.stream().mapToDouble(row -> 100 * row.accuracy().get(method)).toArray());
    }
    LossChart.save(file, chart);
  }
}
