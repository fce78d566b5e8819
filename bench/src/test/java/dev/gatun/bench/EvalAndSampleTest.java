package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.gatun.engine.io.Image;
import dev.gatun.engine.io.Images;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;
import java.util.List;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class EvalAndSampleTest {
  @TempDir static Path folder;
  private static Path data;
  private static Path run;

  @BeforeAll
  static void train() throws IOException {
    data = TestData.idx(folder.resolve("data"), 100, 8, 8);
    run = folder.resolve("run");
    Cli.run(Cli.training(data, run, "--preset", "tiny", "--steps", 5, "--seed", 2)).succeeds();
  }

  @Test
  void evalReportsEveryField() {
    JsonNode json =
        Cli.run("eval", run, "--data", data, "--device", "cpu", "--json").succeeds().json();
    assertTrue(json.get("bitsPerDim").asDouble() > 0 && json.get("bitsPerDim").asDouble() < 9);
    assertEquals(10, json.get("images").asInt());
    assertTrue(json.get("seconds").asDouble() > 0);
    assertTrue(json.get("imagesPerSecond").asDouble() > 0);
    assertTrue(json.get("parameters").asLong() > 1000);
    assertEquals("cpu", json.get("device").asText());
    assertTrue(List.of("f32", "bf16").contains(json.get("dtype").asText()));
    assertEquals(2, json.get("trainingSeed").asInt());
    JsonNode train =
        Cli.run("eval", run, "--data", data, "--split", "train", "--limit", 70, "--json")
            .succeeds()
            .json();
    assertEquals(70, train.get("images").asInt());
    JsonNode all =
        Cli.run("eval", run, "--data", data, "--split", "train", "--limit", 7000, "--json")
            .succeeds()
            .json();
    assertEquals(90, all.get("images").asInt());
  }

  @Test
  void samplesAreAGridOrAnArray() throws IOException {
    Path png = folder.resolve("grid.png");
    Cli.run("sample", run, "--out", png, "--count", 5, "--device", "cpu").succeeds();
    // 3 columns, 2 rows of 80 pixels, 2 between and around
    assertEquals(3 * 82 + 2, Images.read(png).width());
    assertEquals(2 * 82 + 2, Images.read(png).height());
    Path npy = folder.resolve("five.npy");
    Cli.run("sample", run, "--out", npy, "--count", 5, "--seed", 4).succeeds();
    byte[] bytes = Files.readAllBytes(npy);
    assertEquals(128 + 5 * 64, bytes.length);
    assertTrue(
        new String(bytes, 0, 128, StandardCharsets.ISO_8859_1).contains("'shape': (5, 8, 8, 1)"));
    Path again = folder.resolve("again.npy");
    Cli.run("sample", run, "--out", again, "--count", 3, "--seed", 4).succeeds();
    assertArrayEquals(
        Arrays.copyOfRange(bytes, 128, 128 + 3 * 64),
        Arrays.copyOfRange(Files.readAllBytes(again), 128, 128 + 3 * 64),
        "image k of a seed does not depend on the count");
    Path other = folder.resolve("other.npy");
    Cli.run("sample", run, "--out", other, "--count", 5, "--seed", 5).succeeds();
    assertFalse(Arrays.equals(bytes, Files.readAllBytes(other)));
    Cli.run("sample", run, "--out", again, "--count", 2, "--sampler", "full", "--temperature", 0.5)
        .succeeds();
  }

  @Test
  void aDrawingIsAnAnimation() throws IOException {
    Path png = folder.resolve("drawn.png");
    Path gif = folder.resolve("drawn.gif");
    Cli.run("sample", run, "--out", png, "--gif", gif, "--count", 4, "--seed", 3).succeeds();
    ImageReader reader = ImageIO.getImageReadersByFormatName("gif").next();
    try (ImageInputStream in = ImageIO.createImageInputStream(gif.toFile())) {
      reader.setInput(in);
      int frames = reader.getNumImages(true);
      assertEquals(57, frames, "the empty one, and 56 that add to it");
      BufferedImage first = reader.read(0);
      BufferedImage last = reader.read(frames - 1);
      Image whole = Images.read(png);
      int side = whole.width();
      assertEquals(side, last.getWidth());
      for (int i = 0; i < side * side; i++) {
        int drawn = whole.pixels()[i * whole.channels()] & 0xFF;
        assertEquals(drawn, grey(last, i % side, i / side), 3, "the last frame");
      }
      assertEquals(128, grey(first, 40, 40), 3, "the first frame is empty");
    } finally {
      reader.dispose();
    }
    Cli.run("sample", run, "--out", png, "--gif", folder.resolve("x.png")).fails(2, ".gif");
  }

  private static int grey(BufferedImage image, int x, int y) {
    return image.getRGB(x, y) & 0xFF;
  }

  @Test
  void theCurveOfARunIsDrawn() throws IOException {
    Path png = folder.resolve("curve.png");
    Cli.run("curve", run, "--out", png).succeeds();
    assertEquals(900, Images.read(png).width());
    Cli.run("curve", run, run, run, "--out", png).fails(2, "named twice");
    Cli.run("curve", data, "--out", png).fails(2, "config.json");
    Cli.run("curve", run, "--out", folder.resolve("curve.gif")).fails(2, ".png");
  }

  @Test
  void theUpperRowsOfAnImageAreKept() throws IOException {
    Path drawn = folder.resolve("whole.npy");
    Cli.run("sample", run, "--out", drawn, "--count", 1, "--seed", 8).succeeds();
    byte[] image = Arrays.copyOfRange(Files.readAllBytes(drawn), 128, 128 + 64);
    Path png = folder.resolve("whole.png");
    Images.writePng(png, new Image(8, 8, 1, image));
    Path npy = folder.resolve("completed.npy");
    Cli.run("complete", run, "--image", png, "--rows", 5, "--out", npy, "--count", 20).succeeds();
    byte[] all = Files.readAllBytes(npy);
    boolean differ = false;
    for (int n = 0; n < 20; n++) {
      byte[] one = Arrays.copyOfRange(all, 128 + 64 * n, 128 + 64 * (n + 1));
      assertArrayEquals(Arrays.copyOf(image, 40), Arrays.copyOf(one, 40), "rows 0 to 4");
      differ |= !Arrays.equals(image, one);
    }
    assertTrue(differ, "the rest is drawn");
    Cli.run("complete", run, "--image", png, "--rows", 9, "--out", npy).fails(2, "--rows 9", "8");
    Cli.run("complete", run, "--image", png, "--out", npy).fails(2, "--rows");
    Path wide = folder.resolve("wide.png");
    Images.writePng(wide, new Image(8, 9, 1, new byte[72]));
    Cli.run("complete", run, "--image", wide, "--rows", 2, "--out", npy).fails(2, "8x9", "8x8");
    byte[] rgb = new byte[192];
    rgb[0] = 1;
    Path coloured = folder.resolve("coloured.png");
    Images.writePng(coloured, new Image(8, 8, 3, rgb));
    Cli.run("complete", run, "--image", coloured, "--rows", 2, "--out", npy).fails(2, "colours");
  }

  @Test
  void badArgumentsAreTheUsersError() {
    Path png = folder.resolve("never.png");
    Cli.run("sample", run, "--out", png, "--class", 3).fails(2, "--class", "without classes");
    Cli.run("sample", run, "--out", folder.resolve("x.jpg")).fails(2, "x.jpg", ".png or .npy");
    Cli.run("sample", run, "--out", png, "--count", 0).fails(2, "--count 0");
    Cli.run("sample", run, "--out", png, "--temperature", 0).fails(2, "--temperature");
    Cli.run("sample", run, "--out", png, "--temperature", "NaN").fails(2, "--temperature");
    Cli.run("sample", run, "--out", png, "--sampler", "ddim").fails(2, "ddim", "cached, full");
    Cli.run("sample", folder.resolve("none"), "--out", png).fails(2, "none");
    Cli.run("sample", data, "--out", png).fails(2, "config.json");
    Cli.run("sample", run, "--out", folder.resolve("no/such/folder.png")).fails(2, "folder");
    assertFalse(Files.exists(png));
    Cli.run("eval", run, "--data", data, "--split", "valid").fails(2, "valid", "train or test");
    Cli.run("eval", run, "--data", data, "--limit", 0).fails(2, "--limit");
    Cli.run("eval", run).fails(2, "--data");
  }

  @Test
  void dataOfAnotherSizeAreRefused() throws IOException {
    Path wide = TestData.idx(folder.resolve("wide"), 20, 8, 9);
    Cli.run("eval", run, "--data", wide, "--json").fails(2, "8x9x1", "8x8x1");
    Path rgb = TestData.cifar(folder.resolve("cifar"), 20);
    Cli.run("eval", run, "--data", rgb).fails(2, "32x32x3");
  }

  @Test
  void aMissingDamagedOrForeignCheckpointIsNamed() throws IOException {
    Path copy = Files.createDirectory(folder.resolve("copy"));
    Files.copy(run.resolve("config.json"), copy.resolve("config.json"));
    Path png = folder.resolve("never2.png");
    Cli.run("sample", copy, "--out", png).fails(2, "model.safetensors");
    Path model = copy.resolve("model.safetensors");
    byte[] good = Files.readAllBytes(run.resolve("model.safetensors"));
    Files.write(model, Arrays.copyOf(good, good.length - 3));
    Cli.run("sample", copy, "--out", png).fails(2, "model.safetensors");
    Files.write(model, new byte[100]);
    Cli.run("sample", copy, "--out", png).fails(2, "model.safetensors");
    Path wider = folder.resolve("wider");
    Cli.run(
            "train",
            "gated-pixelcnn",
            "--data",
            data,
            "--out",
            wider,
            "--preset",
            "tiny",
            "--steps",
            1,
            "--set",
            "filters=9")
        .succeeds();
    Files.copy(wider.resolve("model.safetensors"), model, StandardCopyOption.REPLACE_EXISTING);
    Cli.run("sample", copy, "--out", png).fails(2, "another model");
    Cli.run("eval", copy, "--data", data).fails(2, "another model");
    assertFalse(Files.exists(png));
  }
}
