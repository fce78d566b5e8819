package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.gatun.engine.io.Image;
import dev.gatun.engine.io.Images;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What is done with models that make images out of noise; these are hardly trained. */
class DenoisingCommandsTest {
  private static final int HEADER = 128; // of a NumPy file

  @TempDir static Path folder;
  private static Path data;
  private static Path run;

  private static Cli.Result train(String model, Path data, Path out, Object... more) {
    List<Object> words = new ArrayList<>();
    words.addAll(List.of("train", model, "--data", data, "--out", out, "--preset", "tiny"));
    words.addAll(List.of("--device", "cpu", "--steps", 4, "--json"));
    words.addAll(List.of(more));
    return Cli.run(words.toArray());
  }

  @BeforeAll
  static void train() throws IOException {
    data = TestData.idx(folder.resolve("data"), 100, 8, 8);
    run = folder.resolve("run");
    JsonNode json = train("ddpm", data, run).succeeds().json();
    assertTrue(json.get("loss").asDouble() > 0);
    assertFalse(json.has("bitsPerDim"), "a denoising loss is no likelihood");
  }

  private static byte[] npy(Object... words) throws IOException {
    Path file = folder.resolve("drawn.npy");
    List<Object> all = new ArrayList<>(List.of(words));
    all.addAll(List.of("--out", file, "--device", "cpu"));
    Cli.run(all.toArray()).succeeds();
    byte[] bytes = Files.readAllBytes(file);
    return Arrays.copyOfRange(bytes, HEADER, bytes.length);
  }

  @Test
  void eachSamplerDrawsAndImageKOfASeedDoesNotDependOnTheCount() throws IOException {
    for (String sampler : List.of("ddim", "ddpm", "dpmpp", "heun")) {
      byte[] five =
          npy("sample", run, "--sampler", sampler, "--steps", 4, "--count", 5, "--seed", 3);
      assertEquals(5 * 64, five.length);
      byte[] two =
          npy("sample", run, "--sampler", sampler, "--steps", 4, "--count", 2, "--seed", 3);
      assertArrayEquals(Arrays.copyOf(five, 2 * 64), two, sampler);
    }
    byte[] plain = npy("sample", run, "--steps", 4, "--count", 2);
    assertFalse(
        Arrays.equals(plain, npy("sample", run, "--steps", 4, "--count", 2, "--eta", 1)), "eta");
    assertFalse(
        Arrays.equals(plain, npy("sample", run, "--steps", 4, "--count", 2, "--threshold", "none")),
        "threshold");
  }

  @Test
  void theDenoisingIsAnAnimationAndAStrip() throws IOException {
    Path png = folder.resolve("grid.png");
    Path gif = folder.resolve("grid.gif");
    Path strip = folder.resolve("strip.png");
    Object[] words = {
      "sample", run, "--out", png, "--gif", gif, "--strip", strip, "--count", 3, "--steps", 6
    };
    Cli.run(words).succeeds();
    Image whole = Images.read(png);
    Image row = Images.read(strip);
    assertEquals(6 * 82 + 2, row.width());
    assertEquals(3 * 82 + 2, row.height());
    // the strip ends with what the grid has
    assertEquals(whole.pixels()[40 * whole.width() + 40], row.pixels()[40 * row.width() + 450]);
    ImageReader reader = ImageIO.getImageReadersByFormatName("gif").next();
    try (ImageInputStream in = ImageIO.createImageInputStream(gif.toFile())) {
      reader.setInput(in);
      assertEquals(6, reader.getNumImages(true));
      int last = reader.read(5).getRGB(40, 40) & 0xFF;
      assertEquals(whole.pixels()[40 * whole.width() + 40] & 0xFF, last, 3);
    } finally {
      reader.dispose();
    }
  }

  @Test
  void classesGuide() throws IOException {
    Path classes = folder.resolve("classes");
    train("edm", data, classes, "--conditional", "--lr", 0.05).succeeds();
    byte[] one = npy("sample", classes, "--steps", 3, "--count", 2, "--class", 1);
    assertEquals(2 * 64, one.length);
    byte[] beyond =
        npy("sample", classes, "--steps", 3, "--count", 2, "--class", 1, "--guidance", 3);
    assertFalse(Arrays.equals(one, beyond), "guidance");
    byte[] churned = npy("sample", classes, "--steps", 3, "--count", 2, "--class", 1, "--churn", 9);
    assertFalse(Arrays.equals(one, churned), "churn");
    Path png = folder.resolve("never.png");
    Cli.run("sample", classes, "--out", png, "--class", 4).fails(2, "--class 4", "0 to 3");
    Cli.run("sample", run, "--out", png, "--guidance", 2).fails(2, "guidance", "labelDropout");
    assertFalse(Files.exists(png));
  }

  private static Path image(int side, int channels) throws IOException {
    Path png = folder.resolve("image" + side + "x" + channels + ".png");
    byte[] pixels = new byte[side * side * channels];
    for (int i = 0; i < pixels.length; i++) {
      pixels[i] = (byte) (i * 3 + 20);
    }
    Images.writePng(png, new Image(side, side, channels, pixels));
    return png;
  }

  @Test
  void aPartOfAnImageIsDrawnAnew() throws IOException {
    Path png = image(8, 1);
    byte[] image = Images.read(png).pixels();
    byte[] drawn =
        npy("inpaint", run, "--image", png, "--box", "2,3,4,2", "--count", 2, "--steps", 4);
    int changed = 0;
    for (int i = 0; i < drawn.length; i++) {
      int x = i % 8;
      int y = i / 8 % 8;
      boolean inside = x >= 2 && x < 6 && y >= 3 && y < 5;
      if (!inside) {
        assertEquals(image[i % 64], drawn[i], "pixel " + i);
      } else {
        changed += drawn[i] == image[i % 64] ? 0 : 1;
      }
    }
    assertTrue(changed > 8, changed + " of 16 pixels were drawn");
    byte[] pixels = new byte[64];
    pixels[5] = (byte) 255;
    Path mask = folder.resolve("mask.png");
    Images.writePng(mask, new Image(8, 8, 1, pixels));
    byte[] one = npy("inpaint", run, "--image", png, "--mask", mask, "--steps", 3);
    one[5] = image[5];
    assertArrayEquals(image, one);
    byte[] again =
        npy("inpaint", run, "--image", png, "--mask", mask, "--steps", 3, "--resample", 2);
    again[5] = image[5];
    assertArrayEquals(image, again);
    byte[] green = new byte[3 * 64];
    green[3 * 5 + 1] = (byte) 255;
    Images.writePng(mask, new Image(8, 8, 3, green));
    byte[] coloured = npy("inpaint", run, "--image", png, "--mask", mask, "--steps", 3);
    assertTrue(coloured[5] != image[5], "green is bright");
    // the upper rows stay, as with other models
    byte[] completed = npy("complete", run, "--image", png, "--rows", 5, "--count", 2);
    assertArrayEquals(Arrays.copyOf(image, 40), Arrays.copyOfRange(completed, 64, 104));
    Path out = folder.resolve("never2.png");
    Cli.run("inpaint", run, "--image", png, "--out", out).fails(2, "--mask", "--box");
    Cli.run("inpaint", run, "--image", png, "--out", out, "--box", "2,3,7,1")
        .fails(2, "--box 2,3,7,1", "8 wide");
    Cli.run("inpaint", run, "--image", png, "--out", out, "--box", "a").fails(2, "--box a");
    Images.writePng(mask, new Image(8, 8, 1, new byte[64]));
    Cli.run("inpaint", run, "--image", png, "--out", out, "--mask", mask)
        .fails(2, "--mask", "dark everywhere");
    for (List<Object> option :
        List.<List<Object>>of(List.of("--sampler", "heun"), List.of("--eta", 1))) {
      List<Object> words = new ArrayList<>(List.of("inpaint", run, "--image", png, "--out", out));
      words.addAll(List.of("--box", "1,1,1,1", "--resample", 2));
      words.addAll(option);
      Cli.run(words.toArray()).fails(2, option.getFirst().toString(), "--resample");
    }
    Cli.run("inpaint", run, "--image", image(9, 1), "--out", out, "--box", "1,1,1,1")
        .fails(2, "9x9", "8x8");
    assertFalse(Files.exists(out));
  }

  @Test
  void imagesAreMadeLargerAndColoured() throws IOException {
    Path larger = folder.resolve("larger");
    train("ddpm", data, larger, "--set", "condition=half").succeeds();
    byte[] small = npy("upscale", larger, "--image", image(4, 1), "--steps", 3, "--count", 2);
    assertEquals(2 * 64, small.length);
    assertEquals(64, npy("upscale", larger, "--image", image(8, 1), "--steps", 3).length);
    Path png = folder.resolve("one.png");
    Cli.run("upscale", larger, "--image", image(4, 1), "--out", png, "--steps", 2).succeeds();
    assertEquals(8, Images.read(png).width(), "one image is written as it is");
    Path out = folder.resolve("never3.png");
    Cli.run("upscale", larger, "--image", image(9, 1), "--out", out).fails(2, "9x9", "4x4", "8x8");
    Cli.run("sample", larger, "--out", out).fails(2, "gatun upscale");
    Cli.run("upscale", run, "--image", image(4, 1), "--out", out).fails(2, "condition=half");
    Cli.run("colorize", larger, "--image", image(8, 1), "--out", out).fails(2, "condition=grey");
    train("ddpm", data, folder.resolve("grey"), "--set", "condition=grey").fails(2, "grey already");

    Path rgb = TestData.cifar(folder.resolve("cifar"), 30);
    Path coloured = folder.resolve("coloured");
    train("edm", rgb, coloured, "--set", "condition=grey").succeeds();
    Object[] words = {"colorize", coloured, "--image", image(32, 1), "--steps", 2};
    assertEquals(32 * 32 * 3, npy(words).length);
    assertFalse(Files.exists(out));
  }

  @Test
  void whatLiesBetweenTwoImagesBeginsAndEndsWithThem() throws IOException {
    Path a = image(8, 1);
    Path b = folder.resolve("b.png");
    byte[] pixels = new byte[64];
    Arrays.fill(pixels, (byte) 160);
    Images.writePng(b, new Image(8, 8, 1, pixels));
    byte[] drawn =
        npy(
            "interpolate",
            run,
            "--image",
            a,
            "--image",
            b,
            "--count",
            5,
            "--steps",
            50,
            "--threshold",
            "none");
    assertEquals(5 * 64, drawn.length);
    byte[] first = Images.read(a).pixels();
    for (int i = 0; i < 64; i++) {
      assertEquals(first[i] & 0xFF, drawn[i] & 0xFF, 12, "pixel " + i + " of the first");
      assertEquals(160, drawn[4 * 64 + i] & 0xFF, 12, "pixel " + i + " of the last");
    }
    byte[] kept = npy("interpolate", run, "--image", a, "--image", b, "--count", 2);
    for (int i = 0; i < 64; i++) {
      assertEquals(first[i] & 0xFF, kept[i] & 0xFF, 12, "pixel " + i + " by the usual threshold");
    }
    Path out = folder.resolve("never4.png");
    Cli.run("interpolate", run, "--image", a, "--out", out).fails(2, "--image twice");
    Object[][] others = {{"--sampler", "heun"}, {"--eta", 1}, {"--churn", 2}, {"--seed", 5}};
    for (Object[] other : others) {
      Cli.run("interpolate", run, "--image", a, "--image", b, "--out", out, other[0], other[1])
          .fails(2, other[0].toString(), "leave the option out");
    }
    assertFalse(Files.exists(out));
  }

  @Test
  void badArgumentsAreTheUsersError() throws IOException {
    Path png = folder.resolve("never5.png");
    Cli.run("sample", run, "--out", png, "--sampler", "cached").fails(2, "ddim, ddpm, dpmpp, heun");
    Cli.run("sample", run, "--out", png, "--steps", 0).fails(2, "0 steps", "1000");
    Cli.run("sample", run, "--out", png, "--steps", 1001).fails(2, "1001 steps", "1000");
    Cli.run("sample", run, "--out", png, "--sampler", "heun", "--eta", 1).fails(2, "--eta", "heun");
    Cli.run("sample", run, "--out", png, "--churn", 2).fails(2, "--churn", "heun", "edm");
    Cli.run("sample", run, "--out", png, "--eta", 2).fails(2, "eta", "0 to 1");
    Cli.run("sample", run, "--out", png, "--threshold", "x").fails(2, "static or dynamic");
    Cli.run("sample", run, "--out", png, "--temperature", 0.5).fails(2, "--temperature");
    Cli.run("sample", run, "--out", png, "--strip", "x.gif").fails(2, ".png");
    train("ddpm", data, folder.resolve("x"), "--set", "prediction=v")
        .fails(2, "prediction=v", "noise or image or velocity");
    train("ddpm", data, folder.resolve("x"), "--set", "flip=maybe").fails(2, "true or false");
    train("ddpm", data, folder.resolve("x"), "--set", "groups=3").fails(2, "groups");
    Path pixels = folder.resolve("pixels");
    train("pixelcnn", data, pixels).succeeds();
    Cli.run("sample", pixels, "--out", png, "--steps", 5).fails(2, "--steps", "pixelcnn");
    Cli.run("sample", pixels, "--out", png, "--strip", png).fails(2, "--strip");
    Cli.run("inpaint", pixels, "--image", image(8, 1), "--out", png, "--box", "1,1,1,1")
        .fails(2, "ddpm or edm");
    Cli.run("curve", run, pixels, "--out", png).fails(2, "cannot be compared");
    assertFalse(Files.exists(png));
    Cli.run("curve", run, "--out", png).succeeds();
    Files.delete(png);
  }

  @Test
  void aModelOfFewTimesDrawsInAsManySteps() throws IOException {
    Path few = folder.resolve("few");
    train("ddpm", data, few, "--set", "timesteps=12").succeeds();
    for (String sampler : List.of("ddim", "ddpm", "dpmpp", "heun")) {
      assertEquals(64, npy("sample", few, "--sampler", sampler, "--count", 1).length);
    }
    Path png = image(8, 1);
    npy("inpaint", few, "--image", png, "--box", "1,1,2,2", "--resample", 2);
    npy("interpolate", few, "--image", png, "--image", png, "--count", 2);
    Path out = folder.resolve("never6.png");
    Cli.run("sample", few, "--out", out, "--steps", 13).fails(2, "13 steps", "12");
    assertFalse(Files.exists(out));
  }

  @Test
  void theBoundIsAScore() {
    JsonNode json =
        Cli.run(
                "eval",
                run,
                "--data",
                data,
                "--device",
                "cpu",
                "--times",
                3,
                "--limit",
                7,
                "--json")
            .succeeds()
            .json();
    assertTrue(json.get("bitsPerDim").asDouble() > 0);
    assertTrue(json.get("bitsPerDimError").asDouble() > 0);
    assertEquals("variational bound", json.get("bitsPerDimIs").asText());
    assertEquals(7, json.get("images").asInt());
    assertEquals(3, json.get("times").asInt());
    Cli.run("eval", run, "--data", data, "--times", 0).fails(2, "--times 0");
    Cli.run("eval", run, "--data", data, "--times", 1000).fails(2, "1000 times", "999");
    Cli.run("eval", run, "--data", data, "--metrics", "bpd,fid").fails(2, "fid", "bpd,fd,kid,pr");
  }

  @Test
  void drawnImagesAreHeldAgainstRealOnes() throws IOException {
    Path many = TestData.idx(folder.resolve("many"), 1400, 8, 8);
    Path trained = folder.resolve("trained");
    train("edm", many, trained).succeeds();
    Path sheet = folder.resolve("nearest.png");
    System.setProperty("gatun.cache", folder.resolve("cache").toString());
    try {
      JsonNode json =
          Cli.run(
                  "eval",
                  trained,
                  "--data",
                  many,
                  "--device",
                  "cpu",
                  "--metrics",
                  "fd,kid,pr",
                  "--steps",
                  2,
                  "--nearest",
                  sheet,
                  "--json")
              .succeeds()
              .json();
      assertEquals(70, json.get("drawn").asInt(), "half of 140 test images");
      assertEquals(70, json.get("imagesOfEachKind").asInt());
      assertEquals(12, json.get("classifier").asText().length());
      double floor = json.get("classifierFdFloor").asDouble();
      assertTrue(json.get("classifierFd").asDouble() > floor, "hardly trained");
      for (String field :
          List.of("kernelDistance", "kernelDistanceFloor", "precision", "recall", "recallOfReal")) {
        assertTrue(json.hasNonNull(field), field);
      }
      assertFalse(json.has("bitsPerDim"), "edm has none");
      assertEquals("heun", json.get("sampler").asText());
      assertEquals(2, json.get("samplerSteps").asInt());
      assertEquals("static", json.get("threshold").asText());
      assertEquals(0, json.get("drawSeed").asInt());
      assertEquals(0, json.get("trainingSeed").asInt());
      Cli.Result few =
          Cli.run("eval", trained, "--data", many, "--limit", 100, "--device", "cpu")
              .fails(2, "64 features need more images", "50");
      assertFalse(few.err().contains("sample"), "drawn before it is known that they are too few");
      Files.delete(sheet);
      JsonNode alone =
          Cli.run(
                  "eval",
                  trained,
                  "--data",
                  many,
                  "--device",
                  "cpu",
                  "--steps",
                  2,
                  "--nearest",
                  sheet,
                  "--json")
              .succeeds()
              .json();
      assertFalse(alone.has("classifierFd"), "nobody asked for it");
      assertEquals(8 * 82 + 2, Images.read(sheet).width(), "an image and its seven nearest");
      assertEquals(10 * 82 + 2, Images.read(sheet).height());
    } finally {
      System.clearProperty("gatun.cache");
    }
    Cli.run("eval", trained, "--data", many, "--metrics", "bpd").fails(2, "edm", "bound");
    Cli.run("eval", trained, "--data", many, "--count", 0).fails(2, "--count 0");
    Cli.run("eval", trained, "--data", many, "--nearest", "x.gif").fails(2, "--nearest");
  }
}
