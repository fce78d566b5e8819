package dev.gatun.models.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.fail;

import dev.gatun.engine.Backend.DeviceInfo;
import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.cuda.CudaDevice;
import dev.gatun.engine.data.Dataset;
import dev.gatun.ffi.CudaPool;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A model trained on one device and on another, with the same seed, is the same model. */
@Tag("cpu") // it opens both devices itself
class DevicesAgreeTest {
  private static final int STEPS = 5;

  static {
    if (System.getProperty("gatun.cuda.driver") == null) {
      System.setProperty("gatun.cuda.driver", "emulated");
    }
  }

  private static Dataset blobs(int channels) {
    Random random = new Random(4);
    byte[] pixels = new byte[32 * 64 * channels];
    int[] labels = new int[32];
    for (int n = 0; n < labels.length; n++) {
      labels[n] = random.nextInt(3);
      double y = 8 * random.nextDouble();
      double x = 8 * random.nextDouble();
      for (int i = 0; i < 64 * channels; i++) {
        double dy = i / channels / 8 - y;
        double dx = i / channels % 8 - x;
        double value =
            220 * Math.exp(-(dx * dx + dy * dy) / 9) + 10 * (i % channels) + 8 * labels[n];
        pixels[n * 64 * channels + i] = (byte) (int) Math.min(255, value);
      }
    }
    return Dataset.of("blobs", 8, 8, channels, pixels, labels, 3, List.of());
  }

  /** Bits a dimension of each step, and of all images after the last. */
  private static double[] trained(String device, String name, Dataset data, DType dtype) {
    ImageShape shape = new ImageShape(data.height(), data.width(), data.channels());
    Models.Setup setup = Models.setup(name, Preset.TINY, shape, 3, dtype, 9, Map.of());
    double[] bits = new double[STEPS + 1];
    try (Device opened = Devices.open(device);
        Trainer trainer = new Trainer(opened, setup.model(), setup.training(), data)) {
      for (int i = 0; i < STEPS; i++) {
        bits[i] = trainer.step();
      }
      try (Evaluator evaluator =
          new Evaluator(opened, setup.model(), trainer.averagedWeights(), dtype)) {
        bits[STEPS] = evaluator.score(data, data.count(), n -> {}).bitsPerDim();
      }
    }
    return bits;
  }

  @ParameterizedTest
  @CsvSource({
    "pixelcnn,1,F32",
    "pixelcnn,3,F32",
    "gated-pixelcnn,1,F32",
    "gated-pixelcnn,3,F32",
    "pixelcnn++,1,F32",
    "pixelcnn++,3,F32",
    "pixelcnn,3,BF16",
    "gated-pixelcnn,3,BF16",
    "pixelcnn++,3,BF16"
  })
  void fiveStepsOnTheEmulatedGpuAreThoseOfTheCpu(String name, int channels, DType dtype) {
    requireEmulator();
    try (Device cpu = Devices.open("cpu")) {
      Assumptions.assumeTrue(cpu.refuses(dtype) == null, () -> cpu.refuses(dtype));
    }
    Dataset data = blobs(channels);
    double[] cpu = trained("cpu", name, data, dtype);
    double[] gpu = trained("emulated", name, data, dtype);
    double worst = 0;
    for (int i = 0; i <= STEPS; i++) {
      worst = Math.max(worst, Math.abs(cpu[i] - gpu[i]));
    }
    System.out.printf("%s, %d colours, %s: %.2e bits/dim apart%n", name, channels, dtype, worst);
    assertNotEquals(cpu[0], cpu[STEPS], "nothing was trained");
    // in bf16 each device rounds sums that it added up in its own order
    assertEquals(0, worst, dtype == DType.F32 ? 1e-3 : 1e-2);
  }

  /** Latents, times and noise are drawn of the same numbers, and the losses are the same. */
  @ParameterizedTest
  @CsvSource({
    "autoencoder,batch,16",
    "vae,batch,16",
    "iwae,batch,16",
    "vampprior-vae,batch,16",
    "gmm-vae,batch,16",
    "iaf-vae,batch,16",
    "categorical-vae,batch,16",
    "vq-vae,batch,16",
    "ddpm,prediction,noise",
    "ddpm,prediction,velocity",
    "ddpm,prediction,image",
    "ddpm,learnedVariance,true",
    "edm,batch,16"
  })
  void threeNoisyStepsOnTheEmulatedGpuAreThoseOfTheCpu(String name, String key, String value) {
    requireEmulator();
    Dataset data = blobs(1);
    double[][] losses = new double[2][3];
    for (String device : List.of("cpu", "emulated")) {
      Models.Setup setup =
          Models.setup(
              name, Preset.TINY, new ImageShape(8, 8, 1), DType.F32, 9, Map.of(key, value));
      try (Device opened = Devices.open(device);
          Trainer trainer = new Trainer(opened, setup.model(), setup.training(), data)) {
        for (int i = 0; i < 3; i++) {
          losses[device.equals("cpu") ? 0 : 1][i] = trainer.step();
        }
      }
    }
    for (int i = 0; i < 3; i++) {
      assertEquals(losses[0][i], losses[1][i], 2e-4 * Math.abs(losses[0][i]), "step " + i);
    }
    assertNotEquals(losses[0][0], losses[0][2], "nothing was trained");
  }

  /** A step allocates nothing, on the device nor in the pool behind it. */
  @Test
  void stepsTakeNoMoreMemory() {
    requireEmulator();
    Dataset data = blobs(1);
    ImageShape shape = new ImageShape(8, 8, 1);
    Models.Setup setup =
        Models.setup("gated-pixelcnn", Preset.TINY, shape, 3, DType.F32, 9, Map.of());
    try (CudaDevice device = (CudaDevice) Devices.open("emulated")) {
      try (Trainer trainer = new Trainer(device, setup.model(), setup.training(), data)) {
        trainer.step();
        long allocated = device.allocatedBytes();
        CudaPool.Statistics first = device.memory();
        for (int i = 0; i < 20; i++) {
          trainer.step();
        }
        assertEquals(allocated, device.allocatedBytes());
        assertEquals(first, device.memory());
      }
      assertEquals(0, device.allocatedBytes());
    }
  }

  private static void requireEmulator() {
    DeviceInfo emulated =
        Devices.list().stream().filter(d -> d.name().equals("emulated")).findFirst().orElseThrow();
    if (!emulated.usable()) {
      if ("true".equals(System.getenv("CI"))) {
        fail(emulated.problem());
      }
      Assumptions.assumeTrue(false, emulated.problem());
    }
  }
}
