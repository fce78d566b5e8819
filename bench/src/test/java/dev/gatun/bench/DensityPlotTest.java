package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.bench.DensityPlot.Panel;
import dev.gatun.engine.io.Image;
import dev.gatun.engine.io.Images;
import dev.gatun.models.planar.PlanarDensity;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

class DensityPlotTest {
  private static final double NONE = Double.NEGATIVE_INFINITY;

  @TempDir Path folder;

  private Image write(double extent, Panel... panels) throws Exception {
    Path file = folder.resolve("plot.png");
    DensityPlot.write(file, List.of(panels), extent);
    return Images.read(file);
  }

  private static int rgb(Image image, int row, int column) {
    int at = (row * image.width() + column) * 3;
    byte[] p = image.pixels();
    return (p[at] & 0xFF) << 16 | (p[at + 1] & 0xFF) << 8 | p[at + 2] & 0xFF;
  }

  /** The colour of a panel's point, x and y as shares of the extent. */
  private static int rgb(Image image, int panel, double x, double y) {
    int column = (int) ((x + 1) / 2 * DensityPlot.SIDE);
    int row = (int) ((1 - y) / 2 * DensityPlot.SIDE);
    return rgb(image, DensityPlot.TITLE + row, DensityPlot.left(panel) + column);
  }

  /** One cell of four by four is bright in each panel: each elsewhere. */
  @Test
  void aBrightSpotIsWhereTheDensityIsLarge() throws Exception {
    double[] rightAbove = new double[16];
    Arrays.fill(rightAbove, NONE);
    rightAbove[3 * 4 + 2] = Math.log(0.5);
    double[] leftBelow = new double[16];
    Arrays.fill(leftBelow, NONE);
    leftBelow[1] = Math.log(0.25);
    Image image = write(3, Panel.of("one", rightAbove), Panel.of("two", leftBelow));
    assertEquals(2 * DensityPlot.SIDE + 3 * DensityPlot.MARGIN, image.width());
    assertEquals(DensityPlot.TITLE + DensityPlot.SIDE + DensityPlot.MARGIN, image.height());
    for (int row = 0; row < 4; row++) {
      for (int column = 0; column < 4; column++) {
        double x = (column - 1.5) / 2;
        double y = (row - 1.5) / 2;
        String cell = "row " + row + ", column " + column;
        assertEquals(
            row == 3 && column == 2 ? 0xFDE725 : 0x440154, rgb(image, 0, x, y), "one, " + cell);
        // half of the first panel's largest
        int half = DensityPlot.viridis(0.5);
        assertEquals(row == 0 && column == 1 ? half : 0x440154, rgb(image, 1, x, y), "two" + cell);
      }
    }
    int between = DensityPlot.left(1) - 1;
    assertEquals(0xFFFFFF, rgb(image, DensityPlot.TITLE + 10, between));
  }

  @Test
  void titlesStandAboveTheirPanels() throws Exception {
    double[] flat = {0};
    Image image = write(1, Panel.of("", flat), Panel.of("title", flat));
    boolean[] dark = new boolean[2];
    for (int row = 0; row < DensityPlot.TITLE; row++) {
      for (int column = 0; column < DensityPlot.SIDE; column++) {
        for (int panel = 0; panel < 2; panel++) {
          dark[panel] |= (rgb(image, row, DensityPlot.left(panel) + column) & 0xFF) < 128;
        }
      }
    }
    assertTrue(!dark[0] && dark[1]);
  }

  @Test
  void pointsLieWhereTheyAreAndNotInOtherPanels() throws Exception {
    float[] points = {1.5f, -2, 9, 0, 0, 9};
    Image image = write(4, Panel.of("true", new double[] {0}), Panel.of("drawn", points));
    assertNotEquals(0x440154, rgb(image, 1, 1.5 / 4, -0.5));
    int marked = 0;
    for (int row = 0; row < DensityPlot.SIDE; row++) {
      for (int column = 0; column < DensityPlot.SIDE; column++) {
        int colour = rgb(image, DensityPlot.TITLE + row, DensityPlot.left(1) + column);
        marked += colour == 0x440154 ? 0 : 1;
      }
    }
    assertEquals(4, marked, "one dot of 2 by 2 pixels");
    assertEquals(0xFFFFFF, rgb(image, DensityPlot.TITLE + DensityPlot.SIDE / 2, image.width() - 1));
  }

  /**
   * Entries 25, 51, 128 and 230 of matplotlib's table, in 255ths. Between the colours kept here, 17
   * entries apart, a straight line is off by 2 at most.
   */
  @ParameterizedTest
  @CsvSource({"25, 72, 36, 117", "51, 65, 68, 135", "128, 33, 145, 140", "230, 189, 223, 38"})
  void coloursAreThoseOfViridis(int entry, int red, int green, int blue) {
    int colour = DensityPlot.viridis(entry / 255.0);
    assertEquals(red, colour >> 16, 2);
    assertEquals(green, colour >> 8 & 0xFF, 2);
    assertEquals(blue, colour & 0xFF, 2);
  }

  /** Each density beside its draws: half of all dots or more lie on a pixel that is bright. */
  @ParameterizedTest
  @EnumSource
  void drawsLieWhereTheDensityIs(PlanarDensity density) throws Exception {
    double[] grid = density.grid(DensityPlot.SIDE);
    float[] draws = density.draw(2_000, 1);
    Image image =
        write(
            density.extent(),
            Panel.of(density.label(), grid),
            Panel.of("draws", draws),
            new Panel("both", grid, draws));
    int bright = 0;
    int dots = 0;
    for (int row = 0; row < DensityPlot.SIDE; row++) {
      for (int column = 0; column < DensityPlot.SIDE; column++) {
        int y = DensityPlot.TITLE + row;
        if (rgb(image, y, DensityPlot.left(1) + column) != 0x440154) {
          dots++;
          // green rises with the density all along the map
          bright += (rgb(image, y, DensityPlot.left(0) + column) >> 8 & 0xFF) > 60 ? 1 : 0;
        }
      }
    }
    assertTrue(dots > 1_000 && bright > dots / 2, bright + " of " + dots);
  }

  @Test
  void whatCannotBeShownIsRefusedInALine() {
    double[] flat = {0};
    assertThrows(IllegalArgumentException.class, () -> Panel.of("p", new double[3]));
    assertThrows(IllegalArgumentException.class, () -> Panel.of("p", new float[3]));
    assertThrows(IllegalArgumentException.class, () -> Panel.of("p", new float[0]));
    assertThrows(IllegalArgumentException.class, () -> Panel.of("p", new double[] {Double.NaN}));
    assertThrows(IllegalArgumentException.class, () -> write(0, Panel.of("p", flat)));
    assertThrows(IllegalArgumentException.class, () -> write(1));
    IllegalArgumentException dark =
        assertThrows(
            IllegalArgumentException.class, () -> write(1, Panel.of("p", new double[] {NONE})));
    assertEquals(
        "panel 'p': its largest log-density is -Infinity; the first panel sets the scale of"
            + " colours, put the true density there",
        dark.getMessage());
  }
}
