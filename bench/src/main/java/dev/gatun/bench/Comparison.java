package dev.gatun.bench;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** One row of a table: the same work done by us and, in several ways, by a peer, in turns. */
final class Comparison {
  /**
   * What a problem begins with that every row of a run has: it is told once, and kept in the JSON.
   */
  static final String NOT_AVAILABLE = "not available: ";

  /** A turn; returns seconds a call. */
  @FunctionalInterface
  interface Sample {
    double seconds() throws PyTorchWorker.Refused;
  }

  /** One way to do the work. */
  static final class Contender {
    final String name;
    final boolean ours;

    /** Whether ratios are taken to it: what computes in a coarser type is shown, and no more. */
    final boolean counts;

    private final Sample sample;
    final List<Double> seconds = new ArrayList<>();
    final Map<String, Object> facts = new LinkedHashMap<>();
    String problem; // why there are no figures, or no more of them

    Contender(String name, boolean ours, boolean counts, Sample sample) {
      this.name = name;
      this.ours = ours;
      this.counts = counts;
      this.sample = sample;
    }

    /** One that cannot be had. */
    static Contender missing(String name, boolean ours, String problem) {
      Contender contender = new Contender(name, ours, false, null);
      contender.problem = problem;
      return contender;
    }

    boolean runs() {
      return sample != null && problem == null;
    }

    double median() {
      return ConvBench.median(seconds.stream().mapToDouble(s -> s).toArray());
    }
  }

  final String section;
  final String what;
  final List<Contender> contenders = new ArrayList<>();
  final Map<String, Object> facts = new LinkedHashMap<>();

  Comparison(String section, String what) {
    this.section = section;
    this.what = what;
  }

  /** As people read it, and choose rows by. */
  String title() {
    return section + ": " + what;
  }

  /**
   * Takes turns until there are enough, or the time is over; each contender that runs gets as many
   * as the others.
   *
   * @param deadline in {@link System#nanoTime}'s; at least one round is made whatever it says
   */
  void run(int rounds, long deadline) {
    int start =
        contenders.stream().filter(Contender::runs).mapToInt(c -> c.seconds.size()).min().orElse(0);
    for (int round = start; round < rounds; round++) {
      if (round > start && System.nanoTime() > deadline) {
        break;
      }
      for (Contender contender : contenders) {
        if (!contender.runs() || contender.seconds.size() > round) {
          continue;
        }
        try {
          contender.seconds.add(contender.sample.seconds());
        } catch (PyTorchWorker.Refused e) {
          contender.problem = e.kind() + ": " + e.getMessage();
        } catch (RuntimeException e) {
          contender.problem = e.getMessage() == null ? e.toString() : e.getMessage();
        }
      }
    }
  }

  private Contender ours() {
    return contenders.stream().filter(c -> c.ours && !c.seconds.isEmpty()).findFirst().orElse(null);
  }

  /** The fastest of theirs that ratios are taken to; null if none was timed. */
  Contender fastest() {
    return contenders.stream()
        .filter(c -> !c.ours && c.counts && !c.seconds.isEmpty())
        .min((a, b) -> Double.compare(a.median(), b.median()))
        .orElse(null);
  }

  /** Theirs over ours round by round, sorted; empty where either is missing. */
  private double[] ratios() {
    Contender ours = ours();
    Contender theirs = fastest();
    if (ours == null || theirs == null) {
      return new double[0];
    }
    int n = Math.min(ours.seconds.size(), theirs.seconds.size());
    double[] ratios = new double[n];
    Arrays.setAll(ratios, i -> theirs.seconds.get(i) / ours.seconds.get(i));
    Arrays.sort(ratios);
    return ratios;
  }

  Map<String, Object> toJson() {
    Map<String, Object> row = new LinkedHashMap<>();
    row.put("section", section);
    row.put("what", what);
    row.putAll(facts);
    List<Map<String, Object>> all = new ArrayList<>();
    for (Contender contender : contenders) {
      Map<String, Object> one = new LinkedHashMap<>();
      one.put("name", contender.name);
      one.put("ours", contender.ours);
      if (contender.problem != null) {
        one.put("problem", contender.problem);
      }
      if (!contender.seconds.isEmpty()) {
        one.put("medianSeconds", contender.median());
        one.put("seconds", contender.seconds);
      }
      one.putAll(contender.facts);
      all.add(one);
    }
    row.put("contenders", all);
    double[] ratios = ratios();
    if (ratios.length > 0) {
      row.put("fastestOfTheirs", fastest().name);
      row.put("ratio", ConvBench.median(ratios));
      row.put("ratioLeast", ratios[0]);
      row.put("ratioMost", ratios[ratios.length - 1]);
      row.put("ratioIs", "theirs / ours, above 1 where ours is faster; the median of the rounds");
    }
    return row;
  }

  /** What people read of it. */
  List<String> lines() {
    Contender ours = ours();
    Contender theirs = fastest();
    List<String> lines = new ArrayList<>();
    String missing =
        contenders.stream()
            .filter(c -> c.ours && c.problem != null)
            .map(c -> c.problem)
            .findFirst()
            .orElse("not timed");
    double[] ratios = ratios();
    lines.add(
        String.format(
            Locale.ROOT,
            "%-62s %10s %10s %s",
            title(),
            ours == null ? "-" : time(ours.median()),
            theirs == null ? "-" : time(theirs.median()),
            ratios.length > 0
                ? String.format(
                    Locale.ROOT,
                    "%6.2f (%.2f to %.2f) %s",
                    ConvBench.median(ratios),
                    ratios[0],
                    ratios[ratios.length - 1],
                    theirs.name)
                : theirs == null ? "     -" : "     - " + theirs.name));
    if (ours == null) {
      lines.add("    ours: " + missing);
    }
    for (Contender contender : contenders) {
      boolean said = contender.problem != null && contender.problem.startsWith(NOT_AVAILABLE);
      if (!contender.ours && contender != theirs && !said) {
        String text = contender.seconds.isEmpty() ? "" : time(contender.median());
        String problem = contender.problem == null ? "" : contender.problem;
        lines.add("    " + contender.name + ": " + (text + " " + problem).strip());
      }
    }
    return lines;
  }

  /** Seconds with a unit that suits them. */
  static String time(double seconds) {
    String[] units = {"s", "ms", "us"};
    int unit = 0;
    while (unit < 2 && seconds < 1) {
      seconds *= 1000;
      unit++;
    }
    return String.format(Locale.ROOT, seconds < 10 ? "%.2f %s" : "%.1f %s", seconds, units[unit]);
  }
}
