package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import dev.gatun.engine.io.Image;
import dev.gatun.engine.io.Images;
import dev.gatun.models.planar.PlanarDensity;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The commands on autoencoders and VAEs; these are hardly trained. */
class VaeCommandsTest {
  private static final int HEADER = 128; // of a NumPy file
  private static final int CELL = 82; // an 8x8 image ten times as large, and 2 pixels before it
  private static final int TESTED = 10; // images of the test split

  @TempDir static Path folder;
  private static Path data;
  private static Path vae; // of two latents
  private static Path vq;
  private static Path auto;
  private static Path points;
  private static Path pixels;

  private static Cli.Result train(String model, Object data, Path out, Object... more) {
    List<Object> words = new ArrayList<>();
    words.addAll(List.of("train", model, "--data", data, "--out", out, "--preset", "tiny"));
    words.addAll(List.of("--device", "cpu", "--json"));
    words.addAll(List.of(more));
    if (!words.contains("--steps")) {
      words.addAll(List.of("--steps", 4));
    }
    return Cli.run(words.toArray());
  }

  @BeforeAll
  static void train() throws IOException {
    data = TestData.idx(folder.resolve("data"), 100, 8, 8);
    vae = folder.resolve("vae");
    train("vae", data, vae, "--set", "latents=2", "--steps", 60).succeeds();
    vq = folder.resolve("vq");
    train("vq-vae", data, vq).succeeds();
    auto = folder.resolve("auto");
    train("autoencoder", data, auto, "--set", "corruption=0.25").succeeds();
    points = folder.resolve("points");
    train("vae", "two-moons", points).succeeds();
    pixels = folder.resolve("pixels");
    train("pixelcnn", data, pixels).succeeds();
  }

  private static byte[] npy(Object... words) throws IOException {
    Path file = folder.resolve("made.npy");
    List<Object> all = new ArrayList<>(List.of(words));
    all.addAll(List.of("--out", file, "--device", "cpu"));
    Cli.run(all.toArray()).succeeds();
    return Files.readAllBytes(file);
  }

  private static byte[] content(byte[] npy) {
    return Arrays.copyOfRange(npy, HEADER, npy.length);
  }

  private static JsonNode eval(Object... words) {
    List<Object> all = new ArrayList<>(List.of("eval"));
    all.addAll(List.of(words));
    all.addAll(List.of("--device", "cpu", "--json"));
    return Cli.run(all.toArray()).succeeds().json();
  }

  /**
   * Activations in bf16 and what is f32 whatever they are have to meet, and gradients with them.
   */
  @ParameterizedTest
  @CsvSource({
    "autoencoder, f32, loss",
    "autoencoder, bf16, loss",
    "vae, bf16, bitsPerDim",
    "iwae, f32, bitsPerDim",
    "iwae, bf16, bitsPerDim",
    "vampprior-vae, f32, bitsPerDim",
    "vampprior-vae, bf16, bitsPerDim",
    "gmm-vae, f32, bitsPerDim",
    "gmm-vae, bf16, bitsPerDim",
    "iaf-vae, f32, bitsPerDim",
    "iaf-vae, bf16, bitsPerDim",
    "categorical-vae, f32, bitsPerDim",
    "categorical-vae, bf16, bitsPerDim",
    "vq-vae, bf16, bitsPerDim"
  })
  void everyModelIsTrainedScoredAndDrawnFrom(String model, String type, String key)
      throws IOException {
    Path run = folder.resolve(model + type);
    JsonNode trained = train(model, data, run, "--dtype", type, "--steps", 2).succeeds().json();
    assertTrue(trained.get(key).asDouble() > 0, key);
    if (model.equals("autoencoder")) {
      return;
    }
    JsonNode score = eval(run, "--data", data, "--limit", 3);
    assertTrue(score.get(key).asDouble() > 0 && score.get(key).asDouble() < 20, score.toString());
    byte[] five = content(npy("sample", run, "--count", 5, "--seed", 3));
    assertEquals(5 * 64, five.length);
    byte[] two = content(npy("sample", run, "--count", 2, "--seed", 3));
    assertArrayEquals(Arrays.copyOf(five, 2 * 64), two, "image k does not depend on the count");
  }

  @Test
  void aLongFlowIsTrainedAndScored() {
    Path run = folder.resolve("long");
    // those of the paper's preset, in a small network
    train("iaf-vae", data, run, "--set", "flows=8", "--steps", 1).succeeds();
    assertTrue(eval(run, "--data", data, "--limit", 2).get("bitsPerDim").asDouble() > 0);
  }

  @Test
  void drawsShowTheMeanOrPixelsToo() throws IOException {
    byte[] mean = content(npy("sample", vae, "--count", 4));
    byte[] exact = content(npy("sample", vae, "--count", 4, "--sampler", "exact"));
    assertArrayEquals(mean, content(npy("sample", vae, "--count", 4, "--sampler", "mean")));
    assertFalse(Arrays.equals(mean, exact), "exact");
    byte[] tame = content(npy("sample", vae, "--count", 4, "--temperature", 0.1));
    assertFalse(Arrays.equals(mean, tame), "temperature");
    Path png = folder.resolve("drawn.png");
    Cli.run("sample", vae, "--out", png, "--count", 5, "--device", "cpu").succeeds();
    assertEquals(3 * CELL + 2, Images.read(png).width());
  }

  @Test
  void whatCannotBeDrawnIsRefused() throws IOException {
    Path png = folder.resolve("never.png");
    Path gif = folder.resolve("never.gif");
    Cli.run("sample", auto, "--out", png).fails(2, "autoencoder", "gatun plot");
    Cli.run("sample", points, "--out", png).fails(2, "points", "density");
    Cli.run("sample", vae, "--out", png, "--gif", gif).fails(2, "--gif", "as a whole");
    Cli.run("sample", vae, "--out", png, "--sampler", "cached").fails(2, "mean, exact");
    Cli.run("sample", vq, "--out", png, "--sampler", "mean").fails(2, "cached");
    Cli.run("sample", vae, "--out", png, "--class", 1).fails(2, "without classes");
    Path image = folder.resolve("image.png");
    Images.writePng(image, new Image(8, 8, 1, new byte[64]));
    for (Path run : List.of(vae, vq)) {
      Cli.run("complete", run, "--image", image, "--rows", 4, "--out", png)
          .fails(2, "complete", "as a whole");
    }
    Cli.run("interpolate", vae, "--image", image, "--image", image, "--out", png)
        .fails(2, "ddpm or edm");
    assertFalse(Files.exists(png) || Files.exists(gif));
  }

  @Test
  void evalIsABoundThatSamplesTighten() {
    JsonNode one = eval(vae, "--data", data, "--split", "train");
    assertEquals(90, one.get("images").asInt());
    assertEquals(1, one.get("samples").asInt());
    assertEquals("evidence lower bound", one.get("bitsPerDimIs").asText());
    assertEquals("f32", one.get("bitsPerDimDtype").asText());
    assertTrue(one.get("bitsPerDimError").asDouble() > 0);
    assertTrue(one.get("seconds").asDouble() > 0);
    assertEquals(0, one.get("trainingSeed").asInt());
    assertEquals("vae", one.get("model").asText());
    JsonNode ten = eval(vae, "--data", data, "--split", "train", "--samples", 10);
    assertEquals(10, ten.get("samples").asInt());
    assertEquals("importance-weighted bound of 10", ten.get("bitsPerDimIs").asText());
    // Burda et al. 2016, theorem 1, in expectation; the seed of the draws is fixed
    assertTrue(
        ten.get("bitsPerDim").asDouble() <= one.get("bitsPerDim").asDouble(), ten + " and " + one);
    JsonNode again = eval(vae, "--data", data, "--split", "train", "--samples", 10);
    assertEquals(ten.get("bitsPerDim").asDouble(), again.get("bitsPerDim").asDouble());
  }

  @Test
  void aScoreSaysWhatIsNoLikelihood() {
    Path run = folder.resolve("bernoulli");
    train("vae", data, run, "--set", "likelihood=bernoulli").succeeds();
    JsonNode grey = eval(run, "--data", data, "--limit", 3);
    assertTrue(grey.get("natsIs").asText().contains("not a likelihood"), grey.toString());
    Path density = folder.resolve("gaussian");
    train("vae", data, density, "--set", "likelihood=gaussian").succeeds();
    JsonNode json = eval(density, "--data", data, "--limit", 3);
    assertTrue(json.get("natsIs").asText().contains("density"), json.toString());
  }

  @Test
  void pointsAreScoredBesideTheirEntropy() {
    Cli.Result result =
        Cli.run("eval", points, "--data", "two-moons", "--limit", 20, "--device", "cpu", "--json")
            .succeeds();
    JsonNode json = result.json();
    assertEquals(PlanarDensity.TWO_MOONS.entropy(), json.get("entropy").asDouble());
    // hardly trained, and its error is a tenth of a nat or so
    assertTrue(json.get("nats").asDouble() > json.get("entropy").asDouble(), json.toString());
    assertTrue(result.err().contains("20 points"), result.err());
    assertTrue(result.err().contains("the entropy of two-moons"), result.err());
  }

  @Test
  void scoresThatAModelHasNotAreRefused() {
    Cli.run("eval", pixels, "--data", data, "--samples", 5).fails(2, "--samples 5", "VAEs");
    Cli.run("eval", vae, "--data", data, "--times", 5).fails(2, "--times 5", "ddpm");
    Cli.run("eval", vae, "--data", data, "--samples", 0).fails(2, "--samples 0", "positive");
    Cli.run("eval", vae, "--data", data, "--samples", 2147483647).fails(2, "at most 1000000");
    Cli.run("eval", vq, "--data", data, "--samples", 2).fails(2, "--samples 2", "one latent");
    Cli.run("eval", auto, "--data", data).fails(2, "autoencoder");
    Cli.run("eval", auto, "--data", data, "--metrics", "bpd").fails(2, "--metrics bpd");
    Cli.run("eval", points, "--data", data).fails(2, "8x8x1", "1x1x2");
    Cli.run("eval", vae, "--data", "two-moons").fails(2, "1x1x2", "8x8x1");
    Cli.run("eval", points, "--data", "two-moons", "--metrics", "fd").fails(2, "no classes");
  }

  private static Image plot(Path run, String what, Object... more) throws IOException {
    Path png = folder.resolve(what + ".png");
    List<Object> words = new ArrayList<>(List.of("plot", run, "--what", what, "--out", png));
    words.addAll(List.of("--device", "cpu"));
    words.addAll(List.of(more));
    Cli.run(words.toArray()).succeeds();
    Image image = Images.read(png);
    boolean blank = true;
    for (byte value : image.pixels()) {
      blank &= value == image.pixels()[0];
    }
    assertFalse(blank, what);
    return image;
  }

  private static void assertGrid(int columns, int rows, Image image) {
    assertEquals(columns * CELL + 2, image.width());
    assertEquals(rows * CELL + 2, image.height());
  }

  /** The pixel of an image in a grid, at the middle of its cell. */
  private static int at(Image grid, int row, int column, int y, int x) {
    int line = 2 + row * CELL + 10 * y + 5;
    return grid.pixels()[(line * grid.width() + 2 + column * CELL + 10 * x + 5) * grid.channels()]
        & 0xFF;
  }

  @Test
  void imagesStandAboveTheirReconstructions() throws IOException {
    for (Path run : List.of(vae, vq, auto)) {
      Image image = plot(run, "reconstructions");
      assertGrid(16, 2, image);
      // columns of the data rise from left to right by 8 a pixel; the last ones are left empty
      for (int column = 0; column < TESTED; column++) {
        assertEquals(56, at(image, 0, column, 3, 7) - at(image, 0, column, 3, 0), 3);
      }
      assertEquals(at(image, 0, TESTED, 3, 0), at(image, 0, TESTED, 3, 7));
    }
    assertGrid(16, 2, plot(vae, "reconstructions", "--limit", 3, "--data", data));
  }

  @Test
  void latentsAreToured() throws IOException {
    assertGrid(20, 20, plot(vae, "manifold"));
    assertGrid(11, 2, plot(vae, "traversal"));
    assertGrid(11, TESTED / 2, plot(vae, "interpolation"));
    assertGrid(11, 1, plot(vq, "interpolation", "--limit", 3));
    assertGrid(11, 5, plot(auto, "interpolation", "--split", "train", "--limit", 10));
    for (Path run : List.of(vae, auto, points)) {
      Image chart = plot(run, "scatter", "--limit", 50);
      assertEquals(900, chart.width());
      assertEquals(800, chart.height());
    }
  }

  @Test
  void aDensityStandsBesideTheTrueOne() throws IOException {
    Image image = plot(points, "density");
    assertEquals(DensityPlot.left(2), image.width());
    int cells = 100;
    double[] density = PlanarDensity.TWO_MOONS.grid(cells);
    int densest = 0;
    for (int i = 0; i < density.length; i++) {
      densest = density[i] > density[densest] ? i : densest;
    }
    double cell = (double) DensityPlot.SIDE / cells;
    int x = DensityPlot.left(0) + (int) ((densest % cells + 0.5) * cell);
    int up = (int) ((densest / cells + 0.5) * cell);
    int y = DensityPlot.TITLE + DensityPlot.SIDE - 1 - up;
    int colour = 0;
    for (int c = 0; c < 3; c++) {
      colour = colour << 8 | image.pixels()[3 * (y * image.width() + x) + c] & 0xFF;
    }
    assertEquals(DensityPlot.viridis(1), colour, "the true one's peak is the brightest");
  }

  @Test
  void picturesThatMakeNoSenseAreRefused() {
    Path png = folder.resolve("never2.png");
    Object[] words = {"plot", vae, "--out", png, "--what", "nothing"};
    Cli.run(words).fails(2, "--what nothing", "reconstructions, manifold");
    Path four = folder.resolve("four");
    train("vae", data, four).succeeds();
    Cli.run("plot", four, "--out", png, "--what", "manifold").fails(2, "manifold", "latents=2");
    Path pair = folder.resolve("pair");
    train("categorical-vae", data, pair, "--set", "latents=1", "--set", "categories=2").succeeds();
    Cli.run("plot", pair, "--out", png, "--what", "manifold").fails(2, "manifold", "two latents");
    Cli.run("plot", vae, "--out", png, "--what", "density").fails(2, "density", "points");
    Cli.run("plot", vq, "--out", png, "--what", "traversal").fails(2, "traversal", "numbers");
    Cli.run("plot", pixels, "--out", png, "--what", "scatter").fails(2, "no encoder");
    Cli.run("plot", points, "--out", png, "--what", "manifold").fails(2, "of points");
    Cli.run("plot", points, "--out", png, "--what", "density", "--data", "nowhere")
        .fails(2, "two-moons", "nowhere");
    Cli.run("plot", vae, "--out", png, "--what", "manifold", "--limit", 3).fails(2, "--limit");
    Cli.run("plot", vae, "--out", png, "--what", "interpolation", "--limit", 1)
        .fails(2, "interpolation", "2 or more");
    Cli.run("plot", four, "--out", png, "--what", "scatter", "--limit", 1)
        .fails(2, "2 images or more");
    Cli.run("plot", vae, "--out", png, "--what", "scatter", "--data", "two-moons")
        .fails(2, "1x1x2", "8x8x1");
    Cli.run("plot", vae, "--out", folder.resolve("x.npy"), "--what", "scatter").fails(2, ".png");
    assertFalse(Files.exists(png));
  }

  @Test
  void featuresAreWrittenAsAnArray() throws IOException {
    byte[] all = npy("encode", vae, "--data", data);
    String header = new String(all, 0, HEADER, StandardCharsets.ISO_8859_1);
    assertTrue(header.contains("'<f4'") && header.contains("'shape': (10, 2)"), header);
    assertEquals(TESTED * 2 * Float.BYTES, content(all).length);
    ByteBuffer values = ByteBuffer.wrap(content(all)).order(ByteOrder.LITTLE_ENDIAN);
    boolean differ = false;
    for (int i = 0; i < 2 * TESTED; i++) {
      assertTrue(Float.isFinite(values.getFloat(i * Float.BYTES)));
      differ |= values.getFloat(i * Float.BYTES) != values.getFloat(i % 2 * Float.BYTES);
    }
    assertTrue(differ, "images have features of their own");
    byte[] four = content(npy("encode", vae, "--data", data, "--limit", 4));
    assertArrayEquals(Arrays.copyOf(content(all), 4 * 2 * Float.BYTES), four);
    byte[] train = npy("encode", vq, "--data", data, "--split", "train");
    String wide = new String(train, 0, HEADER, StandardCharsets.ISO_8859_1);
    assertTrue(wide.contains("'shape': (90, 16)"), wide); // 2x2 codes of 4 channels
    byte[] ofPoints = npy("encode", points, "--data", "two-moons", "--limit", 6);
    assertEquals(6 * 4 * Float.BYTES, content(ofPoints).length); // four latents
  }

  /** The codebook's averages, the schedules and the noise go on where they were. */
  @ParameterizedTest
  @CsvSource({"vae", "vq-vae", "categorical-vae"})
  void aResumedRunEqualsAnUnbrokenOne(String model) throws IOException {
    Path whole = folder.resolve(model + "-whole");
    Path parts = folder.resolve(model + "-parts");
    Object[] schedule =
        model.equals("vae")
            ? new Object[] {"--set", "capacity=3", "--set", "capacitySteps=9"}
            : new Object[] {};
    train(model, data, whole, with(schedule, "--steps", 12)).succeeds();
    train(model, data, parts, with(schedule, "--steps", 5)).succeeds();
    train(model, data, parts, "--resume", "--steps", 12).succeeds();
    Cli.assertSameBytes(whole.resolve("model.safetensors"), parts.resolve("model.safetensors"));
    assertArrayEquals(npy("encode", whole, "--data", data), npy("encode", parts, "--data", data));
  }

  private static Object[] with(Object[] words, Object... more) {
    List<Object> all = new ArrayList<>(List.of(words));
    all.addAll(List.of(more));
    return all.toArray();
  }

  @Test
  void anEncoderIsProbedWithFewLabels() throws IOException {
    Path chart = folder.resolve("labels.png");
    JsonNode json =
        Cli.run(
                "probe",
                auto,
                "--data",
                brightness(),
                "--labels",
                "12,all",
                "--out",
                chart,
                "--device",
                "cpu",
                "--json")
            .succeeds()
            .json();
    assertEquals(2, json.get("accuracies").size());
    JsonNode all = json.get("accuracies").get(1);
    assertEquals(108, all.get("labels").asInt());
    for (String method : List.of("encoder", "fineTuned", "scratch", "pca", "kMeans")) {
      double accuracy = all.get(method).asDouble();
      // four levels of brightness that hardly overlap; a guess is right at 3 of 12 images
      assertTrue(accuracy > 0.6, method + ": " + json);
    }
    assertTrue(Images.read(chart).width() > 100);
    Cli.run("probe", auto, "--data", brightness(), "--labels", "1000").fails(2, "1000", "108");
    Cli.run("probe", auto, "--data", brightness(), "--labels", "3").fails(2, "3 labels", "5");
    Cli.run("probe", points, "--data", "two-moons").fails(2, "two-moons", "no labels");
  }

  /** 120 images whose class is how bright they are. */
  private static Path brightness() throws IOException {
    Path set = folder.resolve("brightness");
    TestData.idx(set, 120, 8, 8);
    Path file = set.resolve("train-images-idx3-ubyte");
    byte[] images = Files.readAllBytes(file);
    for (int i = 16; i < images.length; i++) {
      int image = (i - 16) / 64;
      images[i] = (byte) (image % 4 * 60 + (i * 7 + image) % 10);
    }
    Files.write(file, images);
    return set;
  }

  @Test
  void settingsAreThoseOfTheRun() throws IOException {
    Path run = folder.resolve("set");
    train(
            "vampprior-vae",
            data,
            run,
            "--set",
            "klWarmupSteps=7",
            "--set",
            "warmupSteps=3",
            "--set",
            "network=mlp",
            "--set",
            "freeNats=0.5",
            "--set",
            "beta=2",
            "--steps",
            1)
        .succeeds();
    String config = Files.readString(run.resolve("config.json"));
    for (String part :
        List.of(
            "\"klWarmupSteps\" : 7",
            "\"warmupSteps\" : 3",
            "\"network\" : \"mlp\"",
            "\"freeNats\" : 0.5",
            "\"beta\" : 2.0")) {
      assertTrue(config.contains(part), part + " is not in " + config);
    }
  }

  @Test
  void badSettingsWriteNothing() {
    Path none = folder.resolve("none");
    Object[][] all = {
      {"vae", "likelihood=squared", "bernoulli, gaussian or logistic"},
      {"vae", "likelihood=foo", "likelihood=foo"},
      {"vae", "latents=0", "latents"},
      {"vae", "beta=NaN", "beta"},
      {"vae", "capacity=5", "capacitySteps"},
      {"vae", "filters=3", "multiple of 16"},
      {"vae", "samples=3", "unknown key 'samples'"},
      {"iwae", "samples=0", "samples"},
      {"vampprior-vae", "pseudoInputs=0", "pseudoInputs"},
      {"gmm-vae", "components=0", "components"},
      {"iaf-vae", "flows=0", "flows"},
      {"categorical-vae", "temperature=-1", "temperature"},
      {"categorical-vae", "categories=1", "categories"},
      {"vq-vae", "codes=257", "codes must be 2 to 256"},
      {"vq-vae", "codebookDecay=1", "codebookDecay"},
      {"autoencoder", "corruption=1", "corruption"}
    };
    for (Object[] one : all) {
      train((String) one[0], data, none, "--set", one[1]).fails(2, (String) one[2]);
    }
    train("vae", data, none, "--conditional").fails(2, "--conditional");
    train("vq-vae", "two-moons", none).fails(2, "not for points");
    train("pixelcnn", "two-moons", none).fails(2);
    train("vae", "three-moons", none).fails(2, "three-moons");
    assertFalse(Files.exists(none));
  }
}
