package dev.gatun.models.train;

import dev.gatun.engine.Device;
import dev.gatun.engine.io.FormatException;
import dev.gatun.engine.io.SafetensorsFile;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.List;

/**
 * A run on disk: {@code config.json}, {@code model.safetensors} (the averaged weights), {@code
 * state} (what a resume needs, safetensors too), {@code metrics.jsonl} and {@code samples/}.
 *
 * <p>Each file is replaced whole or not at all, and a resume reads {@code state} alone, so a
 * process may be killed at any moment: at worst {@code model.safetensors} is one checkpoint behind.
 */
public final class RunFolder {
  private static final String CONFIG = "config.json";

  private final Path folder;
  private RunConfig config;

  private RunFolder(Path folder, RunConfig config) {
    this.folder = folder;
    this.config = config;
  }

  /**
   * Starts a run in a folder, which is created if need be.
   *
   * @throws FormatException if the folder holds a run that has been trained
   */
  public static RunFolder create(Path folder, RunConfig config) throws IOException {
    RunFolder run = new RunFolder(folder, config);
    if (run.hasState()) {
      throw new FormatException(
          folder, "already holds a run", "add --resume to go on with it, or give another --out");
    }
    if (Files.exists(folder) && !Files.isDirectory(folder)) {
      throw new FormatException(folder, "is not a folder", "give a folder as --out");
    }
    Files.createDirectories(run.samples());
    config.write(folder.resolve(CONFIG));
    return run;
  }

  /**
   * Opens a run.
   *
   * @throws FormatException if there is none, or its config.json is damaged
   */
  public static RunFolder open(Path folder) throws IOException {
    if (!Files.exists(folder)) {
      throw new NoSuchFileException(
          folder.toString(), null, "no such run; give the folder that 'gatun train' wrote");
    }
    if (!Files.isRegularFile(folder.resolve(CONFIG))) {
      throw new FormatException(
          folder, "holds no run: it has no " + CONFIG, "give the folder that 'gatun train' wrote");
    }
    return new RunFolder(folder, RunConfig.read(folder.resolve(CONFIG)));
  }

  /** Whether a folder holds a run, trained or not. */
  public static boolean isRun(Path folder) {
    return Files.isRegularFile(folder.resolve(CONFIG));
  }

  public Path folder() {
    return folder;
  }

  public Path samples() {
    return folder.resolve("samples");
  }

  public RunConfig config() {
    return config;
  }

  public Model model() {
    return config.model();
  }

  /** Replaces config.json; for a resume that changes how the run is trained. */
  public void configure(RunConfig changed) throws IOException {
    changed.write(folder.resolve(CONFIG));
    config = changed;
  }

  /** Whether there is a checkpoint to go on from. */
  public boolean hasState() {
    return Files.exists(state(), LinkOption.NOFOLLOW_LINKS);
  }

  private Path state() {
    return folder.resolve("state");
  }

  private Path weightsFile() {
    return folder.resolve("model.safetensors");
  }

  /**
   * Loads the last checkpoint into a trainer.
   *
   * @throws FormatException if it is damaged or of another model; the trainer is as before
   */
  public void resume(Trainer trainer) throws IOException {
    trainer.loadState(state());
  }

  /** Writes a checkpoint. */
  public void save(Trainer trainer) throws IOException {
    trainer.saveState(state());
    trainer.saveModel(weightsFile());
  }

  /**
   * Writes a checkpoint aside. Whether its weights are any good shows in the next step's loss; then
   * {@link #commit} it.
   */
  public void stage(Trainer trainer) throws IOException {
    trainer.saveState(staged("state"));
    trainer.saveModel(staged("model.safetensors"));
  }

  /** Makes what was staged the run's checkpoint. */
  public void commit() throws IOException {
    Files.move(staged("state"), state(), StandardCopyOption.ATOMIC_MOVE);
    Files.move(staged("model.safetensors"), weightsFile(), StandardCopyOption.ATOMIC_MOVE);
  }

  /** Removes what was staged and not committed, by this process or one that was killed. */
  public void discardStaged() throws IOException {
    Files.deleteIfExists(staged("state"));
    Files.deleteIfExists(staged("model.safetensors"));
  }

  private Path staged(String name) {
    return folder.resolve("." + name + ".staged");
  }

  /** Removes the checkpoints and metrics, so that the run can be started again. */
  public void clear() throws IOException {
    // state first: without it the rest counts for nothing
    Files.deleteIfExists(state());
    Files.deleteIfExists(weightsFile());
    Files.deleteIfExists(folder.resolve("metrics.jsonl"));
    discardStaged();
  }

  /** Opens metrics.jsonl to go on after a step; later lines are dropped. */
  public MetricsLog metricsAfter(long step) throws IOException {
    return MetricsLog.after(folder.resolve("metrics.jsonl"), step);
  }

  /** What metrics.jsonl holds. */
  public List<MetricsLog.Line> metrics() throws IOException {
    return MetricsLog.read(folder.resolve("metrics.jsonl"));
  }

  /** The trained weights and how many steps they were trained; close the weights. */
  public record Checkpoint(Parameters weights, long steps) implements AutoCloseable {
    @Override
    public void close() {
      weights.close();
    }
  }

  /**
   * Loads model.safetensors onto a device.
   *
   * @throws FormatException if it is missing, damaged or of another model
   */
  public Checkpoint checkpoint(Device device) throws IOException {
    Path file = weightsFile();
    if (!Files.exists(file)) {
      throw new FormatException(
          folder,
          "holds no model.safetensors: the run was stopped before its first checkpoint",
          "train it further with --resume");
    }
    Parameters weights = new Parameters(device, model().parameters());
    try (SafetensorsFile saved = SafetensorsFile.open(file)) {
      String of = saved.metadata().get("model");
      String steps = saved.metadata().get("steps");
      if (!model().name().equals(of) || steps == null || !steps.matches("\\d{1,15}")) {
        throw new FormatException(
            file,
            of == null ? "is no checkpoint of a Gatun model" : "is a checkpoint of another model",
            "put back the file that was trained with this config.json (" + model().name() + ")");
      }
      weights.load(file, saved, "");
      return new Checkpoint(weights, Long.parseLong(steps));
    } catch (IOException | RuntimeException | Error e) {
      weights.close();
      throw e;
    }
  }
}
