package dev.gatun.models.diffusion;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.WithDevice;
import dev.gatun.engine.train.Parameters;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;

class DenoisingSamplerTest {
  private static final UNet NET = new UNet(new UNet.Config(4, 4, 1, 3, 8, "1,2", 1, "2", 8, 4, 0));
  private static final NoiseSchedule SCHEDULE = NoiseSchedule.cosine(50);

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

  /** Fresh weights: the last layer is zero, so the network says 0 of everything. */
  private static Parameters fresh() {
    Parameters weights = new Parameters(device, NET.parameters());
    weights.initialize(1);
    return weights;
  }

  private static Parameters random() {
    Parameters weights = fresh();
    for (String name : List.of("conv_out.weight", "conv_out.bias")) {
      float[] values = new float[weights.get(name).elements()];
      for (int i = 0; i < values.length; i++) {
        values[i] = 0.2f * ((i * 37 + 11) % 17 - 8) / 8;
      }
      weights.get(name).write(values);
    }
    return weights;
  }

  private static DenoisingSampler sampler(Parameters weights, SamplerSteps steps, int batch) {
    return new DenoisingSampler(device, NET, weights, steps, DType.F32, true, batch);
  }

  @Test
  void aNetworkThatSaysGreyDrawsGrey() {
    try (Parameters weights = fresh()) {
      for (SamplerSteps steps :
          List.of(
              SamplerSteps.ddpm(SCHEDULE, Prediction.IMAGE, 8),
              SamplerSteps.ddim(SCHEDULE, Prediction.IMAGE, 4, 0),
              SamplerSteps.dpmSolver(SCHEDULE, Prediction.IMAGE, 4))) {
        try (DenoisingSampler sampler = sampler(weights, steps, 2)) {
          List<Integer> told = new ArrayList<>();
          byte[] drawn = sampler.sample(3, 9, new byte[] {0, 1, 2}, told::add);
          byte[] grey = new byte[3 * 16];
          Arrays.fill(grey, (byte) 128);
          assertArrayEquals(grey, drawn);
          // two batches
          assertEquals(2 * steps.evaluations(), told.size());
          assertEquals(2 * steps.evaluations(), told.getLast());
        }
      }
    }
  }

  @Test
  void anImageIsTheSameWhateverIsDrawnBesideIt() {
    SamplerSteps steps = SamplerSteps.ddpm(SCHEDULE, Prediction.VELOCITY, 8);
    byte[] labels = {0, 1, 2, 0, 1};
    try (Parameters weights = random();
        DenoisingSampler two = sampler(weights, steps, 2);
        DenoisingSampler five = sampler(weights, steps, 5)) {
      byte[] a = two.sample(5, 1L << 40 | 7, labels, done -> {});
      byte[] b = five.sample(5, 1L << 40 | 7, labels, done -> {});
      int most = 0;
      for (int i = 0; i < a.length; i++) {
        most = Math.max(most, Math.abs((a[i] & 0xFF) - (b[i] & 0xFF)));
      }
      // sums may be added in another order, which may take a pixel over the edge of a level
      assertTrue(most <= 1, "pixels differ by " + most);
      assertArrayEquals(a, two.sample(5, 1L << 40 | 7, labels, done -> {}));
      byte[] other = two.sample(5, 8, labels, done -> {});
      assertTrue(!Arrays.equals(a, other), "another seed draws the same");
    }
  }

  @Test
  void labelsAreChecked() {
    SamplerSteps steps = SamplerSteps.ddim(SCHEDULE, Prediction.NOISE, 5, 0);
    try (Parameters weights = fresh();
        DenoisingSampler sampler = sampler(weights, steps, 2)) {
      assertEquals(
          "label 3 of image 1: there are 3 classes",
          assertThrows(
                  IllegalArgumentException.class,
                  () -> sampler.sample(2, 1, new byte[] {0, 3}, done -> {}))
              .getMessage());
      assertThrows(IllegalArgumentException.class, () -> sampler.sample(2, 1, null, done -> {}));
      assertThrows(
          IllegalArgumentException.class, () -> sampler.sample(2, 1, new byte[1], done -> {}));
    }
  }

  @Test
  void pixelsAreTheNearestLevels() {
    assertEquals(0, DenoisingSampler.pixel(-1.3));
    assertEquals(0, DenoisingSampler.pixel(-1));
    assertEquals((byte) 255, DenoisingSampler.pixel(1));
    assertEquals((byte) 255, DenoisingSampler.pixel(7));
    assertEquals(1, DenoisingSampler.pixel(1 / 127.5 - 1));
    assertEquals(100, DenoisingSampler.pixel(100.4 / 127.5 - 1));
  }
}
