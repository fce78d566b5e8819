package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.Philox;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.op.DenoiseStep;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.Models;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.Sampler;
import dev.gatun.models.diffusion.DenoisingModel;
import dev.gatun.models.diffusion.DenoisingSampler;
import dev.gatun.models.diffusion.SamplerSteps;
import dev.gatun.models.pixelcnn.PixelModel;
import dev.gatun.models.train.Trainer;
import dev.gatun.models.vae.Autoencoder;
import dev.gatun.models.vae.Decoder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.BiFunction;

/** Whole models on a device: recorded training steps beside the CPU's, and samplers. */
final class ModelChecks {
  private static final int STEPS = 5;
  private static final double APART = 1e-3; // of the loss as it is reported
  private static final int IMAGES = 20;
  private static final int SIDE = 8;
  private static final int CHANNELS = 3;
  // a draw at the very edge between two levels may fall to either side of it
  private static final int UNLIKE = 1;
  private static final int DENOISING_STEPS = 5;
  private static final int LEVELS = 1; // where a value lies half way between two

  private ModelChecks() {}

  /** The checks of every family; {@code told} hears of each when it begins. */
  static List<DeviceCheck> run(Device device, java.util.function.Consumer<String> told) {
    List<DeviceCheck> checks = new ArrayList<>();
    Dataset data = blobs();
    for (String family : Models.names()) {
      told.accept(family);
      try {
        checks.addAll(family(device, family, data));
      } catch (RuntimeException e) {
        checks.add(new DeviceCheck(family, String.valueOf(e.getMessage()), false));
      }
    }
    return checks;
  }

  private static List<DeviceCheck> family(Device device, String family, Dataset data) {
    List<DeviceCheck> checks = new ArrayList<>();
    Models.Setup setup = setup(family);
    try (Trainer trainer = new Trainer(device, setup.model(), setup.training(), data)) {
      double[] bits = steps(trainer);
      if (!device.name().equals("cpu")) {
        double[] expected;
        try (Device cpu = Devices.open("cpu");
            Trainer beside = new Trainer(cpu, setup.model(), setup.training(), data)) {
          expected = steps(beside);
        }
        double worst = 0;
        for (int i = 0; i < STEPS; i++) {
          double apart = Math.abs(bits[i] - expected[i]);
          worst = apart <= worst ? worst : apart; // a NaN stays
        }
        checks.add(
            new DeviceCheck(
                family + ": " + STEPS + " training steps",
                String.format(
                    Locale.ROOT, "%.1e %s from the CPU's", worst, setup.model().objective().unit()),
                worst <= APART));
      }
      Parameters weights = trainer.averagedWeights();
      switch (setup.model()) {
        case DenoisingModel denoising -> checks.add(denoised(device, denoising, weights));
        case PixelModel pixels -> checks.add(drawn(device, pixels, weights));
        case Autoencoder coding -> checks.add(decoded(device, coding, weights));
        default -> checks.add(drawnOfLatents(device, setup.model(), weights));
      }
    }
    return checks;
  }

  /** By the cached sampler, beside the whole network. */
  private static DeviceCheck drawn(Device device, Model model, Parameters weights) {
    byte[][] drawn = new byte[2][];
    String[] samplers = {"cached", "full"};
    for (int i = 0; i < 2; i++) {
      try (Sampler sampler = Models.sampler(samplers[i], device, model, weights, DType.F32)) {
        drawn[i] = sampler.sample(IMAGES, 3, 1, rows -> {});
      }
    }
    int size = SIDE * SIDE * CHANNELS;
    int unlike = 0;
    for (int n = 0; n < IMAGES; n++) {
      boolean same =
          Arrays.equals(drawn[0], n * size, (n + 1) * size, drawn[1], n * size, (n + 1) * size);
      unlike += same ? 0 : 1;
    }
    return new DeviceCheck(
        model.name() + ": cached sampler",
        (IMAGES - unlike) + " of " + IMAGES + " images as the whole network draws them",
        unlike <= UNLIKE);
  }

  /** Draws of latents, decoded: beside the CPU's, or on it fewer at a time. */
  private static DeviceCheck drawnOfLatents(Device device, Model model, Parameters weights) {
    byte[] here = sample(device, model, weights, IMAGES);
    byte[] there;
    boolean cpu = device.name().equals("cpu");
    int count = cpu ? IMAGES / 3 : IMAGES;
    if (cpu) {
      there = sample(device, model, weights, count);
    } else {
      there = onCpu(model, weights, (beside, copy) -> sample(beside, model, copy, count));
    }
    int size = SIDE * SIDE * CHANNELS;
    int unlike = 0;
    for (int n = 0; n < count; n++) {
      int worst = 0;
      for (int i = n * size; i < (n + 1) * size; i++) {
        worst = Math.max(worst, Math.abs((here[i] & 0xFF) - (there[i] & 0xFF)));
      }
      unlike += worst <= LEVELS ? 0 : 1;
    }
    return new DeviceCheck(
        model.name() + ": draws",
        (count - unlike)
            + " of "
            + count
            + (cpu ? " images as where fewer are drawn" : " images as the CPU draws them"),
        unlike <= (cpu ? 0 : UNLIKE));
  }

  /** What is decoded of some codes: beside the CPU's, or on it fewer at a time. */
  private static DeviceCheck decoded(Device device, Autoencoder model, Parameters weights) {
    Philox philox = new Philox(3);
    float[] codes = new float[IMAGES * model.latentSize()];
    for (int i = 0; i < codes.length; i++) {
      codes[i] = (float) philox.normal(Philox.Stream.LATENT, 0, i);
    }
    float[] here = decode(device, model, weights, codes);
    boolean cpu = device.name().equals("cpu");
    float[] there;
    if (cpu) {
      int some = IMAGES / 3 * model.latentSize();
      there = decode(device, model, weights, Arrays.copyOf(codes, some));
    } else {
      there = onCpu(model, weights, (beside, copy) -> decode(beside, model, copy, codes));
    }
    double worst = 0;
    for (int i = 0; i < there.length; i++) {
      double apart = Math.abs(here[i] - there[i]);
      worst = apart <= worst ? worst : apart; // a NaN stays
    }
    return new DeviceCheck(
        model.name() + ": decoded codes",
        String.format(
            Locale.ROOT, "%.1e from %s", worst, cpu ? "where fewer are decoded" : "the CPU's"),
        worst <= APART);
  }

  /** What the CPU makes of a copy of the weights. */
  private static <T> T onCpu(
      Model model, Parameters weights, BiFunction<Device, Parameters, T> work) {
    try (Device beside = Devices.open("cpu");
        Parameters copy = new Parameters(beside, model.parameters())) {
      copy.flat().write(weights.flat().toFloats());
      return work.apply(beside, copy);
    }
  }

  private static float[] decode(
      Device device, Autoencoder model, Parameters weights, float[] codes) {
    try (Decoder decoder = new Decoder(device, model, weights, DType.F32)) {
      return decoder.means(codes);
    }
  }

  private static byte[] sample(Device device, Model model, Parameters weights, int count) {
    String first = Models.samplers(model).getFirst();
    try (Sampler sampler = Models.sampler(first, device, model, weights, DType.F32)) {
      return sampler.sample(count, 3, 1, done -> {});
    }
  }

  /** Beside the CPU, or on it in other batches. */
  private static DeviceCheck denoised(Device device, DenoisingModel model, Parameters weights) {
    byte[] here = denoise(device, model, weights, IMAGES);
    byte[] there;
    boolean cpu = device.name().equals("cpu");
    if (cpu) {
      there = denoise(device, model, weights, IMAGES / 3);
    } else {
      there = onCpu(model, weights, (beside, copy) -> denoise(beside, model, copy, IMAGES));
    }
    int worst = 0;
    for (int i = 0; i < here.length; i++) {
      worst = Math.max(worst, Math.abs((here[i] & 0xFF) - (there[i] & 0xFF)));
    }
    return new DeviceCheck(
        model.name() + ": " + DENOISING_STEPS + " denoising steps",
        worst + (cpu ? " of 255 from other batches'" : " of 255 from the CPU's"),
        worst <= LEVELS);
  }

  private static byte[] denoise(
      Device device, DenoisingModel model, Parameters weights, int batch) {
    DenoisingSampler.Settings settings =
        new DenoisingSampler.Settings(
            "ddim",
            SamplerSteps.ddim(model.path(DENOISING_STEPS), 0),
            1,
            DenoiseStep.Thresholding.STATIC);
    try (DenoisingSampler sampler =
        new DenoisingSampler(device, model, weights, settings, DType.F32, batch)) {
      return sampler.sample(IMAGES, 3, 1, done -> {});
    }
  }

  private static Models.Setup setup(String family) {
    ImageShape shape = new ImageShape(SIDE, SIDE, CHANNELS);
    int classes = Models.takesClasses(family) ? 3 : 0;
    return Models.setup(family, Preset.TINY, shape, classes, DType.F32, 9, Map.of());
  }

  private static double[] steps(Trainer trainer) {
    double[] bits = new double[STEPS];
    for (int i = 0; i < STEPS; i++) {
      bits[i] = trainer.step();
    }
    return bits;
  }

  /** Coloured spots at places and of brightnesses that follow from their number. */
  private static Dataset blobs() {
    int count = 32;
    byte[] pixels = new byte[count * SIDE * SIDE * CHANNELS];
    int[] labels = new int[count];
    for (int n = 0; n < count; n++) {
      labels[n] = n % 3;
      double y = n * 5 % 17 / 2.0;
      double x = n * 7 % 19 / 2.0;
      for (int i = 0; i < SIDE * SIDE * CHANNELS; i++) {
        double dy = i / CHANNELS / SIDE - y;
        double dx = i / CHANNELS % SIDE - x;
        double value =
            200 * Math.exp(-(dx * dx + dy * dy) / 9) + 12 * (i % CHANNELS) + 9 * labels[n];
        pixels[n * SIDE * SIDE * CHANNELS + i] = (byte) (int) Math.min(255, value);
      }
    }
    return Dataset.of("spots", SIDE, SIDE, CHANNELS, pixels, labels, 3, List.of());
  }
}
