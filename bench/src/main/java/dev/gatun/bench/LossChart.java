package dev.gatun.bench;

import dev.gatun.engine.io.AtomicFile;
import dev.gatun.models.train.MetricsLog;
import java.awt.Color;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import javax.imageio.ImageIO;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** The curve of a training run: bits a dimension over steps. */
final class LossChart {
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
    XYChart chart =
        new XYChartBuilder()
            .width(900)
            .height(500)
            .title(title)
            .xAxisTitle("step")
            .yAxisTitle("bits/dim")
            .build();
    chart.getStyler().setLegendPosition(LegendPosition.InsideNE);
    chart.getStyler().setChartBackgroundColor(Color.WHITE);
    chart.getStyler().setYAxisDecimalPattern("0.00");
    chart.getStyler().setXAxisMin(0.0);
    add(
        chart,
        "training batches",
        steps,
        lines.stream().mapToDouble(MetricsLog.Line::bitsPerDim).toArray());
    double[] ends = {0, steps[steps.length - 1]};
    add(chart, "held-out images, at the end", ends, new double[] {heldOut, heldOut});
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    ImageIO.write(BitmapEncoder.getBufferedImage(chart), "png", png);
    AtomicFile.write(file, png.toByteArray());
  }

  private static void add(XYChart chart, String name, double[] x, double[] y) {
    XYSeries series = chart.addSeries(name, x, y);
    series.setMarker(SeriesMarkers.NONE);
  }
}
