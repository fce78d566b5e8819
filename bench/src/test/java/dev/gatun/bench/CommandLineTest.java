package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.gatun.engine.io.Images;
import dev.gatun.models.Models;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CommandLineTest {
  @TempDir Path folder;

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "demo     | --out --seconds --device --seed",
        "train    | MODEL --data --out --preset --set --steps --seconds --batch --lr --dtype"
            + " --device --seed --conditional --resume --json",
        "sample   | RUN --out --gif --count --seed --class --temperature --sampler --device",
        "complete | RUN --image --rows --out --gif --count --seed --class --temperature --sampler"
            + " --device",
        "eval     | RUN --data --split --limit --device --json",
        "encode   | RUN --data --out --split --limit --device",
        "probe    | RUN --data --labels --seed --out --device --json",
        "curve    | RUN --out",
        "data     | PATH --json --out",
        "devices  | --json",
        "selftest | --device --json",
        "bench    | SUITE --peer --device --json",
        "bundle   | --help"
      })
  void everyCommandExplainsItself(String command, String options) {
    String help = Cli.run(command, "--help").succeeds().out();
    for (String option : options.split(" ")) {
      assertTrue(help.contains(option), option + " is not in " + help);
    }
  }

  @Test
  void theCommandItselfExplainsItself() {
    String help = Cli.run("--help").succeeds().out();
    for (String name :
        List.of("demo", "train", "sample", "complete", "eval", "data", "devices", "selftest")) {
      assertTrue(help.contains("\n  " + name), help);
    }
    assertEquals("gatun " + Models.VERSION, Cli.run("--version").succeeds().out().strip());
  }

  @Test
  void theVersionIsTheBuilds() throws IOException {
    String pom = Files.readString(Path.of("pom.xml"));
    assertTrue(pom.contains("<version>" + Models.VERSION + "</version>"));
    String launcher = Files.readString(Path.of("../gatun"));
    assertTrue(launcher.contains("version=" + Models.VERSION + "\n"));
  }

  @Test
  void wrongUseIsOneLine() {
    Cli.run().fails(2, "demo, train", "--help");
    Cli.run("trian").fails(2, "trian");
    Cli.run("eval", "--frobnicate").fails(2, "eval --help");
    Cli.run("devices", "now").fails(2, "now");
    Cli.run("selftest", "--device", "cuda:77").fails(2, "--device cuda:77");
    Cli.run("bench", "nothing").fails(2, "nothing", "conv");
  }

  @Test
  void devicesAreListed() {
    JsonNode json = Cli.run("devices", "--json").succeeds().json();
    JsonNode cpu = json.get("devices").get(json.get("devices").size() - 1);
    assertEquals("cpu", cpu.get("name").asText());
    assertTrue(cpu.get("usable").asBoolean());
    assertTrue(cpu.get("problem").isNull());
  }

  @Test
  void dataAreDescribedAndShown() throws IOException {
    Path data = TestData.idx(folder.resolve("data"), 100, 8, 6);
    Path grid = folder.resolve("grid.png");
    JsonNode json = Cli.run("data", data, "--json", "--out", grid).succeeds().json();
    assertEquals(90, json.get("train").asInt());
    assertEquals(10, json.get("test").asInt());
    assertEquals(8, json.get("height").asInt());
    assertEquals(6, json.get("width").asInt());
    assertEquals(1, json.get("channels").asInt());
    assertEquals(4, json.get("classes").asInt());
    assertEquals(8 * (6 * 10 + 2) + 2, Images.read(grid).width());
    Cli.run("data", folder.resolve("nothing")).fails(2, "nothing");
    Cli.run("data", data, "--out", "grid.gif").fails(2, "grid.gif");
    Path empty = Files.createDirectory(folder.resolve("empty"));
    Cli.run("data", empty).fails(2, "an empty folder");
  }

  @Test
  void theDemosImagesAreTheOnesItSays() throws IOException {
    Path data = DemoData.unpack(folder.resolve("demo"));
    JsonNode json = Cli.run("data", data, "--json").succeeds().json();
    assertEquals(9000, json.get("train").asInt());
    assertEquals(1000, json.get("test").asInt());
    assertTrue(json.get("licence").asText().endsWith("LICENSE.txt"));
  }
}
