package dev.gatun.bench;

import dev.gatun.models.Model;
import dev.gatun.models.train.DivergedException;
import dev.gatun.models.train.MetricsLog;
import dev.gatun.models.train.RunFolder;
import dev.gatun.models.train.Trainer;
import java.io.IOException;
import java.util.List;
import java.util.Locale;

/** Steps a trainer towards a goal, with checkpoints and metrics on the way. */
final class TrainingLoop {
  private static final int LOG_STEPS = 10;

  /** Checkpoints take at most a hundredth of the time, and come at least once a minute. */
  private static final double CHECKPOINT_SHARE = 0.01;

  private static final double CHECKPOINT_MIN_SECONDS =
      Double.parseDouble(System.getProperty("gatun.checkpoint.seconds", "2"));
  private static final double CHECKPOINT_MAX_SECONDS = 60;

  private final Trainer trainer;
  private final RunFolder folder;
  private final Interrupts interrupts;

  TrainingLoop(Trainer trainer, RunFolder folder, Interrupts interrupts) {
    this.trainer = trainer;
    this.folder = folder;
    this.interrupts = interrupts;
  }

  /**
   * When to stop: at a step (those before a resume count), or after some seconds from now.
   *
   * @param steps 0 where time decides
   */
  record Goal(long steps, double seconds) {
    long total() {
      return steps > 0 ? steps : (long) (1000 * seconds);
    }

    long done(long step, double elapsed) {
      return steps > 0 ? step : (long) (1000 * elapsed);
    }

    boolean reached(long step, double elapsed) {
      return steps > 0 ? step >= steps : elapsed >= seconds;
    }
  }

  /**
   * What came of it.
   *
   * @param steps done in all
   * @param loss of the last steps, as the model's objective; NaN if there were none
   * @param seconds of this call
   */
  record Result(
      long steps, double loss, double imagesPerSecond, double seconds, boolean interrupted) {}

  /**
   * Trains until the goal is reached or the user interrupts, and writes a checkpoint then.
   *
   * @throws DivergedException if the loss is no longer a number; the last good checkpoint stays
   */
  Result run(Goal goal, Console console) throws IOException {
    long firstStep = trainer.steps();
    double loss = Double.NaN;
    folder.discardStaged();
    if (firstStep == 0) {
      folder.save(trainer);
    }
    try (MetricsLog log = folder.metricsAfter(firstStep);
        Progress progress = new Progress(console, "train", goal.total())) {
      List<MetricsLog.Line> before = folder.metrics();
      double secondsBefore = before.isEmpty() ? 0 : before.getLast().seconds();
      Window window = new Window(trainer.model().objective(), trainer.config().batch());
      double start = now();
      double nextCheckpoint = start + CHECKPOINT_MIN_SECONDS;
      boolean staged = false;
      while (!goal.reached(trainer.steps(), now() - start) && !interrupts.requested()) {
        window.add(trainer.step());
        if (staged) {
          // this step's loss is a number, so the weights before it were good
          folder.commit();
          staged = false;
        }
        if (trainer.steps() % LOG_STEPS == 0) {
          loss = window.loss();
          log.append(window.line(trainer.steps(), secondsBefore + now() - start));
          progress.update(goal.done(trainer.steps(), now() - start), window.text(trainer.steps()));
          window.clear();
        }
        if (now() >= nextCheckpoint) {
          double begin = now();
          folder.stage(trainer);
          staged = true;
          nextCheckpoint = now() + interval(now() - begin);
        }
      }
      double seconds = now() - start;
      if (!window.isEmpty()) {
        loss = window.loss();
        log.append(window.line(trainer.steps(), secondsBefore + seconds));
        progress.update(goal.done(trainer.steps(), seconds), window.text(trainer.steps()));
      }
      requireFinite();
      folder.save(trainer);
      folder.discardStaged();
      long done = trainer.steps() - firstStep;
      double rate = done == 0 ? 0 : done * trainer.config().batch() / seconds;
      return new Result(trainer.steps(), loss, rate, seconds, interrupts.requested());
    }
  }

  private static double interval(double checkpointSeconds) {
    return Math.clamp(
        checkpointSeconds / CHECKPOINT_SHARE, CHECKPOINT_MIN_SECONDS, CHECKPOINT_MAX_SECONDS);
  }

  /** The last step's update has no loss after it to show that it was good. */
  private void requireFinite() {
    for (float value : trainer.averagedWeights().flat().toFloats()) {
      if (!Float.isFinite(value)) {
        throw new DivergedException(trainer.steps(), value);
      }
    }
  }

  private static double now() {
    return System.nanoTime() / 1e9;
  }

  /** The steps since the last line of the log. */
  private static final class Window {
    private final Model.Objective objective;
    private final int batch;
    private double sum;
    private int steps;
    private double began = now();

    Window(Model.Objective objective, int batch) {
      this.objective = objective;
      this.batch = batch;
    }

    void add(double loss) {
      sum += loss;
      steps++;
    }

    boolean isEmpty() {
      return steps == 0;
    }

    double loss() {
      return sum / steps;
    }

    private double rate() {
      return steps * batch / Math.max(1e-9, now() - began);
    }

    MetricsLog.Line line(long step, double seconds) {
      return new MetricsLog.Line(step, objective, loss(), rate(), seconds);
    }

    String text(long step) {
      return String.format(
          Locale.ROOT, "step %d  %.3f %s  %.0f images/s", step, loss(), objective.unit(), rate());
    }

    void clear() {
      sum = 0;
      steps = 0;
      began = now();
    }
  }
}
