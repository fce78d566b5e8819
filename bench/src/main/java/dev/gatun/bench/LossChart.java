package dev.gatun.bench;

import dev.gatun.engine.io.AtomicFile;
import dev.gatun.models.Model;
import dev.gatun.models.train.MetricsLog;
import java.awt.Color;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import javax.imageio.ImageIO;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** Curves of training runs. */
final class LossChart {
  private static final int POINTS = 120;

  private LossChart() {}

  /**
   * Draws the curve.
   *
   * @param title what was trained on what
   * @param heldOut the score after training, drawn as a level line
   */
  static void write(Path file, String title, List<MetricsLog.Line> lines, double heldOut)
      throws IOException {
    double[] steps = lines.stream().mapToDouble(MetricsLog.Line::step).toArray();
    XYChart chart = chart(title, "step", lines.getFirst().objective());
    add(
        chart,
        "training batches",
        steps,
        lines.stream().mapToDouble(MetricsLog.Line::loss).toArray());
    double[] ends = {0, steps[steps.length - 1]};
    add(chart, "held-out images, at the end", ends, new double[] {heldOut, heldOut});
    save(file, chart);
  }

  /**
   * Draws the curves of several runs over minutes of training; each point is the mean of the log's
   * lines since the one before.
   *
   * @param runs what each logged, by its name; all of one objective
   */
  static void compare(Path file, Map<String, List<MetricsLog.Line>> runs) throws IOException {
    Model.Objective objective = runs.values().iterator().next().getFirst().objective();
    boolean bitsPerDim = objective == Model.Objective.BITS_PER_DIM;
    XYChart chart = chart(objective.unit() + " of training batches", "minutes", objective);
    double lowest = Double.POSITIVE_INFINITY;
    double last = Double.NEGATIVE_INFINITY;
    for (Map.Entry<String, List<MetricsLog.Line>> run : runs.entrySet()) {
      List<MetricsLog.Line> lines = run.getValue();
      int points = Math.min(POINTS, lines.size());
      double[] minutes = new double[points];
      double[] bits = new double[points];
      for (int i = 0; i < points; i++) {
        int from = (int) ((long) lines.size() * i / points);
        List<MetricsLog.Line> part =
            lines.subList(from, (int) ((long) lines.size() * (i + 1) / points));
        minutes[i] = part.getLast().seconds() / 60;
        bits[i] = part.stream().mapToDouble(MetricsLog.Line::loss).average().orElseThrow();
        lowest = Math.min(lowest, bits[i]);
      }
      last = Math.max(last, bits[points - 1]);
      add(chart, run.getKey(), minutes, bits);
    }
    // the first minutes come from far above; what matters is where the curves end
    chart.getStyler().setYAxisMin(bitsPerDim ? lowest - 0.1 : 0);
    chart.getStyler().setYAxisMax(bitsPerDim ? lowest + 1 : 3 * last);
    save(file, chart);
  }

  private static XYChart chart(String title, String xTitle, Model.Objective objective) {
    XYChart chart =
        new XYChartBuilder()
            .width(900)
            .height(500)
            .title(title)
            .xAxisTitle(xTitle)
            .yAxisTitle(objective.unit())
            .build();
    chart.getStyler().setLegendPosition(LegendPosition.InsideNE);
    chart.getStyler().setChartBackgroundColor(Color.WHITE);
    chart
        .getStyler()
        .setYAxisDecimalPattern(objective == Model.Objective.BITS_PER_DIM ? "0.00" : "0.000");
    chart.getStyler().setXAxisMin(0.0);
    return chart;
  }

  /** Writes a chart as a PNG. */
  static void save(Path file, XYChart chart) throws IOException {
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    ImageIO.write(BitmapEncoder.getBufferedImage(chart), "png", png);
    AtomicFile.write(file, png.toByteArray());
  }

  private static void add(XYChart chart, String name, double[] x, double[] y) {
    XYSeries series = chart.addSeries(name, x, y);
    series.setMarker(SeriesMarkers.NONE);
  }
}
