package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import dev.gatun.engine.io.Images;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DemoCommandTest {
  @TempDir Path folder;

  @Test
  void writesItsFiles() throws Exception {
    Path out = folder.resolve("demo");
    Cli.run("demo", "--out", out, "--seconds", 1, "--seed", 3, "--device", "cpu").succeeds();
    JsonNode metrics = new ObjectMapper().readTree(out.resolve("metrics.json").toFile());
    for (String field : List.of("bitsPerDim", "seconds", "imagesPerSecond", "parameters")) {
      assertTrue(metrics.get(field).asDouble() > 0, field);
    }
    assertEquals(1000, metrics.get("images").asInt());
    assertEquals("cpu", metrics.get("device").asText());
    assertEquals(3, metrics.get("seed").asInt());
    assertTrue(metrics.hasNonNull("dtype"));
    assertEquals(8 * (28 * 3 + 2) + 2, Images.read(out.resolve("samples.png")).width());
    assertTrue(Images.read(out.resolve("loss.png")).width() > 400);
    Cli.run("eval", out.resolve("run"), "--data", out.resolve("data"), "--limit", 64).succeeds();
    // what somebody else put there stays
    Path config = out.resolve("run/config.json");
    Files.writeString(
        config, Files.readString(config).replace(out.resolve("data").toString(), "elsewhere"));
    Cli.run("demo", "--out", out, "--seconds", 1).fails(2, "another --out");
    Cli.run("demo", "--out", out, "--seconds", 0).fails(2, "--seconds");
  }
}
