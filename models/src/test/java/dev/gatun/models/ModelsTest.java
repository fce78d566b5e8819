package dev.gatun.models;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.data.Dataset;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.pixelcnn.GatedPixelCnn;
import dev.gatun.models.pixelcnn.PixelCnn;
import dev.gatun.models.pixelcnn.PixelCnnPlusPlus;
import dev.gatun.models.train.Evaluator;
import dev.gatun.models.train.TrainConfig;
import dev.gatun.models.train.Trainer;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class ModelsTest {
  private static final ImageShape CIFAR = new ImageShape(32, 32, 3);
  private static final ImageShape MNIST = new ImageShape(28, 28, 1);

  private static Models.Setup setup(
      String name, Preset preset, ImageShape shape, int classes, String... overrides) {
    Map<String, String> keys = new LinkedHashMap<>();
    for (int i = 0; i < overrides.length; i += 2) {
      keys.put(overrides[i], overrides[i + 1]);
    }
    return Models.setup(name, preset, shape, classes, DType.F32, 1, keys);
  }

  private static long parameters(String name, Preset preset, ImageShape shape, int classes) {
    return setup(name, preset, shape, classes).model().parameters().stream()
        .mapToLong(s -> s.shape().elements())
        .sum();
  }

  private static String refusal(org.junit.jupiter.api.function.Executable executable) {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, executable);
    assertEquals(1, e.getMessage().lines().count(), e.getMessage());
    return e.getMessage();
  }

  @Test
  void namesAreThoseOfTheCommandLine() {
    assertEquals(
        List.of(
            "pixelcnn",
            "gated-pixelcnn",
            "pixelcnn++",
            "ddpm",
            "edm",
            "autoencoder",
            "vae",
            "iwae",
            "vampprior-vae",
            "gmm-vae",
            "iaf-vae",
            "categorical-vae",
            "vq-vae"),
        Models.names());
    for (String name : Models.names()) {
      Model model = setup(name, Preset.TINY, MNIST, 0).model();
      assertEquals(name, model.name());
      List<String> samplers =
          switch (name) {
            case "ddpm" -> List.of("ddim", "ddpm", "dpmpp", "heun");
            case "edm" -> List.of("heun", "dpmpp", "ddim", "ddpm");
            case "autoencoder" -> List.of();
            case "vq-vae" -> List.of("cached");
            case "iwae" -> List.of("mean", "exact");
            case String vae when vae.endsWith("vae") -> List.of("mean", "exact");
            default -> List.of("cached", "full");
          };
      assertEquals(samplers, Models.samplers(model));
    }
    assertTrue(setup("pixelcnn", Preset.TINY, MNIST, 0).model() instanceof PixelCnn);
    assertTrue(setup("gated-pixelcnn", Preset.TINY, MNIST, 0).model() instanceof GatedPixelCnn);
    assertTrue(setup("pixelcnn++", Preset.TINY, MNIST, 0).model() instanceof PixelCnnPlusPlus);
  }

  /**
   * Counted from the papers' layers; PixelCNN++'s is that of its reference code, less its copies.
   */
  @ParameterizedTest
  @CsvSource({
    "pixelcnn++,3,0,53664520",
    "gated-pixelcnn,3,0,5933250",
    "gated-pixelcnn,3,10,6010650",
    "gated-pixelcnn,1,0,5315200",
    "pixelcnn,3,0,4388505",
    "pixelcnn,1,0,3807232",
    "ddpm,3,0,35746307"
  })
  void thePapersModelsAreOfThePapersSize(String name, int colours, int classes, long expected) {
    ImageShape shape = colours == 3 ? CIFAR : MNIST;
    assertEquals(expected, parameters(name, Preset.PAPER, shape, classes));
  }

  @ParameterizedTest
  @ValueSource(strings = {"pixelcnn", "gated-pixelcnn", "pixelcnn++"})
  void presetsGrowAndAreForGreyAndColourWithAndWithoutClasses(String name) {
    for (ImageShape shape : List.of(MNIST, CIFAR, new ImageShape(5, 7, 3))) {
      for (int classes : new int[] {0, 10}) {
        long last = 0;
        long steps = 0;
        for (Preset preset : Preset.values()) {
          Models.Setup setup = setup(name, preset, shape, classes);
          assertEquals(shape, setup.model().imageShape());
          assertEquals(256, setup.model().levels());
          assertEquals(classes, setup.model().classes());
          long count = parameters(name, preset, shape, classes);
          assertTrue(count > last && setup.steps() > steps, preset + ": " + count);
          assertEquals(setup.steps(), Models.steps(name, preset));
          last = count;
          steps = setup.steps();
        }
      }
      assertTrue(
          parameters(name, Preset.TINY, shape, 10) > parameters(name, Preset.TINY, shape, 0));
    }
  }

  /** Two of three levels are half the size of the one before: sides are multiples of 4. */
  @ParameterizedTest
  @ValueSource(strings = {"ddpm", "edm"})
  void denoisingPresetsGrowAndAreForGreyAndColourWithAndWithoutClasses(String name) {
    for (ImageShape shape : List.of(MNIST, CIFAR, new ImageShape(8, 16, 3))) {
      for (int classes : new int[] {0, 10}) {
        long last = 0;
        for (Preset preset : Preset.values()) {
          if (preset == Preset.PAPER && shape.height() % 8 != 0) {
            continue;
          }
          Models.Setup setup = setup(name, preset, shape, classes);
          assertEquals(shape, setup.model().imageShape());
          assertEquals(classes, setup.model().classes());
          assertEquals(classes > 0 ? 0.1 : 0, setup.model().labelDropout());
          long count = parameters(name, preset, shape, classes);
          assertTrue(count > 3 * last, preset + " " + count);
          last = count;
        }
      }
    }
    assertTrue(
        refusal(() -> setup(name, Preset.SMALL, new ImageShape(30, 28, 1), 0))
            .contains("multiples of 4"));
    assertTrue(
        refusal(() -> setup(name, Preset.TINY, MNIST, 256)).contains("0 to 255"), "no label left");
  }

  @ParameterizedTest
  @ValueSource(strings = {"pixelcnn", "gated-pixelcnn", "pixelcnn++", "ddpm", "edm"})
  void configurationsSurviveJson(String name) {
    Model model = setup(name, Preset.TINY, CIFAR, 10, "filters", "24").model();
    Model read = Models.fromJson(name, Records.toJson(model.config()));
    assertEquals(model.config(), read.config());
    assertEquals(model.parameters(), read.parameters());
  }

  @Test
  void overridesReachTheModelAndTheTraining() {
    Models.Setup setup =
        setup(
            "pixelcnn++",
            Preset.TINY,
            CIFAR,
            10,
            "dropout",
            "0.25",
            "resolutions",
            "3",
            "batch",
            "5");
    PixelCnnPlusPlus.Config config = (PixelCnnPlusPlus.Config) setup.model().config();
    assertEquals(0.25, config.dropout());
    assertEquals(3, config.resolutions());
    assertEquals(10, config.classes());
    assertEquals(5, setup.training().batch());
    TrainConfig other =
        Models.override(setup.model(), setup.training(), Map.of("learningRate", "0.5"));
    assertEquals(0.5, other.learningRate());
    String message =
        refusal(() -> Models.override(setup.model(), setup.training(), Map.of("dropout", "0.5")));
    assertTrue(message.contains("dropout"), message);
  }

  @Test
  void whatTheDataDecideCannotBeOverridden() {
    for (String name : Models.names()) {
      for (String key : List.of("height", "width", "channels", "levels", "classes", "seed", "x")) {
        String message = refusal(() -> setup(name, Preset.TINY, MNIST, 0, key, "3"));
        assertTrue(message.contains("unknown key '" + key + "'"), message);
        assertTrue(message.contains("filters"), message);
      }
    }
  }

  @Test
  void badValuesAreRefusedInOneLine() {
    for (String name : List.of("pixelcnn", "gated-pixelcnn")) {
      for (String key : List.of("filters", "headFilters")) {
        String message = refusal(() -> setup(name, Preset.TINY, CIFAR, 0, key, "16"));
        assertTrue(message.contains(name) && message.contains(key), message);
        assertTrue(message.contains("multiple") && message.contains("16"), message);
        setup(name, Preset.TINY, MNIST, 0, key, "16");
      }
    }
    setup("pixelcnn++", Preset.TINY, CIFAR, 0, "filters", "16");
    for (String name : Models.names()) {
      String message = refusal(() -> setup(name, Preset.TINY, new ImageShape(8, 8, 2), 0));
      assertTrue(message.contains("channels must be 1 or 3"), message);
      assertTrue(
          refusal(() -> setup(name, Preset.TINY, MNIST, 1)).contains("classes"), "one class");
      String tooMany = refusal(() -> setup(name, Preset.TINY, MNIST, 257));
      boolean labelled = name.contains("pixelcnn") || name.equals("ddpm") || name.equals("edm");
      assertTrue(tooMany.contains(labelled ? "0 to 256" : "is given no classes"), tooMany);
      message = refusal(() -> setup(name, Preset.TINY, MNIST, 0, "filters", "many"));
      assertTrue(message.contains("filters=many"), message);
    }
    assertTrue(
        refusal(() -> setup("pixelcnn+", Preset.TINY, MNIST, 0)).contains("pixelcnn++"), "names");
    assertTrue(refusal(() -> Preset.fromLabel("huge")).contains("tiny, small or paper"));
  }

  @Test
  void aConditionalModelRefusesDataWithoutLabelsOrWithMoreClasses() {
    Model model = setup("pixelcnn", Preset.TINY, new ImageShape(4, 4, 1), 3).model();
    TrainConfig training = setup("pixelcnn", Preset.TINY, MNIST, 0).training();
    Dataset none = Dataset.of("bare", 4, 4, 1, new byte[16 * 16], null, 0, List.of());
    Dataset many = Dataset.of("many", 4, 4, 1, new byte[16 * 16], new int[16], 4, List.of());
    Dataset fewer = Dataset.of("few", 4, 4, 1, new byte[16 * 16], new int[16], 2, List.of());
    try (Device device = Devices.open("cpu")) {
      String message = refusal(() -> new Trainer(device, model, training, none).close());
      assertTrue(message.contains("bare has no labels"), message);
      message = refusal(() -> new Trainer(device, model, training, many).close());
      assertTrue(message.contains("3 classes") && message.contains("many has 4"), message);
      try (Trainer trainer = new Trainer(device, model, training, fewer);
          Evaluator evaluator =
              new Evaluator(device, model, trainer.averagedWeights(), DType.F32)) {
        message = refusal(() -> evaluator.score(none, 1, n -> {}));
        assertTrue(message.contains("no labels"), message);
        assertEquals(16, evaluator.score(fewer, 16, n -> {}).images());
      }
    }
  }
}
