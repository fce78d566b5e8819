package dev.gatun.models.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.io.FormatException;
import dev.gatun.models.Model;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.train.RunConfig.DataSummary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RunFolderTest {
  private static final int SIDE = 6;

  @TempDir Path folder;

  private static Dataset data() {
    byte[] pixels = new byte[40 * SIDE * SIDE];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) (i * 7 % 64);
    }
    return Dataset.of("ramp", SIDE, SIDE, 1, pixels, null, 0, List.of());
  }

  private static RunConfig config() {
    Models.Setup setup =
        Models.setup(
            "gated-pixelcnn",
            Preset.TINY,
            new ImageShape(SIDE, SIDE, 1),
            DType.F32,
            11,
            Map.of("filters", "4"));
    return new RunConfig(
        Models.VERSION,
        Preset.TINY,
        setup.model(),
        setup.training(),
        DataSummary.of(Path.of("ramp"), data(), 0));
  }

  @Test
  void configSurvivesTheFile() throws IOException {
    RunFolder.create(folder.resolve("run"), config());
    RunConfig read = RunFolder.open(folder.resolve("run")).config();
    assertEquals(config().model().config(), read.model().config());
    assertEquals(config().training(), read.training());
    assertEquals(config().data(), read.data());
    assertEquals(Preset.TINY, read.preset());
  }

  @Test
  void checkpointsComeBack() throws IOException {
    RunFolder run = RunFolder.create(folder.resolve("run"), config());
    try (Device device = Devices.open("cpu");
        Trainer trainer = new Trainer(device, run.model(), run.config().training(), data())) {
      assertThrows(FormatException.class, () -> run.checkpoint(device));
      trainer.step();
      run.save(trainer);
      float[] saved = trainer.averagedWeights().flat().toFloats();
      trainer.step();
      try (RunFolder.Checkpoint checkpoint = run.checkpoint(device)) {
        assertEquals(1, checkpoint.steps());
        assertEquals(List.of(boxed(saved)), List.of(boxed(checkpoint.weights().flat().toFloats())));
      }
      run.resume(trainer);
      assertEquals(1, trainer.steps());
    }
    FormatException held =
        assertThrows(FormatException.class, () -> RunFolder.create(run.folder(), config()));
    assertTrue(held.getMessage().contains("--resume"), held.getMessage());
  }

  private static Object boxed(float[] values) {
    return Arrays.toString(values);
  }

  @Test
  void whatIsStagedCountsOnceCommitted() throws IOException {
    RunFolder run = RunFolder.create(folder.resolve("run"), config());
    try (Device device = Devices.open("cpu");
        Trainer trainer = new Trainer(device, run.model(), run.config().training(), data())) {
      run.save(trainer);
      trainer.step();
      run.stage(trainer);
      try (RunFolder.Checkpoint before = run.checkpoint(device)) {
        assertEquals(0, before.steps());
      }
      run.commit();
      try (RunFolder.Checkpoint after = run.checkpoint(device)) {
        assertEquals(1, after.steps());
      }
      run.stage(trainer);
      run.discardStaged();
      try (var files = Files.list(run.folder())) {
        assertFalse(files.anyMatch(f -> f.toString().endsWith(".staged")));
      }
    }
  }

  @Test
  void metricsGoOnAfterTheResumedStep() throws IOException {
    RunFolder run = RunFolder.create(folder.resolve("run"), config());
    try (MetricsLog log = run.metricsAfter(0)) {
      for (int step = 1; step <= 5; step++) {
        log.append(new MetricsLog.Line(step, Model.Objective.BITS_PER_DIM, 8 - step, 100, step));
      }
    }
    Path file = run.folder().resolve("metrics.jsonl");
    // a kill in the middle of a line
    Files.writeString(file, Files.readString(file) + "{\"step\":6,\"bits");
    try (MetricsLog log = run.metricsAfter(3)) {
      log.append(new MetricsLog.Line(4, Model.Objective.BITS_PER_DIM, 1, 100, 9));
    }
    assertEquals(
        List.of(1L, 2L, 3L, 4L), run.metrics().stream().map(MetricsLog.Line::step).toList());
    assertEquals(1, run.metrics().getLast().loss());
  }

  @Test
  void whatIsNoRunIsNamed() {
    assertThrows(NoSuchFileException.class, () -> RunFolder.open(folder.resolve("nothing")));
    FormatException e = assertThrows(FormatException.class, () -> RunFolder.open(folder));
    assertTrue(e.getMessage().contains("config.json"), e.getMessage());
  }
}
