package dev.gatun.bench;

import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.io.AtomicFile;
import dev.gatun.models.features.PrincipalComponents;
import dev.gatun.models.metrics.Features;
import java.awt.Color;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.stream.IntStream;
import javax.imageio.ImageIO;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries.XYSeriesRenderStyle;
import org.knowm.xchart.style.Styler.LegendPosition;
import org.knowm.xchart.style.markers.SeriesMarkers;

/** Images by their latents. */
final class LatentChart {
  private static final int MARKER = 5;

  private LatentChart() {}

  /**
   * Draws a point for each image, in the colour of its class.
   *
   * @param z [count,size], of the first images; of more than two numbers the two principal
   *     components are drawn
   */
  static void write(Path file, String model, float[] z, int size, Dataset images)
      throws IOException {
    int count = z.length / size;
    float[] plane = plane(z, size);
    XYChart chart =
        new XYChartBuilder()
            .width(900)
            .height(800)
            .title(model + ", " + images.name())
            .xAxisTitle(size > 2 ? "first principal component" : "latent 0")
            .yAxisTitle(size > 2 ? "second principal component" : "latent 1")
            .build();
    chart.getStyler().setDefaultSeriesRenderStyle(XYSeriesRenderStyle.Scatter);
    chart.getStyler().setLegendPosition(LegendPosition.OutsideE);
    chart.getStyler().setChartBackgroundColor(Color.WHITE);
    chart.getStyler().setMarkerSize(MARKER);
    int classes = images.hasLabels() ? images.classes() : 1;
    for (int k = 0; k < classes; k++) {
      int own = k;
      int[] members =
          IntStream.range(0, count)
              .filter(i -> !images.hasLabels() || images.label(i) == own)
              .toArray();
      if (members.length > 0) {
        add(chart, name(images, k), plane, members, (float) k / classes);
      }
    }
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    ImageIO.write(BitmapEncoder.getBufferedImage(chart), "png", png);
    AtomicFile.write(file, png.toByteArray());
  }

  private static String name(Dataset images, int k) {
    return !images.hasLabels()
        ? "images"
        : images.classNames().isEmpty() ? Integer.toString(k) : images.classNames().get(k);
  }

  private static void add(XYChart chart, String name, float[] plane, int[] members, float hue) {
    double[] x = new double[members.length];
    double[] y = new double[members.length];
    for (int i = 0; i < members.length; i++) {
      x[i] = plane[2 * members[i]];
      y[i] = plane[2 * members[i] + 1];
    }
    chart
        .addSeries(name, x, y)
        .setMarker(SeriesMarkers.CIRCLE)
        .setMarkerColor(Color.getHSBColor(hue, 0.8f, 0.85f));
  }

  /** [count,2]. */
  private static float[] plane(float[] z, int size) {
    int count = z.length / size;
    if (size == 1) {
      float[] line = new float[2 * count];
      for (int i = 0; i < count; i++) {
        line[2 * i] = z[i];
      }
      return line;
    }
    if (size == 2) {
      return z;
    }
    Features all = new Features(count, size, z);
    return PrincipalComponents.fit(all, 2).transform(all).values();
  }
}
