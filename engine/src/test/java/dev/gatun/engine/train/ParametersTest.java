package dev.gatun.engine.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.Shape;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.io.FormatException;
import dev.gatun.engine.io.Safetensors;
import dev.gatun.engine.io.SafetensorsFile;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ParametersTest extends WithDevice {
  private static final List<ParameterSpec> SPECS =
      List.of(
          ParameterSpec.weights("a.weight", 9, 16, 32, 2),
          ParameterSpec.bias("a.bias", 5),
          ParameterSpec.weights("b.weight", 1, 3, 7, 1),
          new ParameterSpec("scale", Shape.of(2), new ParameterSpec.Init.Constant(1.5f)));

  @TempDir Path folder;

  private Parameters initialized(List<ParameterSpec> specs, long seed) {
    Parameters parameters = new Parameters(device, specs);
    parameters.initialize(seed);
    return parameters;
  }

  @Test
  void initialValuesFollowFromTheSeedAndTheSpec() {
    try (Parameters one = initialized(SPECS, 1);
        Parameters again = initialized(SPECS, 1);
        Parameters other = initialized(SPECS, 2)) {
      assertArrayEquals(one.flat().toFloats(), again.flat().toFloats());
      float[] w = one.get("a.weight").toFloats();
      assertFalse(Arrays.equals(w, other.get("a.weight").toFloats()));
      double squares = 0;
      double sum = 0;
      for (float v : w) {
        squares += v * v;
        sum += v;
      }
      double variance = 2.0 / (9 * 16);
      int n = w.length;
      assertEquals(variance, squares / n, 5 * variance * Math.sqrt(2.0 / n));
      assertEquals(0, sum / n, 5 * Math.sqrt(variance / n));
      assertArrayEquals(new float[5], one.get("a.bias").toFloats());
      assertArrayEquals(new float[] {1.5f, 1.5f}, one.get("scale").toFloats());
      assertEquals(9 * 16 * 32 + 5 + 21 + 2, one.count());
      // each tensor draws its own numbers
      float[] b = one.get("b.weight").toFloats();
      double ratio = Math.sqrt(1.0 / 3) / Math.sqrt(variance);
      assertFalse(Math.abs(b[0] / w[0] - ratio) < 1e-3 && Math.abs(b[1] / w[1] - ratio) < 1e-3);
    }
  }

  @Test
  void tensorsAreAlignedPartsOfOneArena() {
    try (Parameters parameters = initialized(SPECS, 1)) {
      long end = 0;
      for (ParameterSpec spec : SPECS) {
        var tensor = parameters.get(spec.name());
        assertEquals(parameters.flat().buffer(), tensor.buffer());
        assertEquals(0, tensor.offsetBytes() % 256);
        assertTrue(tensor.offsetBytes() >= end, "overlap");
        end = tensor.offsetBytes() + tensor.spec().sizeBytes();
      }
      assertTrue(end <= parameters.flat().spec().sizeBytes());
      assertThrows(IllegalArgumentException.class, () -> parameters.get("c"));
    }
    assertThrows(
        IllegalArgumentException.class,
        () ->
            new Parameters(
                device, List.of(ParameterSpec.bias("x", 1), ParameterSpec.bias("x", 2))));
  }

  private Path saved(List<ParameterSpec> specs, String prefix) throws IOException {
    Path file = folder.resolve("weights.safetensors");
    try (Parameters parameters = initialized(specs, 7)) {
      Safetensors.write(file, Map.of(), parameters.entries(prefix));
    }
    return file;
  }

  @Test
  void aSavedCopyIsTheSame() throws IOException {
    Path file = saved(SPECS, "ema.");
    try (Parameters loaded = new Parameters(device, SPECS);
        Parameters original = initialized(SPECS, 7);
        Parameters copy = new Parameters(device, SPECS);
        SafetensorsFile open = SafetensorsFile.open(file)) {
      loaded.load(file, open, "ema.");
      assertArrayEquals(original.flat().toFloats(), loaded.flat().toFloats());
      copy.copyFrom(loaded);
      assertArrayEquals(original.flat().toFloats(), copy.flat().toFloats());
    }
  }

  @Test
  void aCopyOfAnotherNetworksIsRefusedInOneLine() {
    List<ParameterSpec> fewer = SPECS.subList(0, SPECS.size() - 1);
    try (Parameters from = initialized(SPECS, 7);
        Parameters to = initialized(fewer, 3)) {
      float[] before = to.flat().toFloats();
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> to.copyFrom(from));
      assertTrue(e.getMessage().contains(SPECS.getLast().name()), e.getMessage());
      assertTrue(e.getMessage().contains("where nothing is expected"), e.getMessage());
      assertFalse(e.getMessage().contains("\n"));
      assertArrayEquals(before, to.flat().toFloats());
    }
  }

  private void assertRefused(Path file, List<ParameterSpec> specs, String... words)
      throws IOException {
    try (Parameters target = initialized(specs, 3);
        SafetensorsFile open = SafetensorsFile.open(file)) {
      float[] before = target.flat().toFloats();
      FormatException e =
          assertThrows(FormatException.class, () -> target.load(file, open, "ema."));
      for (String word : words) {
        assertTrue(e.getMessage().contains(word), e.getMessage());
      }
      assertEquals(1, e.getMessage().lines().count(), e.getMessage());
      assertArrayEquals(before, target.flat().toFloats());
    }
  }

  @Test
  void aTensorThatIsMissingIsNamedAndNothingChanges() throws IOException {
    assertRefused(saved(SPECS.subList(0, 3), "ema."), SPECS, "'ema.scale'", "another");
    assertRefused(saved(SPECS, "weights."), SPECS, "'ema.a.weight'");
  }

  @Test
  void anotherShapeIsNamedAndNothingChanges() throws IOException {
    List<ParameterSpec> wider =
        List.of(SPECS.get(0), SPECS.get(1), ParameterSpec.weights("b.weight", 1, 3, 8, 1));
    assertRefused(saved(SPECS, "ema."), wider, "'ema.b.weight'", "[1,3,7] f32", "[1,3,8] f32");
  }

  /** A checkpoint of a deeper model holds everything that a shallower one asks for. */
  @Test
  void tensorsTheModelDoesNotHaveAreRefusedToo() throws IOException {
    assertRefused(saved(SPECS, "ema."), SPECS.subList(0, 2), "b.weight");
  }
}
