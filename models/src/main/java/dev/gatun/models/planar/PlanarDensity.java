package dev.gatun.models.planar;

import dev.gatun.engine.Philox;
import dev.gatun.engine.Philox.Stream;
import java.util.Arrays;
import java.util.stream.Collectors;

/**
 * Toy densities in the plane, with draws, exact log-densities and entropies: what a model's
 * likelihood and samples can be held against. Centres, sizes and noise are those of FFJORD's {@code
 * lib/toy_data.py}; components are drawn at random, where that code takes as many of each.
 *
 * @see "Grathwohl et al. 2019, FFJORD, section 4.1 and its code, github.com/rtqichen/ffjord"
 */
public enum PlanarDensity {
  /** Eight Gaussians of deviation 0.5/sqrt(2) on a circle of radius 4/sqrt(2). */
  EIGHT_GAUSSIANS("eight-gaussians", 4.5) {
    private static final int COMPONENTS = 8;
    private static final double RADIUS = 4 / Math.sqrt(2);
    private static final double DEVIATION = 0.5 / Math.sqrt(2);

    @Override
    double logAt(double x, double y) {
      double[] logs = new double[COMPONENTS];
      for (int k = 0; k < COMPONENTS; k++) {
        double angle = 2 * Math.PI * k / COMPONENTS;
        double dx = (x - RADIUS * Math.cos(angle)) / DEVIATION;
        double dy = (y - RADIUS * Math.sin(angle)) / DEVIATION;
        logs[k] = -(dx * dx + dy * dy) / 2;
      }
      return logSumExp(logs) - Math.log(COMPONENTS * 2 * Math.PI * DEVIATION * DEVIATION);
    }

    @Override
    void place(double u, double v, double a, double b, float[] points, int at) {
      double angle = 2 * Math.PI * (int) (COMPONENTS * u) / COMPONENTS;
      points[at] = (float) (RADIUS * Math.cos(angle) + DEVIATION * a);
      points[at + 1] = (float) (RADIUS * Math.sin(angle) + DEVIATION * b);
    }
  },

  /**
   * Two half circles of radius 2, one turned over, with Gaussian noise of deviation 0.2 on points
   * that are uniform along them. The log-density is an integral along each arc, by Gauss-Legendre.
   */
  TWO_MOONS("two-moons", 4) {
    private static final double RADIUS = 2;
    private static final double DEVIATION = 0.2;

    /** Terms below exp(-40) of the largest are left out: less than half an ulp of the sum. */
    private static final double NEGLIGIBLE = 40;

    /** The integrand is at its widest a Gaussian of 9 deviations to either side. */
    private static final GaussLegendre RULE = new GaussLegendre(40);

    // The lower arc is the upper one turned by half a circle about (0.5, 0.3).
    @Override
    double logAt(double x, double y) {
      return logSumExp(logArc(x + 1, y + 0.2), logArc(1 - x, 0.8 - y)) - Math.log(2);
    }

    /**
     * The log-density of the arc (2 cos t, 2 sin t), t uniform in [0,pi], with noise. In polar
     * coordinates (rho, phi) the squared distance from the arc's point is (rho - R)^2 + 2 rho R (1
     * - cos(t - phi)).
     */
    private double logArc(double x, double y) {
      double rho = Math.hypot(x, y);
      double phi = Math.atan2(y, x);
      double variance = DEVIATION * DEVIATION;
      double kappa = rho * RADIUS / variance;
      // at the arc's nearest point; below the axis that is one of its ends
      double largest = phi >= 0 ? 1 : Math.abs(Math.cos(phi));
      double reach = Math.acos(Math.max(-1, largest - NEGLIGIBLE / kappa));
      double sum = 0;
      // angles are equal up to a turn: below the axis both ends may be within reach
      for (double centre : new double[] {phi, phi + 2 * Math.PI}) {
        double from = Math.max(0, centre - reach);
        double to = Math.min(Math.PI, centre + reach);
        if (from < to) {
          sum += RULE.integrate(from, to, t -> Math.exp(kappa * (Math.cos(t - phi) - largest)));
        }
      }
      return Math.log(sum / (Math.PI * 2 * Math.PI * variance))
          - (rho - RADIUS) * (rho - RADIUS) / (2 * variance)
          - kappa * (1 - largest);
    }

    @Override
    void place(double u, double v, double a, double b, float[] points, int at) {
      double x = RADIUS * Math.cos(Math.PI * v);
      double y = RADIUS * Math.sin(Math.PI * v);
      boolean upper = u < 0.5;
      points[at] = (float) ((upper ? x - 1 : 1 - x) + DEVIATION * a);
      points[at + 1] = (float) ((upper ? y - 0.2 : 0.8 - y) + DEVIATION * b);
    }
  },

  /**
   * Five Gaussian arms of deviations 0.3 along and 0.1 across about (1,0), turned clockwise by 2 pi
   * k/5 + 0.25 exp(r) and scaled by 2. Here r is the point's radius, which the turn preserves: it
   * has an exact inverse and preserves areas, so the density is that of the arms before it. The
   * usual code takes the first coordinate before the turn in place of the radius; points then lie
   * elsewhere by 0.007 or so, the density has no closed form and its entropy is 0.003 nats lower.
   *
   * @see "Johnson et al. 2016, Composing graphical models with neural networks, section 5 (the
   *     pinwheel)"
   */
  PINWHEEL("pinwheel", 4.5) {
    private static final int ARMS = 5;
    private static final double SCALE = 2;
    private static final double RADIAL_DEVIATION = 0.3;
    private static final double TANGENTIAL_DEVIATION = 0.1;
    private static final double RATE = 0.25;

    /** No draw is ever this far out; beyond it a turn of 0.25 exp(r) would lose its digits. */
    private static final double LARGEST_TWISTED_RADIUS = 20;

    private double angle(int arm, double radius) {
      return 2 * Math.PI * arm / ARMS + RATE * Math.exp(Math.min(radius, LARGEST_TWISTED_RADIUS));
    }

    @Override
    double logAt(double x, double y) {
      double radius = Math.hypot(x, y) / SCALE;
      double[] logs = new double[ARMS];
      for (int k = 0; k < ARMS; k++) {
        double cos = Math.cos(angle(k, radius)) / SCALE;
        double sin = Math.sin(angle(k, radius)) / SCALE;
        double along = (x * cos - y * sin - 1) / RADIAL_DEVIATION;
        double across = (x * sin + y * cos) / TANGENTIAL_DEVIATION;
        logs[k] = -(along * along + across * across) / 2;
      }
      double area = 2 * Math.PI * RADIAL_DEVIATION * TANGENTIAL_DEVIATION * SCALE * SCALE;
      return logSumExp(logs) - Math.log(ARMS * area);
    }

    @Override
    void place(double u, double v, double a, double b, float[] points, int at) {
      double along = 1 + RADIAL_DEVIATION * a;
      double across = TANGENTIAL_DEVIATION * b;
      double angle = angle((int) (ARMS * u), Math.hypot(along, across));
      double cos = Math.cos(angle);
      double sin = Math.sin(angle);
      points[at] = (float) (SCALE * (along * cos + across * sin));
      points[at + 1] = (float) (SCALE * (across * cos - along * sin));
    }
  },

  /**
   * Uniform on the eight black squares, of side 2, of a board [-4,4)^2; the one whose corner is the
   * origin, with x and y above 0, is black. Its entropy is log 32.
   */
  CHECKERBOARD("checkerboard", 4) {
    private static final double SQUARE = 2;
    private static final double LOG_DENSITY = -Math.log(8 * SQUARE * SQUARE);

    @Override
    double logAt(double x, double y) {
      boolean onBoard = x >= -4 && x < 4 && y >= -4 && y < 4;
      boolean black = (Math.floor(x / SQUARE) + Math.floor(y / SQUARE)) % 2 == 0;
      return onBoard && black ? LOG_DENSITY : Double.NEGATIVE_INFINITY;
    }

    // u and v are multiples of 2^-24, so both coordinates are exact in f32: no draw is rounded into
    // a white square.
    @Override
    void place(double u, double v, double a, double b, float[] points, int at) {
      double x = 8 * u - 4;
      // the column's two black squares, one after the other, then the white one between them
      double along = 4 * v;
      double between = along < SQUARE ? 0 : SQUARE;
      double first = Math.floor(x / SQUARE) % 2 == 0 ? -4 : -4 + SQUARE;
      points[at] = (float) x;
      points[at + 1] = (float) (first + along + between);
    }
  };

  /**
   * Half the side of the square that entropies are integrated over, by the midpoint rule in so many
   * cells a side. Less than 1e-10 of any density lies outside. The cells' side, 0.04, is a fifth of
   * the smallest deviation, at which the rule is off by less than 1e-9 on smooth functions that
   * vanish at the border; the checkerboard's squares are whole cells, so that it is exact there.
   */
  private static final double WHOLE = 6;

  private static final int CELLS = 300;

  private final String label;
  private final double extent;
  private volatile double entropy = Double.NaN;

  PlanarDensity(String label, double extent) {
    this.label = label;
    this.extent = extent;
  }

  /**
   * The density of a label.
   *
   * @throws IllegalArgumentException if there is none
   */
  public static PlanarDensity of(String label) {
    for (PlanarDensity density : values()) {
      if (density.label.equals(label)) {
        return density;
      }
    }
    throw new IllegalArgumentException(
        "no planar density '"
            + label
            + "'; choose one of "
            + Arrays.stream(values()).map(PlanarDensity::label).collect(Collectors.joining(", ")));
  }

  public String label() {
    return label;
  }

  /** Half the side of the square about the origin that holds 99.9% of the density, or more. */
  public double extent() {
    return extent;
  }

  /**
   * Points drawn independently. Point i of a seed does not depend on how many are drawn.
   *
   * @return [count,2] f32: x, y
   * @throws IllegalArgumentException if there cannot be so many
   */
  public float[] draw(int count, long seed) {
    if (count < 0 || count > Integer.MAX_VALUE / 2) {
      throw new IllegalArgumentException(
          label + ": cannot draw " + count + " points; ask for 0 to " + Integer.MAX_VALUE / 2);
    }
    Philox philox = new Philox(seed);
    // by the ordinal: a new density goes last, or others draw other points
    int uniforms = 2 * ordinal();
    int normals = uniforms + 1;
    float[] points = new float[2 * count];
    for (int i = 0; i < count; i++) {
      long first = 2L * i;
      place(
          philox.uniform(Stream.POINTS, uniforms, first),
          philox.uniform(Stream.POINTS, uniforms, first + 1),
          philox.normal(Stream.POINTS, normals, first),
          philox.normal(Stream.POINTS, normals, first + 1),
          points,
          2 * i);
    }
    return points;
  }

  /**
   * The log-density in nats; of two moons by quadrature, right to 1e-10.
   *
   * @return negative infinity where the density is 0
   * @throws IllegalArgumentException if a coordinate is not finite
   */
  public double logDensity(double x, double y) {
    if (!Double.isFinite(x) || !Double.isFinite(y)) {
      throw new IllegalArgumentException(
          label + ": no density at (" + x + ", " + y + "); give finite coordinates");
    }
    return logAt(x, y);
  }

  /** The differential entropy in nats: the mean of -log p, integrated numerically, once. */
  public double entropy() {
    if (Double.isNaN(entropy)) {
      entropy = entropy(CELLS);
    }
    return entropy;
  }

  /** By the midpoint rule with so many cells a side. */
  double entropy(int cells) {
    double sum = 0;
    for (double log : logDensities(cells, WHOLE)) {
      // p log p has the limit 0 where p has
      sum -= log == Double.NEGATIVE_INFINITY ? 0 : Math.exp(log) * log;
    }
    double side = 2 * WHOLE / cells;
    return sum * side * side;
  }

  /**
   * Log-densities at the centres of n by n cells over [-extent,extent]^2.
   *
   * @return [n,n] nats: rows from the lowest y upwards, x from left to right in each
   * @throws IllegalArgumentException if n is not from 1 to 32767
   */
  public double[] grid(int n) {
    return logDensities(n, extent);
  }

  /**
   * The centres of n by n cells over [-extent,extent]^2, in the order of {@link #grid}: where to
   * ask a model for the densities to put beside the true ones.
   *
   * @return [n*n,2]: x, y
   * @throws IllegalArgumentException if n is not from 1 to 32767
   */
  public static double[] gridPoints(int n, double extent) {
    if (n < 1 || n > Short.MAX_VALUE) {
      throw new IllegalArgumentException(
          "a grid of " + n + " by " + n + " cells: ask for 1 to " + Short.MAX_VALUE + " a side");
    }
    double[] points = new double[2 * n * n];
    for (int row = 0; row < n; row++) {
      for (int column = 0; column < n; column++) {
        int at = 2 * (row * n + column);
        points[at] = extent * ((2 * column + 1.0) / n - 1);
        points[at + 1] = extent * ((2 * row + 1.0) / n - 1);
      }
    }
    return points;
  }

  private double[] logDensities(int n, double extent) {
    double[] points = gridPoints(n, extent);
    double[] logs = new double[n * n];
    for (int i = 0; i < logs.length; i++) {
      logs[i] = logAt(points[2 * i], points[2 * i + 1]);
    }
    return logs;
  }

  /** The log-density at finite coordinates. */
  abstract double logAt(double x, double y);

  /**
   * Writes the point that random numbers stand for.
   *
   * @param u which component, uniform in [0,1)
   * @param v where on it, uniform in [0,1)
   * @param a noise, standard normal
   * @param b noise, standard normal
   */
  abstract void place(double u, double v, double a, double b, float[] points, int at);

  private static double logSumExp(double... logs) {
    double largest = Arrays.stream(logs).max().orElseThrow();
    if (largest == Double.NEGATIVE_INFINITY) {
      return largest;
    }
    double sum = 0;
    for (double log : logs) {
      sum += Math.exp(log - largest);
    }
    return largest + Math.log(sum);
  }
}
