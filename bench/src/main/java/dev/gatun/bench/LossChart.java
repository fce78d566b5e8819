package dev.gatun.bench;

import dev.gatun.engine.io.AtomicFile;
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

/** Curves of training runs, in bits a dimension. */
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
    XYChart chart = chart(title, "step");
    add(
        chart,
        "training batches",
        steps,
        lines.stream().mapToDouble(MetricsLog.Line::bitsPerDim).toArray());
    double[] ends = {0, steps[steps.length - 1]};
    add(chart, "held-out images, at the end", ends, new double[] {heldOut, heldOut});
    save(file, chart);
  }

  /**
   * Draws the curves of several runs over minutes of training; each point is the mean of the log's
   * lines since the one before.
   *
   * @param runs what each logged, by its name
   */
  static void compare(Path file, Map<String, List<MetricsLog.Line>> runs) throws IOException {
    XYChart chart = chart("bits/dim of training batches", "minutes");
    double lowest = Double.POSITIVE_INFINITY;
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
        bits[i] = part.stream().mapToDouble(MetricsLog.Line::bitsPerDim).average().orElseThrow();
        lowest = Math.min(lowest, bits[i]);
      }
      add(chart, run.getKey(), minutes, bits);
    }
    // the first minutes come from far above; what matters is where the curves end
    chart.getStyler().setYAxisMin(lowest - 0.1);
    chart.getStyler().setYAxisMax(lowest + 1);
    save(file, chart);
  }

  private static XYChart chart(String title, String xTitle) {
    XYChart chart =
        new XYChartBuilder()
            .width(900)
            .height(500)
            .title(title)
            .xAxisTitle(xTitle)
            .yAxisTitle("bits/dim")
            .build();
    chart.getStyler().setLegendPosition(LegendPosition.InsideNE);
    chart.getStyler().setChartBackgroundColor(Color.WHITE);
    chart.getStyler().setYAxisDecimalPattern("0.00");
    chart.getStyler().setXAxisMin(0.0);
    return chart;
  }

  private static void save(Path file, XYChart chart) throws IOException {
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    ImageIO.write(BitmapEncoder.getBufferedImage(chart), "png", png);
    AtomicFile.write(file, png.toByteArray());
  }

  private static void add(XYChart chart, String name, double[] x, double[] y) {
    XYSeries series = chart.addSeries(name, x, y);
    series.setMarker(SeriesMarkers.NONE);
  }
}
