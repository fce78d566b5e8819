package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TrainCommandTest {
  @TempDir static Path folder;
  private static Path data;

  @BeforeAll
  static void generate() throws IOException {
    data = TestData.idx(folder.resolve("data"), 100, 8, 8);
  }

  private static Cli.Result train(Path run, Object... more) {
    return Cli.run(Cli.training(data, run, more));
  }

  private static Cli.Result tiny(Path run, Object... more) {
    List<Object> args = new ArrayList<>(List.of("--preset", "tiny"));
    args.addAll(List.of(more));
    return train(run, args.toArray());
  }

  @Test
  void trainsAndReportsAsJson() throws IOException {
    Path run = folder.resolve("json");
    JsonNode json = tiny(run, "--steps", 12, "--seed", 3, "--json").succeeds().json();
    assertEquals(12, json.get("steps").asInt());
    assertEquals(90, json.get("images").asInt(), "a tenth is held out");
    assertEquals(3, json.get("seed").asInt());
    assertEquals("cpu", json.get("device").asText());
    assertTrue(json.get("bitsPerDim").asDouble() > 0 && json.get("bitsPerDim").asDouble() < 9);
    assertTrue(json.get("parameters").asInt() > 1000);
    for (String field : List.of("seconds", "imagesPerSecond")) {
      assertTrue(json.get(field).asDouble() > 0, field);
    }
    for (String name : List.of("config.json", "model.safetensors", "state", "samples")) {
      assertTrue(Files.exists(run.resolve(name)), name);
    }
    List<String> lines = Files.readAllLines(run.resolve("metrics.jsonl"));
    assertEquals(2, lines.size());
    assertEquals(12, new ObjectMapper().readTree(lines.get(1)).get("step").asInt());
  }

  @Test
  void resumedRunIsTheUnbrokenOneBitForBit() throws IOException {
    Path whole = folder.resolve("whole");
    Path broken = folder.resolve("broken");
    // 90 images in batches of 16 are 5 steps an epoch: the break is within the second
    tiny(whole, "--steps", 13).succeeds();
    tiny(broken, "--steps", 7).succeeds();
    tiny(broken, "--steps", 13, "--resume").succeeds();
    Cli.assertSameBytes(whole.resolve("state"), broken.resolve("state"));
    Cli.assertSameBytes(whole.resolve("model.safetensors"), broken.resolve("model.safetensors"));
    Path other = folder.resolve("other-seed");
    tiny(other, "--steps", 13, "--seed", 1).succeeds();
    assertFalse(Files.mismatch(whole.resolve("state"), other.resolve("state")) == -1);
  }

  @Test
  void resumeTakesOtherTrainingButNotAnotherModel() throws IOException {
    Path run = folder.resolve("changed");
    tiny(run, "--steps", 2).succeeds();
    tiny(run, "--resume", "--steps", 4, "--lr", "0.01", "--set", "emaDecay=0.5").succeeds();
    JsonNode config = new ObjectMapper().readTree(run.resolve("config.json").toFile());
    assertEquals(0.01, config.get("training").get("learningRate").asDouble());
    assertEquals(0.5, config.get("training").get("emaDecay").asDouble());
    byte[] state = Files.readAllBytes(run.resolve("state"));
    tiny(run, "--resume", "--set", "filters=16").fails(2, "filters", "start another run");
    train(run, "--resume", "--preset", "small").fails(2, "--preset small", "tiny");
    tiny(run, "--resume", "--seed", 5).fails(2, "--seed 5");
    tiny(run, "--resume", "--steps", 4).succeeds();
    assertArrayEquals(state, Files.readAllBytes(run.resolve("state")));
  }

  @Test
  void overridesReachTheModelAndTheTraining() throws IOException {
    Path run = folder.resolve("set");
    tiny(run, "--steps", 1, "--set", "filters=4", "--set", "beta2=0.99", "--batch", 8, "--lr", 0.5)
        .succeeds();
    JsonNode config = new ObjectMapper().readTree(run.resolve("config.json").toFile());
    assertEquals(4, config.get("config").get("filters").asInt());
    assertEquals(0.99, config.get("training").get("beta2").asDouble());
    assertEquals(8, config.get("training").get("batch").asInt());
    assertEquals(0.5, config.get("training").get("learningRate").asDouble());
    assertEquals(8, config.get("config").get("height").asInt());
  }

  @Test
  void aRunIsNotOverwritten() throws IOException {
    Path run = folder.resolve("kept");
    tiny(run, "--steps", 2).succeeds();
    byte[] state = Files.readAllBytes(run.resolve("state"));
    tiny(run, "--steps", 2).fails(2, "already holds a run", "--resume");
    assertArrayEquals(state, Files.readAllBytes(run.resolve("state")));
  }

  @Test
  void badArgumentsAreTheUsersError() throws IOException {
    Path run = folder.resolve("never");
    train(run, "--preset", "huge").fails(2, "huge", "tiny, small or paper");
    tiny(run, "--set", "filtres=4").fails(2, "filtres", "filters", "learningRate");
    tiny(run, "--set", "height=9").fails(2, "unknown key 'height'");
    tiny(run, "--set", "filters=many").fails(2, "filters=many", "whole number");
    tiny(run, "--set", "filters=0").fails(2, "filters");
    tiny(run, "--set", "filters").fails(2, "--set");
    tiny(run, "--steps", 3, "--seconds", 3).fails(2, "--steps", "--seconds");
    tiny(run, "--steps", 0).fails(2, "--steps");
    tiny(run, "--steps", "soon").fails(2, "soon");
    tiny(run, "--batch", 0).fails(2, "batch");
    tiny(run, "--batch", 91).fails(2, "--batch");
    tiny(run, "--lr", "-1").fails(2, "learningRate");
    tiny(run, "--dtype", "f16").fails(2, "f16");
    tiny(run, "--dtype", "u8").fails(2, "--dtype u8");
    tiny(run, "--device", "tpu").fails(2, "--device");
    tiny(run, "--resume").fails(2, run.toString(), "no such run");
    Cli.run("train", "pixelfly", "--data", data, "--out", run).fails(2, "gated-pixelcnn");
    Cli.run("train", "gated-pixelcnn", "--data", folder.resolve("absent"), "--out", run)
        .fails(2, "absent");
    Cli.run(
            "train",
            "gated-pixelcnn",
            "--data",
            Files.createDirectory(folder.resolve("empty")),
            "--out",
            run)
        .fails(2, "empty");
    Cli.run("train", "gated-pixelcnn", "--out", run).fails(2, "--data");
    assertFalse(Files.exists(run), "nothing was written");
  }

  @ParameterizedTest
  @ValueSource(strings = {"pixelcnn", "gated-pixelcnn", "pixelcnn++"})
  void everyModelLearnsColoursAndClasses(String model) throws IOException {
    Path rgb = TestData.cifar(folder.resolve("cifar"), 40);
    Path out = folder.resolve("rgb-" + model);
    Object[] train = {
      "train", model, "--data", rgb, "--out", out, "--preset", "tiny", "--steps", 1, "--batch", 2
    };
    List<Object> conditional = new ArrayList<>(List.of(train));
    conditional.add("--conditional");
    Cli.run(conditional.toArray()).succeeds();
    Cli.run("eval", out, "--data", rgb).succeeds();
    Path npy = folder.resolve("drawn.npy");
    Cli.run("sample", out, "--out", npy, "--count", 1, "--class", 9).succeeds();
    assertEquals(128 + 32 * 32 * 3, Files.size(npy));
    Cli.run("sample", out, "--out", npy, "--class", 10).fails(2, "--class 10", "0 to 9");
  }

  @Test
  void coloursShareAModelsChannels() throws IOException {
    Path rgb = TestData.cifar(folder.resolve("cifar"), 20);
    Path out = folder.resolve("rgb");
    Cli.run("train", "gated-pixelcnn", "--data", rgb, "--out", out, "--set", "filters=32")
        .fails(2, "filters", "multiple", "3 channels");
  }

  @Test
  void classesAreAskedForWhereThereAreAny() throws IOException {
    Path plain = TestData.idx(folder.resolve("plain"), 60, 8, 8);
    Files.delete(plain.resolve("train-labels-idx1-ubyte"));
    Path out = folder.resolve("no-classes");
    Cli.run("train", "pixelcnn", "--data", plain, "--out", out, "--conditional")
        .fails(2, "--conditional", "no classes");
    Path run = folder.resolve("unconditional");
    tiny(run, "--steps", 1).succeeds();
    tiny(run, "--steps", 2, "--resume", "--conditional").fails(2, "--conditional");
  }

  @Test
  void truncatedDataIsNamed() throws IOException {
    Path cut = TestData.idx(folder.resolve("cut"), 50, 8, 8);
    Path images = cut.resolve("train-images-idx3-ubyte");
    byte[] bytes = Files.readAllBytes(images);
    Files.write(images, Arrays.copyOf(bytes, bytes.length - 5));
    Cli.run("train", "gated-pixelcnn", "--data", cut, "--out", folder.resolve("cut-run"))
        .fails(2, "train-images-idx3-ubyte");
  }

  @Test
  void aLossThatIsNoNumberKeepsTheLastGoodCheckpoint() throws IOException {
    Path run = folder.resolve("diverged");
    tiny(run, "--steps", 3).succeeds();
    byte[] state = Files.readAllBytes(run.resolve("state"));
    byte[] model = Files.readAllBytes(run.resolve("model.safetensors"));
    tiny(run, "--resume", "--lr", "1e30", "--set", "warmupSteps=0", "--steps", 50)
        .fails(1, "at step", "checkpoint is kept");
    assertArrayEquals(state, Files.readAllBytes(run.resolve("state")));
    assertArrayEquals(model, Files.readAllBytes(run.resolve("model.safetensors")));
    tiny(run, "--resume", "--lr", "1e-3", "--steps", 5).succeeds();
  }

  @Test
  void aDamagedStateOrConfigIsNamed() throws IOException {
    Path run = folder.resolve("damaged");
    tiny(run, "--steps", 2).succeeds();
    byte[] state = Files.readAllBytes(run.resolve("state"));
    Files.write(run.resolve("state"), Arrays.copyOf(state, state.length / 2));
    tiny(run, "--resume", "--steps", 4).fails(2, "state");
    Files.write(run.resolve("state"), Files.readAllBytes(run.resolve("model.safetensors")));
    tiny(run, "--resume", "--steps", 4).fails(2, "state");
    Files.write(run.resolve("state"), state);
    Path config = run.resolve("config.json");
    String text = Files.readString(config);
    for (String bad :
        List.of(
            "",
            "{",
            "[]",
            "null",
            text.replace("gated-pixelcnn", "pixelfly"),
            text.replace("\"filters\" : 8", "\"filters\" : \"8\""),
            text.replace("\"filters\" : 8", "\"filters\" : -8"),
            text.replace("\"filters\" : 8,", ""),
            text.replace("\"beta1\"", "\"beta9\""),
            text.replace("\"seed\" : 0", "\"seed\" : []"),
            text.replace("\"dtype\"", "\"d\""))) {
      Files.writeString(config, bad);
      tiny(run, "--resume", "--steps", 4).fails(2, "config.json");
    }
    Files.writeString(config, text);
    tiny(run, "--resume", "--steps", 4).succeeds();
  }

  @Test
  void otherDataThanTheRunsIsRefused() throws IOException {
    Path run = folder.resolve("same-data");
    tiny(run, "--steps", 2).succeeds();
    Path more = TestData.idx(folder.resolve("more"), 120, 8, 8);
    Path wide = TestData.idx(folder.resolve("wide"), 100, 8, 9);
    Cli.run("train", "gated-pixelcnn", "--data", more, "--out", run, "--resume")
        .fails(2, "108", "90");
    Cli.run("train", "gated-pixelcnn", "--data", wide, "--out", run, "--resume")
        .fails(2, "8x9x1", "8x8x1");
  }
}
