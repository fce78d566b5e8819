package dev.gatun.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.op.DenoiseStep.Thresholding;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Condition;
import dev.gatun.models.Sampler;
import dev.gatun.models.diffusion.DenoisingSampler.Job;
import dev.gatun.models.diffusion.DenoisingSampler.Method;
import dev.gatun.models.diffusion.DenoisingSampler.Settings;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class DenoisingSamplerTest {
  private static Device device;

  @BeforeAll
  static void open() {
    device = WithDevice.open();
  }

  @AfterAll
  static void close() {
    device.close();
    assertEquals(0, device.allocatedBytes());
  }

  private static Ddpm model(Prediction prediction, int classes, Condition condition) {
    UNet.Config net = new UNet.Config(4, 4, 1, classes, 8, "1,2", 1, "2", 8, 4, 0, true, false);
    return new Ddpm(
        new Ddpm.Config(net, 50, NoiseSchedule.Kind.COSINE, prediction, false, 0, 0.2, condition));
  }

  private static Ddpm model(Prediction prediction) {
    return model(prediction, 3, Condition.NONE);
  }

  /** Fresh weights: the last layer is zero, so the network says 0 of everything. */
  private static Parameters fresh(DenoisingModel model) {
    Parameters weights = new Parameters(device, model.parameters());
    weights.initialize(1);
    return weights;
  }

  private static Parameters random(DenoisingModel model) {
    Parameters weights = fresh(model);
    for (ParameterSpec spec : model.parameters()) {
      // what starts as nothing
      if (spec.name().startsWith("conv_out") || spec.name().endsWith("conv2.weight")) {
        float[] values = new float[spec.shape().elements()];
        for (int i = 0; i < values.length; i++) {
          values[i] = 0.2f * ((i * 37 + 11) % 17 - 8) / 8;
        }
        weights.get(spec.name()).write(values);
      }
    }
    return weights;
  }

  private static DenoisingSampler sampler(
      DenoisingModel model, Parameters weights, Method method, int steps, double w, int batch) {
    Settings settings =
        new Settings(
            method.label(),
            method.steps(model, steps, 0),
            w,
            steps > 1 ? Thresholding.STATIC : Thresholding.NONE);
    return new DenoisingSampler(device, model, weights, settings, DType.F32, batch);
  }

  @Test
  void aNetworkThatSaysGreyDrawsGrey() {
    Ddpm model = model(Prediction.IMAGE);
    try (Parameters weights = fresh(model)) {
      for (Method method : Method.values()) {
        try (DenoisingSampler sampler = sampler(model, weights, method, 4, 1, 2)) {
          List<Integer> told = new ArrayList<>();
          byte[] drawn = sampler.sample(new Sampler.Request(3, 9, 1), told::add);
          byte[] grey = new byte[3 * 16];
          Arrays.fill(grey, (byte) 128);
          assertArrayEquals(grey, drawn);
          // two batches
          int runs = 2 * (method == Method.HEUN ? 7 : 4);
          assertEquals(runs, sampler.work(3));
          assertEquals(runs, told.size());
          assertEquals(runs, told.getLast());
        }
      }
    }
  }

  private static int largestDifference(byte[] a, byte[] b) {
    int most = 0;
    for (int i = 0; i < a.length; i++) {
      most = Math.max(most, Math.abs((a[i] & 0xFF) - (b[i] & 0xFF)));
    }
    return most;
  }

  /** Where the network says that the variance is the larger one there is more noise on the way. */
  @Test
  void aLearnedVarianceIsTheNoise() {
    Ddpm.Config plain = model(Prediction.IMAGE).config();
    Ddpm model =
        new Ddpm(
            new Ddpm.Config(
                plain.unet(),
                plain.timesteps(),
                plain.schedule(),
                plain.prediction(),
                true,
                0,
                plain.labelDropout(),
                plain.condition()));
    double[] spread = new double[2];
    for (int i = 0; i < 2; i++) {
      int at = i;
      try (Parameters weights = fresh(model)) {
        float[] said = new float[2 * model.imageShape().channels()];
        Arrays.fill(said, said.length / 2, said.length, i == 0 ? -1 : 1);
        weights.get("conv_out.bias").write(said);
        try (DenoisingSampler sampler = sampler(model, weights, Method.DDPM, 8, 1, 64)) {
          byte[] labels = model.classes() == 0 ? null : new byte[64];
          double[] x =
              sampler.run(
                  new Job(64, 3, labels, null, null),
                  step -> {
                    if (step.number() == 7) {
                      for (byte pixel : step.noisy()) {
                        spread[at] += Math.abs((pixel & 0xFF) - 127.5);
                      }
                    }
                  });
          assertEquals(0, Arrays.stream(x).map(Math::abs).max().orElseThrow(), 1e-12, "grey");
        }
      }
    }
    assertTrue(spread[1] > 1.05 * spread[0], spread[1] + " and " + spread[0]);
  }

  @Test
  void anImageIsTheSameWhateverIsDrawnBesideIt() {
    Ddpm model = model(Prediction.VELOCITY);
    long seed = 1L << 40 | 7;
    try (Parameters weights = random(model)) {
      for (double guidance : new double[] {1, 2.5}) {
        try (DenoisingSampler two = sampler(model, weights, Method.DDPM, 8, guidance, 2);
            DenoisingSampler five = sampler(model, weights, Method.DDPM, 8, guidance, 5)) {
          byte[] a = two.sample(5, seed, 1, done -> {});
          byte[] b = five.sample(5, seed, 1, done -> {});
          // sums may be added in another order, which may take a pixel over the edge of a level
          int most = largestDifference(a, b);
          assertTrue(most <= 1, "pixels differ by " + most);
          assertArrayEquals(a, two.sample(5, seed, 1, done -> {}));
          // shares of a dozen, and in the end one that has nothing to draw
          try (DenoisingSampler dozen = sampler(model, weights, Method.DDPM, 8, guidance, 12)) {
            byte[] many = dozen.sample(14, seed, 1, done -> {});
            most = largestDifference(two.sample(14, seed, 1, done -> {}), many);
            assertTrue(most <= 1, "pixels differ by " + most);
          }
          byte[] other = two.sample(5, 8, 1, done -> {});
          assertFalse(Arrays.equals(a, other), "another seed draws the same");
        }
      }
    }
  }

  /** Guidance 1 is the class alone; 0 forgets the class; it is linear in what the network says. */
  @Test
  void guidanceGoesFromNoClassToTheClassAndBeyond() {
    Ddpm model = model(Prediction.IMAGE);
    Job job = new Job(2, 3, new byte[] {0, 2}, null, null);
    Job others = new Job(2, 3, new byte[] {1, 1}, null, null);
    double[][] drawn = new double[3][];
    double[] guidance = {0, 0.999999, 2};
    try (Parameters weights = random(model)) {
      for (int i = 0; i < 3; i++) {
        // one step: what is drawn is what the network says
        Settings settings =
            new Settings(
                "ddim", SamplerSteps.ddim(model.path(1), 0), guidance[i], Thresholding.NONE);
        try (DenoisingSampler sampler =
            new DenoisingSampler(device, model, weights, settings, DType.F32, 2)) {
          drawn[i] = sampler.run(job, step -> {});
          assertEquals(i == 0, Arrays.equals(drawn[i], sampler.run(others, step -> {})));
        }
      }
      try (DenoisingSampler plain = sampler(model, weights, Method.DDIM, 1, 1, 2)) {
        double[] alone = plain.run(job, step -> {});
        assertArrayEquals(alone, drawn[1], 1e-4);
      }
      for (int i = 0; i < drawn[0].length; i++) {
        double expected = drawn[0][i] + 2 * (drawn[1][i] - drawn[0][i]);
        assertEquals(expected, drawn[2][i], 1e-4);
      }
    }
    Ddpm without = model(Prediction.IMAGE, 0, Condition.NONE);
    try (Parameters weights = fresh(without)) {
      assertEquals(
          "guidance needs a network that also draws without a class: train one with classes and"
              + " labelDropout above 0",
          assertThrows(
                  IllegalArgumentException.class,
                  () -> sampler(without, weights, Method.DDIM, 2, 3, 2))
              .getMessage());
    }
  }

  @Test
  void eachStepIsHeardOfWithItsImages() {
    Ddpm model = model(Prediction.NOISE);
    try (Parameters weights = fresh(model);
        DenoisingSampler sampler = sampler(model, weights, Method.DDIM, 4, 1, 2)) {
      List<String> heard = new ArrayList<>();
      List<byte[]> noisy = new ArrayList<>();
      Job job = new Job(3, 5, new byte[3], null, null);
      double[] x =
          sampler.run(
              job,
              step -> {
                heard.add(
                    step.first() + "+" + step.count() + " " + step.number() + "/" + step.of());
                noisy.add(step.noisy());
                assertEquals(step.count() * 16, step.denoised().length);
              });
      assertEquals(
          List.of(
              "0+2 1/4", "0+2 2/4", "0+2 3/4", "0+2 4/4", "2+1 1/4", "2+1 2/4", "2+1 3/4",
              "2+1 4/4"),
          heard);
      byte[] pixels = DenoisingSampler.pixels(x);
      assertArrayEquals(Arrays.copyOf(pixels, 32), noisy.get(3));
      assertArrayEquals(Arrays.copyOfRange(pixels, 32, 48), noisy.get(7));
      assertFalse(Arrays.equals(noisy.get(0), noisy.get(3)));
    }
  }

  @Test
  void whatTheNetworkIsShownIsPartOfTheJob() {
    Ddpm model = model(Prediction.IMAGE, 0, Condition.HALF);
    byte[] shown = new byte[2 * 16];
    Arrays.fill(shown, 16, 32, (byte) 255);
    try (Parameters weights = random(model);
        DenoisingSampler sampler = sampler(model, weights, Method.DDIM, 2, 1, 2)) {
      double[] x = sampler.run(new Job(2, 1, null, shown, null), step -> {});
      byte[] black = new byte[2 * 16];
      double[] y = sampler.run(new Job(2, 1, null, black, null), step -> {});
      assertArrayEquals(Arrays.copyOf(x, 16), Arrays.copyOf(y, 16));
      assertFalse(Arrays.equals(x, y));
      assertEquals(
          "this network draws by an image that it is shown (half): give one for each of 2",
          assertThrows(
                  IllegalArgumentException.class,
                  () -> sampler.run(new Job(2, 1, null, null, null), step -> {}))
              .getMessage());
    }
  }

  /** What an image is encoded to begins a job that draws the image again. */
  @Test
  void aJobCanBeginWithWhatAnotherEndedWith() {
    Ddpm model = model(Prediction.IMAGE, 0, Condition.NONE);
    double[] images = new double[2 * 16];
    Arrays.setAll(images, i -> (i % 7 - 3) / 4.0);
    try (Parameters weights = fresh(model)) {
      double[] noise;
      Settings back =
          new Settings("encode", SamplerSteps.encode(model.path(50)), 1, Thresholding.NONE);
      Settings forth =
          new Settings("decode", SamplerSteps.decode(model.path(50)), 1, Thresholding.NONE);
      try (DenoisingSampler encoder =
              new DenoisingSampler(device, model, weights, back, DType.F32, 2);
          DenoisingSampler decoder =
              new DenoisingSampler(device, model, weights, forth, DType.F32, 2)) {
        noise = encoder.run(new Job(2, 0, null, null, images), step -> {});
        // the network takes everything for grey, so all there is is noise, and it is all taken away
        assertArrayEquals(
            new double[2 * 16], decoder.run(new Job(2, 0, null, null, noise), step -> {}), 1e-12);
      }
      for (int i = 0; i < noise.length; i++) {
        double expected =
            images[i]
                * model.schedule().alpha(1)
                / model.schedule().sigma(1)
                * model.schedule().sigma(50);
        assertEquals(expected, noise[i], 1e-9 * Math.abs(expected) + 1e-12);
      }
    }
  }

  /** What is known stays; where all is known the image comes out whole. */
  @Test
  void whatIsKnownIsKept() {
    Ddpm model = model(Prediction.VELOCITY, 0, Condition.NONE);
    byte[] images = new byte[2 * 16];
    for (int i = 0; i < images.length; i++) {
      images[i] = (byte) (i * 37);
    }
    byte[] mask = new byte[2 * 16];
    for (int i = 0; i < mask.length; i++) {
      mask[i] = (byte) (i >= 16 || i % 3 == 0 ? 1 : 0);
    }
    try (Parameters weights = random(model)) {
      List<SamplerSteps> all = new ArrayList<>();
      for (Method method : Method.values()) {
        all.add(method.steps(model, 6, 0));
      }
      all.add(SamplerSteps.repaint(model.path(4), 3));
      for (SamplerSteps steps : all) {
        Settings settings = new Settings("", steps, 1, Thresholding.STATIC);
        try (DenoisingSampler sampler =
            new DenoisingSampler(device, model, weights, settings, DType.F32, 2)) {
          Job job = new Job(2, 4, null, null, null, new DenoisingSampler.Known(images, mask));
          byte[] drawn = DenoisingSampler.pixels(sampler.run(job, step -> {}));
          int unlike = 0;
          for (int i = 0; i < drawn.length; i++) {
            if (mask[i] != 0) {
              assertEquals(images[i], drawn[i], "pixel " + i);
            }
            unlike += drawn[i] == images[i] ? 0 : 1;
          }
          assertTrue(unlike > 5, "what is not known was drawn too");
          // upper rows, as requests have them
          Sampler.Request rows = new Sampler.Request(2, 4, 1, null, images, 2);
          byte[] completed = sampler.sample(rows, done -> {});
          for (int i = 0; i < 32; i++) {
            if (i % 16 < 8) {
              assertEquals(images[i], completed[i], "pixel " + i);
            }
          }
        }
      }
    }
  }

  @Test
  void jobsAreChecked() {
    Ddpm model = model(Prediction.NOISE);
    try (Parameters weights = fresh(model);
        DenoisingSampler sampler = sampler(model, weights, Method.DDIM, 5, 1, 2)) {
      assertEquals(
          "label 3 of image 1: there are 3 classes",
          assertThrows(
                  IllegalArgumentException.class,
                  () -> sampler.run(new Job(2, 1, new byte[] {0, 3}, null, null), step -> {}))
              .getMessage());
      for (Job job :
          List.of(
              new Job(2, 1, null, null, null),
              new Job(2, 1, new byte[1], null, null),
              new Job(2, 1, new byte[2], new byte[32], null),
              new Job(
                  2,
                  1,
                  new byte[2],
                  null,
                  null,
                  new DenoisingSampler.Known(new byte[32], new byte[31])),
              new Job(2, 1, new byte[2], null, new double[3]))) {
        assertThrows(IllegalArgumentException.class, () -> sampler.run(job, step -> {}));
      }
      assertEquals(
          "temperature 0.5: ddpm has none",
          assertThrows(IllegalArgumentException.class, () -> sampler.sample(2, 1, 0.5, done -> {}))
              .getMessage());
    }
  }

  @Test
  void pixelsAreTheNearestLevels() {
    double[] x = {-1.3, -1, 1, 7, 1 / 127.5 - 1, 100.4 / 127.5 - 1};
    byte[] expected = {0, 0, (byte) 255, (byte) 255, 1, 100};
    assertArrayEquals(expected, DenoisingSampler.pixels(x));
  }
}
