package dev.gatun.bench;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * The same work by Gatun and by a peer, in turns, so that what slows the machine for a while slows
 * each of them.
 */
final class Turns {
  /** What a comparison of bf16 with a peer's f32 is, and why it is made. */
  static final String MIXED =
      "mixed-precision gain, bf16 against f32: DJL's bf16 convolution aborts its JVM";

  private final String call;
  private final int images;
  private final int warmUp;
  private final int rounds;
  private final int skipped;
  private final int counted;
  private final List<Contender> contenders = new ArrayList<>();

  /**
   * Nobody takes part yet.
   *
   * @param call what is timed, as in "a step"
   * @param images of a call
   * @param warmUp calls before the first turn: until then Java is being compiled
   * @param skipped calls of a turn that are not timed: they pay for what the turn before left in
   *     the caches
   * @param counted calls of a turn that are
   */
  Turns(String call, int images, int warmUp, int rounds, int skipped, int counted) {
    this.call = call;
    this.images = images;
    this.warmUp = warmUp;
    this.rounds = rounds;
    this.skipped = skipped;
    this.counted = counted;
  }

  /** Whoever takes part, and the seconds of its calls. */
  static final class Contender {
    private final String name;
    private final Runnable work;
    private final List<double[]> rounds = new ArrayList<>();

    private Contender(String name, Runnable work) {
      this.name = name;
      this.work = work;
    }

    private double[] seconds() {
      return rounds.stream().flatMapToDouble(Arrays::stream).toArray();
    }
  }

  /**
   * Takes part.
   *
   * @param name ends in the dtype of activations
   */
  Contender add(String name, Runnable work) {
    Contender contender = new Contender(name, work);
    contenders.add(contender);
    return contender;
  }

  /**
   * Times everybody.
   *
   * @param warm runs once all are warm
   */
  void run(Console console, String title, Runnable warm) {
    try (Progress progress =
        new Progress(console, title, (long) contenders.size() * (rounds + 1))) {
      int done = 0;
      for (Contender contender : contenders) {
        for (int i = 0; i < warmUp; i++) {
          contender.work.run();
        }
        progress.update(++done, "warm-up");
      }
      warm.run();
      for (int round = 0; round < rounds; round++) {
        for (Contender contender : contenders) {
          turn(contender);
          progress.update(++done, contender.name);
        }
      }
    }
  }

  private void turn(Contender contender) {
    for (int i = 0; i < skipped; i++) {
      contender.work.run();
    }
    double[] seconds = new double[counted];
    for (int i = 0; i < counted; i++) {
      long start = System.nanoTime();
      contender.work.run();
      seconds[i] = (System.nanoTime() - start) / 1e9;
    }
    contender.rounds.add(seconds);
  }

  /**
   * A row for each; says each as a line.
   *
   * @param there whose speed the others' is compared with, round by round
   * @param key of the median in a row
   */
  List<Map<String, Object>> report(Contender there, String key, Console console) {
    List<Map<String, Object>> rows = new ArrayList<>();
    for (Contender contender : contenders) {
      double[] seconds = contender.seconds();
      double median = ConvBench.median(seconds);
      double fastest = Arrays.stream(seconds).min().orElseThrow();
      Map<String, Object> row = new LinkedHashMap<>();
      row.put("name", contender.name);
      row.put(key, median);
      row.put("fastestSeconds", fastest);
      row.put("imagesPerSecond", images / median);
      String text =
          String.format(
              Locale.ROOT,
              "%s: %s %.0f ms (median of %d), fastest %.0f ms",
              contender.name,
              call,
              1000 * median,
              seconds.length,
              1000 * fastest);
      if (contender != there) {
        double[] ratios = new double[rounds];
        Arrays.setAll(
            ratios,
            i -> ConvBench.median(there.rounds.get(i)) / ConvBench.median(contender.rounds.get(i)));
        row.put("speedup", ConvBench.median(ratios));
        text += String.format(Locale.ROOT, ", %.2f times the peer's speed", row.get("speedup"));
        if (contender.name.endsWith("bf16")) {
          row.put("speedupIs", MIXED);
          text += " (" + MIXED + ")";
        }
      }
      row.put("rounds", contender.rounds);
      rows.add(row);
      console.say(text);
    }
    return rows;
  }
}
