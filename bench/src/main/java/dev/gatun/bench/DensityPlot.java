package dev.gatun.bench;

import dev.gatun.engine.io.AtomicFile;
import java.awt.Color;
import java.awt.Font;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import javax.imageio.ImageIO;

/** Densities in the plane as pictures, side by side. */
final class DensityPlot {
  /** Pixels: a panel's side, the space around it, the title's height above it. */
  static final int SIDE = 360;

  static final int MARGIN = 12;
  static final int TITLE = 28;

  private static final int POINT = 2;
  private static final Color POINT_COLOUR = new Color(255, 255, 255, 160);

  /**
   * The colour map viridis at equal steps, as RGB: perceptually uniform, and readable in grey.
   *
   * @see "van der Walt & Smith 2015, matplotlib's new colormaps, bids.github.io/colormap (CC0)"
   */
  private static final int[] VIRIDIS = {
    0x440154, 0x481A6C, 0x472F7D, 0x414487, 0x39568C, 0x31688E, 0x2A788E, 0x23888E,
    0x1F988B, 0x22A884, 0x35B779, 0x54C568, 0x7AD151, 0xA5DB36, 0xD2E21B, 0xFDE725
  };

  private DensityPlot() {}

  /**
   * A picture over [-extent,extent]^2.
   *
   * @param logDensity [n,n] nats at the centres of the cells, rows from the lowest y upwards; empty
   *     for a panel of points alone
   * @param points [m,2], x and y, drawn over it as dots; those outside are left out; may be empty
   */
  record Panel(String title, double[] logDensity, float[] points) {
    /**
     * Checks the sizes.
     *
     * @throws IllegalArgumentException if the grid is not square, the points are not pairs, there
     *     is neither, or a log-density is NaN
     */
    Panel {
      int n = side(logDensity);
      if (n * n != logDensity.length) {
        throw new IllegalArgumentException(
            "panel '" + title + "': " + logDensity.length + " log-densities are no square grid");
      }
      if (points.length % 2 != 0) {
        throw new IllegalArgumentException(
            "panel '" + title + "': " + points.length + " coordinates are no pairs of x and y");
      }
      if (logDensity.length + points.length == 0) {
        throw new IllegalArgumentException(
            "panel '" + title + "': nothing to show; give log-densities or points");
      }
      for (int i = 0; i < logDensity.length; i++) {
        if (Double.isNaN(logDensity[i])) {
          throw new IllegalArgumentException(
              "panel '" + title + "': log-density " + i + " is NaN; look for what made it");
        }
      }
    }

    /** A panel of log-densities, [n,n]. */
    static Panel of(String title, double[] logDensity) {
      return new Panel(title, logDensity, new float[0]);
    }

    /** A panel of points, [m,2]. */
    static Panel of(String title, float[] points) {
      return new Panel(title, new double[0], points);
    }

    private static int side(double[] grid) {
      return (int) Math.round(Math.sqrt(grid.length));
    }
  }

  /**
   * Writes a PNG of the panels from left to right. Colours stand for densities from 0 to the first
   * panel's largest, which is therefore to be the true one; larger ones have the colour of that.
   *
   * @param extent half the side of the square that is shown
   * @throws IllegalArgumentException if there is no panel, the first has no density above 0, or the
   *     extent is not above 0
   */
  static void write(Path file, List<Panel> panels, double extent) throws IOException {
    if (panels.isEmpty() || !(extent > 0)) {
      throw new IllegalArgumentException(
          panels.size() + " panels of extent " + extent + ": give one or more, and an extent > 0");
    }
    double peak = Double.NEGATIVE_INFINITY;
    for (double log : panels.getFirst().logDensity()) {
      peak = Math.max(peak, log);
    }
    if (!Double.isFinite(peak)) {
      throw new IllegalArgumentException(
          "panel '"
              + panels.getFirst().title()
              + "': its largest log-density is "
              + peak
              + "; the first panel sets the scale of colours, put the true density there");
    }
    BufferedImage image =
        new BufferedImage(
            MARGIN + panels.size() * (SIDE + MARGIN),
            TITLE + SIDE + MARGIN,
            BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = image.createGraphics();
    try {
      graphics.setColor(Color.WHITE);
      graphics.fillRect(0, 0, image.getWidth(), image.getHeight());
      graphics.setFont(new Font(Font.SANS_SERIF, Font.PLAIN, 14));
      graphics.setRenderingHint(
          RenderingHints.KEY_TEXT_ANTIALIASING, RenderingHints.VALUE_TEXT_ANTIALIAS_ON);
      for (int i = 0; i < panels.size(); i++) {
        // a panel's own corner is (0,0); what lies outside it is cut off
        Graphics2D own = (Graphics2D) graphics.create(left(i), 0, SIDE, TITLE + SIDE);
        draw(own, panels.get(i), peak, extent);
        own.dispose();
      }
    } finally {
      graphics.dispose();
    }
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    ImageIO.write(image, "png", png);
    AtomicFile.write(file, png.toByteArray());
  }

  /** The column of pixels where a panel begins; its first row is {@value #TITLE}. */
  static int left(int panel) {
    return MARGIN + panel * (SIDE + MARGIN);
  }

  private static void draw(Graphics2D graphics, Panel panel, double peak, double extent) {
    graphics.setColor(Color.BLACK);
    int width = graphics.getFontMetrics().stringWidth(panel.title());
    graphics.drawString(panel.title(), Math.max(0, (SIDE - width) / 2), TITLE - 9);
    BufferedImage picture = new BufferedImage(SIDE, SIDE, BufferedImage.TYPE_INT_RGB);
    int n = Panel.side(panel.logDensity());
    for (int row = 0; row < SIDE; row++) {
      for (int column = 0; column < SIDE; column++) {
        // the picture's rows go down, the grid's up
        int cell = n == 0 ? 0 : (SIDE - 1 - row) * n / SIDE * n + column * n / SIDE;
        double share = n == 0 ? 0 : Math.exp(panel.logDensity()[cell] - peak);
        picture.setRGB(column, row, viridis(share));
      }
    }
    graphics.drawImage(picture, 0, TITLE, null);
    graphics.clipRect(0, TITLE, SIDE, SIDE);
    graphics.setColor(POINT_COLOUR);
    float[] points = panel.points();
    for (int i = 0; i < points.length; i += 2) {
      int x = (int) Math.floor((points[i] / extent + 1) / 2 * SIDE);
      int y = (int) Math.floor((1 - points[i + 1] / extent) / 2 * SIDE);
      graphics.fillRect(x - POINT / 2, TITLE + y - POINT / 2, POINT, POINT);
    }
  }

  /** The colour of a share of the largest density, as RGB. */
  static int viridis(double share) {
    double at = Math.clamp(share, 0, 1) * (VIRIDIS.length - 1);
    int below = Math.min((int) at, VIRIDIS.length - 2);
    int colour = 0;
    for (int shift = 16; shift >= 0; shift -= 8) {
      int from = VIRIDIS[below] >> shift & 0xFF;
      int to = VIRIDIS[below + 1] >> shift & 0xFF;
      colour |= (int) Math.round(from + (at - below) * (to - from)) << shift;
    }
    return colour;
  }
}
