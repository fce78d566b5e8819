package dev.gatun.engine.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Tensor;
import dev.gatun.kernels.DrawKernels;
import dev.gatun.kernels.Element;
import dev.gatun.kernels.KernelCall;
import dev.gatun.kernels.Window;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;

/**
 * Pixels drawn by the device, against the same draws in f64, written from what is asked of them: a
 * level is the smallest whose cumulative probability exceeds the uniform number, which is the one
 * that {@link Philox} gives the host. They may differ where that number is at an edge.
 */
final class DrawChecks {
  /** What cumulative probabilities may be off by, in parts of their total. */
  private static final double EDGE = 2e-5;

  /** Of seed 5: images whose uniform number 0 is 0, and 1 - 2^-24; and the same of number 1. */
  private static final int[] LOWEST = {5_308_274, 896_372};

  private static final int[] HIGHEST = {63_121_341, 43_790_368};

  private static final double LEAST_LOG_SCALE = -7;

  private DrawChecks() {}

  private interface Body {
    void run(CheckScope scope);
  }

  static List<KernelCheck> all() {
    List<KernelCheck> checks = new ArrayList<>();
    for (Element element : Element.values()) {
      DType type = element == Element.F32 ? DType.F32 : DType.BF16;
      String suffix = element == Element.F32 ? "_f32" : "_bf16";
      String categorical = "draw_categorical" + suffix;
      for (int levels : new int[] {2, 15, 16, 17, 100, 256}) {
        checks.add(
            check(categorical, levels + " levels", s -> categorical(s, type, element, levels)));
      }
      checks.add(check(categorical, "lowest and highest", s -> ends(s, type, element)));
      if (element == Element.F32) {
        checks.add(check(categorical, "between blocks", s -> betweenBlocks(s, element)));
      }
      checks.add(check(categorical, "left over", s -> leftOver(s, type, element)));
      checks.add(check(categorical, "a NaN", s -> nan(s, type, element)));
      checks.add(check(categorical, "frequencies", s -> frequencies(s, type, element)));
      String mixture = "draw_mixture" + suffix;
      for (int[] size :
          new int[][] {{1, 1, 2}, {1, 17, 256}, {3, 1, 8}, {3, 10, 256}, {3, 40, 3}}) {
        checks.add(check(mixture, Arrays.toString(size), s -> mixture(s, type, element, size)));
      }
      checks.add(check(mixture, "all there can be", s -> mostMixtures(s, type, element)));
      checks.add(check(mixture, "lowest and highest", s -> mixtureEnds(s, type, element)));
      checks.add(check(mixture, "frequencies", s -> mixtureFrequencies(s, type, element)));
    }
    return checks;
  }

  private static KernelCheck check(String kernel, String what, Body body) {
    return new KernelCheck(
        kernel + ", " + what,
        Set.of(kernel),
        10_000,
        device -> {
          try (CheckScope scope = new CheckScope(device)) {
            body.run(scope);
          }
        });
  }

  /** One launch's worth of draws: what there is of them on the host. */
  private static final class Draws {
    final CheckScope scope;
    final Element element;
    final int images;
    final int positions;
    final int colours;
    final double[] parameters;
    final Tensor placed;
    final Tensor image;
    long seed = 5;
    double temperature = 1;
    int first;
    int count;
    int givenPositions;
    byte[] given;

    Draws(
        CheckScope scope,
        DType type,
        Element element,
        int images,
        int positions,
        int colours,
        double[] parameters) {
      this.scope = scope;
      this.element = element;
      this.images = images;
      this.positions = positions;
      this.colours = colours;
      int each = parameters.length / images / positions;
      placed = scope.of(type, parameters, images, positions, each);
      this.parameters = placed.toDoubles();
      image = scope.poisoned(DType.U8, images, positions, colours);
      count = images;
    }

    long request() {
      long at = given == null ? 0 : scope.bytes(given, count, positions, colours).address();
      byte[] bytes =
          DrawKernels.request(
              seed, temperature, at, givenPositions, first, count, Philox.Stream.SAMPLE.ordinal());
      return scope.bytes(bytes, bytes.length).address();
    }

    /** At one position, or nowhere where it is -1. */
    Window window(int position, int group) {
      return new Window(
          scope.table(3, 3, position),
          scope.table(2),
          images,
          1,
          positions,
          group < 0 ? 1 : colours,
          group);
    }

    float uniform(int n, long index) {
      return new Philox(seed).uniform(Philox.Stream.SAMPLE, first + n, index);
    }

    boolean isGiven(int n, int position) {
      return given != null && position < givenPositions && n < count;
    }

    /** Launches, and checks what is not drawn but kept: other positions and what was given. */
    byte[] draw(KernelCall call, int position) {
      scope.poison(image);
      scope.launch(call);
      byte[] after = image.toBytes();
      for (int i = 0; i < after.length; i++) {
        int n = i / (positions * colours);
        if (i / colours % positions != position) {
          assertEquals((byte) 0xFF, after[i], "element " + i + " is not the window's");
        } else if (isGiven(n, position)) {
          assertEquals(given[i], after[i], "element " + i + " was given");
        }
      }
      return after;
    }
  }

  // ---- categories

  private static void categorical(CheckScope scope, DType type, Element element, int levels) {
    int images = 9; // more than a block's
    int positions = 6;
    int colours = 3;
    double[] logits = CheckScope.normals(levels, 3, images * positions * colours * levels);
    Draws draws = new Draws(scope, type, element, images, positions, colours, logits);
    int atEdges = 0;
    for (int trial = 0; trial < 4; trial++) {
      draws.seed = trial == 0 ? 5 : 0x123456789L * trial;
      draws.temperature = trial == 1 ? 0.25 : 1;
      draws.first = trial * 64;
      if (trial == 2) {
        draws.given = new byte[images * positions * colours];
        for (int i = 0; i < draws.given.length; i++) {
          draws.given[i] = (byte) (i * 7);
        }
        draws.givenPositions = 4;
        draws.count = 7;
        draws.given = Arrays.copyOf(draws.given, 7 * positions * colours);
      }
      if (trial == 3) {
        draws.givenPositions = 0;
      }
      for (int position : new int[] {0, 3, 4, 5, -1}) {
        for (int group = 0; group < colours; group++) {
          atEdges += drawn(draws, levels, position, group);
        }
      }
    }
    assertTrue(atEdges <= 2, atEdges + " draws at an edge");
  }

  /** Returns how many of the draws are at an edge. */
  private static int drawn(Draws d, int levels, int position, int group) {
    byte[] after =
        d.draw(
            DrawKernels.categorical(
                d.element,
                d.placed.address(),
                d.request(),
                d.image.address(),
                d.colours,
                levels,
                d.window(position, group)),
            position);
    int atEdges = 0;
    for (int n = 0; n < d.images && position >= 0; n++) {
      if (d.isGiven(n, position)) {
        continue;
      }
      int pixel = (n * d.positions + position) * d.colours;
      for (int c = 0; c < d.colours; c++) {
        if (c != group) {
          assertEquals((byte) 0xFF, after[pixel + c], "another colour was drawn");
        }
      }
      double u = d.uniform(n, (long) position * d.colours + group);
      int level = after[pixel + group] & 0xFF;
      double distance =
          distance(d.parameters, (pixel + group) * levels, levels, d.temperature, u, level);
      assertTrue(
          distance <= EDGE,
          () -> "image " + n(pixel, d) + " of " + levels + " levels: " + level + " for " + u);
      atEdges += distance > 0 ? 1 : 0;
    }
    return atEdges;
  }

  private static int n(int pixel, Draws d) {
    return pixel / d.colours / d.positions;
  }

  /**
   * How far the uniform number lies outside the part of [0,1) that belongs to a level; infinite
   * where no part does.
   */
  private static double distance(
      double[] logits, int from, int levels, double temperature, double u, int level) {
    if (level >= levels) {
      return Double.POSITIVE_INFINITY;
    }
    double most = Double.NEGATIVE_INFINITY;
    for (int k = 0; k < levels; k++) {
      most = Math.max(most, logits[from + k]);
    }
    double total = 0;
    double below = 0;
    double own = 0;
    for (int k = 0; k < levels; k++) {
      double p = Math.exp((logits[from + k] - most) / temperature);
      total += p;
      below += k < level ? p : 0;
      own = k == level ? p : own;
    }
    if (own / total < 1e-30) {
      return Double.POSITIVE_INFINITY;
    }
    double low = below / total;
    double high = (below + own) / total;
    return u < low ? low - u : u >= high ? u - high : 0;
  }

  /** Uniform numbers as near to 0 and 1 as there are, and levels there that cannot be. */
  private static void ends(CheckScope scope, DType type, Element element) {
    for (int levels : new int[] {3, 40, 70, 256}) {
      int images = 6;
      double[] logits = CheckScope.normals(levels, 1, images * levels);
      for (int n = 0; n < images; n++) {
        // none, one, several, or whole blocks of them; the rest nearly alike, so that sums are
        // rounded
        int dead = new int[] {0, 1, 2, 17, 33, 50}[n];
        for (int k = 0; k < levels; k++) {
          boolean gone = k < dead && levels > 2 * dead || k >= levels - dead && k > 0;
          logits[n * levels + k] = gone ? -1e4 : logits[n * levels + k] / 8;
        }
      }
      Draws draws = new Draws(scope, type, element, images, 1, 1, logits);
      for (int n = 0; n < images; n++) {
        for (int[] ends : new int[][] {LOWEST, HIGHEST}) {
          // so that image n is the one of that number
          draws.first = ends[0] - n;
          drawn(draws, levels, 0, 0);
        }
      }
    }
  }

  /** Sums are rounded: of the highest number something is left over, which is for no level. */
  private static void leftOver(CheckScope scope, DType type, Element element) {
    for (int levels : new int[] {17, 40, 70}) {
      for (int trial = 0; trial < 24; trial++) {
        double[] logits = CheckScope.normals(trial, 0.1, levels);
        Arrays.fill(logits, 16, levels, -1e4);
        Draws draws = new Draws(scope, type, element, 1, 1, 1, logits);
        draws.first = HIGHEST[0];
        drawn(draws, levels, 0, 0);
      }
    }
  }

  /** Numbers at the edge between two blocks of levels, where a sum's rounding decides. */
  private static void betweenBlocks(CheckScope scope, Element element) {
    int images = 512;
    int levels = 32;
    double[] logits = CheckScope.normals(4, 0.1, images * levels);
    double[] offsets = CheckScope.normals(5, 3e-7, images);
    for (int n = 0; n < images; n++) {
      double u = new Philox(5).uniform(Philox.Stream.SAMPLE, n, 0);
      double first = 0;
      for (int k = 0; k < 16; k++) {
        first += Math.exp((float) logits[n * levels + k]);
      }
      // so that u of the total is the first block
      double second = first / u * (1 + offsets[n]) - first;
      Arrays.fill(logits, n * levels + 16, (n + 1) * levels, Math.log(second / 16));
    }
    drawn(new Draws(scope, DType.F32, element, images, 1, 1, logits), levels, 0, 0);
  }

  private static void nan(CheckScope scope, DType type, Element element) {
    int levels = 100;
    double[] logits = CheckScope.normals(1, 1, 3 * levels);
    logits[7] = Double.NaN;
    logits[levels] = Double.NaN;
    logits[3 * levels - 1] = Double.NaN;
    Draws draws = new Draws(scope, type, element, 3, 1, 1, logits);
    byte[] after =
        draws.draw(
            DrawKernels.categorical(
                element,
                draws.placed.address(),
                draws.request(),
                draws.image.address(),
                1,
                levels,
                draws.window(0, 0)),
            0);
    assertArrayEquals(new byte[] {99, 99, 99}, after);
  }

  private static void frequencies(CheckScope scope, DType type, Element element) {
    int images = 600;
    int levels = 8;
    double[] one = {0.5, -1, 0.25, 1.5, -0.5, 0, 1, -2};
    double[] logits = new double[images * levels];
    double[] p = new double[levels];
    double total = Arrays.stream(one).map(Math::exp).sum();
    for (int i = 0; i < logits.length; i++) {
      logits[i] = one[i % levels];
      p[i % levels] = Math.exp(one[i % levels]) / total;
    }
    Draws draws = new Draws(scope, type, element, images, 1, 1, logits);
    byte[] after =
        draws.draw(
            DrawKernels.categorical(
                element,
                draws.placed.address(),
                draws.request(),
                draws.image.address(),
                1,
                levels,
                draws.window(0, 0)),
            0);
    assertFollows(p, after);
  }

  /** By a chi-square test; the seed is fixed, so there is no chance in it. */
  private static void assertFollows(double[] p, byte[] drawn) {
    int[] seen = new int[p.length];
    for (byte level : drawn) {
      seen[level & 0xFF]++;
    }
    double chi = 0;
    for (int k = 0; k < p.length; k++) {
      double expected = p[k] * drawn.length;
      chi += (seen[k] - expected) * (seen[k] - expected) / expected;
    }
    // five standard deviations above its mean
    int freedom = p.length - 1;
    double most = freedom + 5 * Math.sqrt(2.0 * freedom);
    double statistic = chi;
    assertTrue(chi < most, () -> "chi-square " + statistic + ": " + Arrays.toString(seen));
  }

  // ---- mixtures

  private static KernelCall mixtureCall(Draws d, int mixtures, int levels, int position) {
    return DrawKernels.mixture(
        d.element,
        d.placed.address(),
        d.request(),
        d.image.address(),
        d.colours,
        mixtures,
        levels,
        d.window(position, -1));
  }

  private static void mixture(CheckScope scope, DType type, Element element, int[] size) {
    int images = 9;
    int positions = 5;
    int colours = size[0];
    int mixtures = size[1];
    int each = (colours == 3 ? 10 : 3) * mixtures;
    double[] parameters = CheckScope.normals(mixtures, 0.7, images * positions * each);
    // of all scales, also below the least
    for (int i = 0; i < parameters.length; i++) {
      int part = i % each / mixtures;
      if (part > 0 && (part - 1) % (colours == 3 ? 3 : 2) == 1) {
        parameters[i] = 6 * parameters[i] - 4;
      }
    }
    Draws draws = new Draws(scope, type, element, images, positions, colours, parameters);
    for (int trial = 0; trial < 3; trial++) {
      draws.seed = 5 + trial * 0x100000001L;
      draws.temperature = trial == 1 ? 0.5 : 1;
      draws.first = 4 * trial;
      if (trial == 2) {
        draws.count = 6;
        draws.givenPositions = 2;
        draws.given = new byte[6 * positions * colours];
        Arrays.fill(draws.given, (byte) 1);
      }
      for (int position : new int[] {0, 1, 2, 4, -1}) {
        mixed(draws, mixtures, size[2], position);
      }
    }
  }

  private static void mixed(Draws d, int mixtures, int levels, int position) {
    byte[] after = d.draw(mixtureCall(d, mixtures, levels, position), position);
    for (int n = 0; n < d.images && position >= 0; n++) {
      if (d.isGiven(n, position)) {
        continue;
      }
      int pixel = n * d.positions + position;
      int[] values = new int[d.colours];
      for (int c = 0; c < d.colours; c++) {
        values[c] = after[pixel * d.colours + c] & 0xFF;
      }
      int at = n;
      assertTrue(
          explained(d, mixtures, levels, n, position, values),
          () -> "image " + at + " at " + position + ": " + Arrays.toString(values));
    }
  }

  /** Whether some component that may have been chosen gives these values. */
  private static boolean explained(
      Draws d, int mixtures, int levels, int n, int position, int[] values) {
    int each = (d.colours == 3 ? 10 : 3) * mixtures;
    int from = (n * d.positions + position) * each;
    long index = (long) position * (1 + d.colours);
    double u = d.uniform(n, index);
    for (int m = 0; m < mixtures; m++) {
      if (distance(d.parameters, from, mixtures, d.temperature, u, m) <= EDGE
          && follows(d, mixtures, levels, from, m, n, index, values)) {
        return true;
      }
    }
    return false;
  }

  private static boolean follows(
      Draws d, int mixtures, int levels, int from, int m, int n, long index, int[] values) {
    int perColour = d.colours == 3 ? 3 : 2;
    double[] drawn = new double[d.colours];
    for (int c = 0; c < d.colours; c++) {
      int block = from + (1 + c * perColour) * mixtures + m;
      double mean = d.parameters[block];
      if (c == 1) {
        mean += coupling(d, from, 3, mixtures, m) * drawn[0];
      } else if (c == 2) {
        mean += coupling(d, from, 6, mixtures, m) * drawn[0];
        mean += coupling(d, from, 9, mixtures, m) * drawn[1];
      }
      double scale = Math.exp(Math.max(LEAST_LOG_SCALE, d.parameters[block + mixtures]));
      double u = Math.max(0x1p-25, d.uniform(n, index + 1 + c));
      double x = mean + d.temperature * scale * Math.log(u / (1 - u));
      double level = (x + 1) / 2 * (levels - 1);
      double nearest = Math.clamp(level, 0, levels - 1);
      if (!(Math.abs(values[c] - nearest) <= 0.5 + 1e-9 * (1 + Math.abs(level)))) {
        return false;
      }
      drawn[c] = 2.0 * values[c] / (levels - 1) - 1;
    }
    return true;
  }

  private static double coupling(Draws d, int from, int block, int mixtures, int m) {
    return Math.tanh(d.parameters[from + block * mixtures + m]);
  }

  /** As many components as can be chosen from, a block of them for each lane. */
  private static void mostMixtures(CheckScope scope, DType type, Element element) {
    int images = 20;
    int mixtures = DrawKernels.MOST_CHOICES;
    double[] parameters = CheckScope.normals(3, 1, images * 3 * mixtures);
    for (int i = 0; i < parameters.length; i++) {
      int m = i % mixtures;
      int part = i / mixtures % 3;
      // a component's number shows in its mean
      parameters[i] = part == 0 ? parameters[i] : part == 1 ? 2.0 * (m / 2) / 255 - 1 : -7;
    }
    Draws draws = new Draws(scope, type, element, images, 1, 1, parameters);
    mixed(draws, mixtures, 256, 0);
  }

  private static void mixtureEnds(CheckScope scope, DType type, Element element) {
    // the lowest number there is gives a value well inside the range
    Draws draws = new Draws(scope, type, element, 1, 1, 1, new double[] {0, 0.5, -4});
    draws.first = LOWEST[1];
    mixed(draws, 1, 256, 0);
    draws.first = HIGHEST[1];
    mixed(draws, 1, 256, 0);
    Draws far = new Draws(scope, type, element, 1, 1, 1, new double[] {0, 30, -4});
    mixed(far, 1, 256, 0);
    Draws below = new Draws(scope, type, element, 1, 1, 1, new double[] {0, -30, -4});
    mixed(below, 1, 256, 0);
  }

  private static void mixtureFrequencies(CheckScope scope, DType type, Element element) {
    int images = 600;
    int levels = 8;
    double[] one = {0, 1, -0.5, 0.5, -1, -0.75}; // logits, means, logarithms of scales
    double[] parameters = new double[images * 6];
    for (int i = 0; i < parameters.length; i++) {
      parameters[i] = one[i % 6];
    }
    double[] p = new double[levels];
    for (int m = 0; m < 2; m++) {
      double share = Math.exp(one[m]) / (Math.exp(one[0]) + Math.exp(one[1]));
      for (int k = 0; k < levels; k++) {
        double below = k == 0 ? 0 : cumulative(one, m, (2.0 * k - 1) / (levels - 1) - 1);
        double above = k == levels - 1 ? 1 : cumulative(one, m, (2.0 * k + 1) / (levels - 1) - 1);
        p[k] += share * (above - below);
      }
    }
    Draws draws = new Draws(scope, type, element, images, 1, 1, parameters);
    assertFollows(p, draws.draw(mixtureCall(draws, 2, levels, 0), 0));
  }

  private static double cumulative(double[] parameters, int m, double x) {
    return 1 / (1 + Math.exp(-(x - parameters[2 + m]) / Math.exp(parameters[4 + m])));
  }
}
