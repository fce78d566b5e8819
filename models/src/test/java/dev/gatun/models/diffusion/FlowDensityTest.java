package dev.gatun.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.planar.PlanarDensity;
import dev.gatun.models.train.Trainer;
import java.util.Arrays;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Tag("cpu") // it opens it itself
class FlowDensityTest {
  private static Models.Setup setup(String name) {
    return Models.setup(
        name, Preset.TINY, new Model.ImageShape(1, 1, 2), DType.F32, 3, Map.of("batch", "250"));
  }

  /**
   * A network that says nothing makes EDM's preconditioning the exact denoiser of a Gaussian whose
   * deviation is sigmaData, 2 here.
   */
  @Test
  void aNetworkThatSaysNothingIsAGaussian() {
    Edm model = (Edm) setup("edm").model();
    try (Device device = Devices.open("cpu");
        Parameters weights = new Parameters(device, model.parameters());
        FlowDensity density = new FlowDensity(device, model, weights, 300)) {
      weights.initialize(1);
      weights.get("conv_out.weight").write(new float[weights.get("conv_out.weight").elements()]);
      float[] points = {0, 0, 1, -2, 3, 0.5f, -4, -4};
      double[] nats = density.nats(points, n -> {});
      for (int i = 0; i < nats.length; i++) {
        double square = points[2 * i] * points[2 * i] + points[2 * i + 1] * points[2 * i + 1];
        // the data are not quite nothing beside sigmaMax: 4 of 6,400; steps are of second order
        double expected = square / 8 + Math.log(2 * Math.PI * 4);
        assertEquals(expected, nats[i], 5e-3, "point " + i);
      }
    }
  }

  /** A trained model's density is one: it integrates to 1 and is close to what was learned. */
  @ParameterizedTest
  @ValueSource(strings = {"edm", "ddpm"})
  void theDensityOfATrainedModelIsADensity(String name) {
    PlanarDensity data = PlanarDensity.EIGHT_GAUSSIANS;
    Models.Setup setup = setup(name);
    try (Device device = Devices.open("cpu");
        Trainer trainer =
            new Trainer(
                device,
                setup.model(),
                setup.training(),
                Dataset.ofPoints("points", 2, data.draw(20_000, 1)))) {
      for (int i = 0; i < 300; i++) {
        trainer.step();
      }
      DenoisingModel model = (DenoisingModel) setup.model();
      try (FlowDensity density = new FlowDensity(device, model, trainer.averagedWeights(), 60)) {
        int side = 40;
        double extent = 8;
        double[] centres = PlanarDensity.gridPoints(side, extent);
        float[] points = new float[centres.length];
        for (int i = 0; i < points.length; i++) {
          points[i] = (float) centres[i];
        }
        double cell = 4 * extent * extent / side / side;
        double total = Arrays.stream(density.nats(points, n -> {})).map(x -> Math.exp(-x)).sum();
        assertEquals(1, total * cell, 0.05);
        double[] held = density.nats(data.draw(500, 2), n -> {});
        double mean = Arrays.stream(held).average().orElseThrow();
        System.out.printf("%s: %.3f nats, entropy %.3f%n", name, mean, data.entropy());
        // no density is better than the true one but by chance; a Gaussian of its moments has 4.6
        assertTrue(mean > data.entropy() - 0.1 && mean < 4.4, name + ": " + mean + " nats");
      }
    }
  }

  @Test
  void imagesAreRefused() {
    Models.Setup setup =
        Models.setup("ddpm", Preset.TINY, new Model.ImageShape(8, 8, 1), DType.F32, 3, Map.of());
    DenoisingModel model = (DenoisingModel) setup.model();
    try (Device device = Devices.open("cpu");
        Parameters weights = new Parameters(device, model.parameters())) {
      assertTrue(
          assertThrows(
                  IllegalArgumentException.class, () -> new FlowDensity(device, model, weights, 10))
              .getMessage()
              .contains("was trained on images"));
    }
  }
}
