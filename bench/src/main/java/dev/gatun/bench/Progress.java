package dev.gatun.bench;

import java.time.Duration;
import java.util.Locale;
import java.util.Optional;
import me.tongfei.progressbar.DelegatingProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;

/** Shows how far a task is: a bar on a terminal, a line now and then elsewhere. */
final class Progress implements AutoCloseable {
  private static final long LINE_NANOS = 10_000_000_000L;

  private final Console console;
  private final String task;
  private final long total;
  private final long start = System.nanoTime();
  private final ProgressBar bar; // null where there is no terminal
  private long done;
  private String detail = "";
  private long lastLine = start;

  /**
   * Starts showing.
   *
   * @param total what {@link #update} counts up to
   */
  Progress(Console console, String task, long total) {
    this.console = console;
    this.task = task;
    this.total = total;
    int columns = console.columns();
    bar = columns == 0 ? null : bar(columns);
  }

  private ProgressBar bar(int columns) {
    return new ProgressBarBuilder()
        .setTaskName(task)
        .setInitialMax(total)
        .setStyle(ProgressBarStyle.ASCII)
        .setUpdateIntervalMillis(250)
        // percent, not the raw count: a time limit counts in milliseconds
        .setUnit("%", Math.max(1, total / 100))
        .setEtaFunction(state -> Optional.ofNullable(left()))
        .setConsumer(
            new DelegatingProgressBarConsumer(
                text -> {
                  console.err().print("\r" + text);
                  console.err().flush();
                },
                Math.max(20, columns - 1)))
        .build();
  }

  private Duration left() {
    long now = done;
    if (now <= 0 || now > total) {
      return null;
    }
    double perUnit = (System.nanoTime() - start) / (double) now;
    return Duration.ofMillis((long) (perUnit * (total - now) / 1e6));
  }

  void update(long count, String text) {
    done = count;
    detail = text;
    if (bar != null) {
      bar.setExtraMessage(text);
      bar.stepTo(Math.min(count, total));
    } else if (System.nanoTime() - lastLine >= LINE_NANOS) {
      lastLine = System.nanoTime();
      line();
    }
  }

  private void line() {
    Duration left = left();
    console.say(
        String.format(
            Locale.ROOT,
            "%s %3d%%%s%s",
            task,
            total == 0 ? 100 : Math.min(100, 100 * done / total),
            left == null ? "" : String.format(Locale.ROOT, "  %d s left", left.toSeconds()),
            detail.isEmpty() ? "" : "  " + detail));
  }

  @Override
  public void close() {
    if (bar == null) {
      line();
    } else {
      bar.close();
      console.err().println();
    }
  }
}
