package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Owned;
import dev.gatun.engine.Philox;
import dev.gatun.engine.Shape;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.io.Safetensors;
import dev.gatun.engine.io.SafetensorsEntry;
import dev.gatun.engine.op.DenoiseStep;
import dev.gatun.engine.op.DenoiseStep.Thresholding;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Model.ImageShape;
import dev.gatun.models.Models.Preset;
import dev.gatun.models.diffusion.Ddpm;
import dev.gatun.models.diffusion.DenoisingSampler;
import dev.gatun.models.diffusion.DenoisingSampler.Job;
import dev.gatun.models.diffusion.SamplerSteps;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** A denoising U-Net: drawn from by DDIM. */
final class GpuUNet extends GpuNetwork {
  private static final int DRAWN = 256;
  private static final int STEPS = 50;
  private static final int SEED = 7;

  private final UNetResults results;
  private final int steps;

  /**
   * A {@code ddpm} with the plain error of the noise as its loss.
   *
   * @param quick few steps
   */
  GpuUNet(Preset preset, ImageShape shape, int batch, boolean quick) {
    super(
        "ddpm",
        preset,
        shape,
        Map.of("prediction", "noise", "schedule", "linear", "minSnr", "0"),
        batch);
    steps = quick ? 3 : STEPS;
    results = new UNetResults(model());
  }

  @Override
  Ddpm model() {
    return (Ddpm) super.model();
  }

  @Override
  boolean masked() {
    return false;
  }

  @Override
  List<Use> uses(boolean quick) {
    int drawn = quick ? 4 : DRAWN;
    String what = " by ddim in " + steps + " steps";
    return List.of(
        new Use("denoised", drawn + " images" + what, "denoise", drawn, 0),
        new Use("denoised", "1 image" + what, "denoise", 1, 0));
  }

  @Override
  Parameters makeWeights(Device reference) {
    return UNetSetup.weights(reference, model().parameters());
  }

  private Dataset data() {
    return Dataset.of(
        "bench",
        shape.height(),
        shape.width(),
        shape.channels(),
        images(COMPARED),
        null,
        0,
        List.of());
  }

  private Peer.Noisy noisy(Device device) {
    return results.noisy(device, data(), 0);
  }

  /** Noise that a sampler begins with, what it draws of it and how; and a training step. */
  @Override
  void export(Path file, Device reference, Parameters weights, List<DType> types)
      throws IOException {
    Shape shape = results.shape(COMPARED);
    byte[] images = images(COMPARED);
    List<SafetensorsEntry> entries = new ArrayList<>();
    entries.add(new SafetensorsEntry("images", DType.U8, shape, MemorySegment.ofArray(images)));
    entries.addAll(weights.entries("weights."));
    Model.Constant times = model().constants().getFirst();
    entries.add(floats("table", times.shape(), times.values()));
    Peer.Noisy noisy = noisy(reference);
    float[] ones = new float[COMPARED];
    Arrays.fill(ones, 1);
    entries.add(floats("x", shape, noisy.x()));
    entries.add(floats("times", Shape.of(COMPARED), noisy.times()));
    entries.add(floats("target", shape, noisy.target()));
    entries.add(floats("lossWeights", Shape.of(COMPARED), ones));
    for (DType type : types) {
      try (Parameters slopes = new Parameters(reference, weights.specs())) {
        UNetResults.Said said = results.train(reference, weights, noisy, type, slopes);
        String key = type.label() + ".";
        entries.add(floats(key + "parameters", shape, said.outputs()));
        entries.add(floats(key + "nats", Shape.of(1), new float[] {said.loss()}));
        entries.addAll(slopes.entries(key + "gradients."));
        if (type == DType.F32) {
          entries.addAll(PeerExport.stepped(reference, setup.training(), weights, slopes));
        }
      }
    }
    double[] table = table().table();
    float[] drawn;
    try (DenoisingSampler sampler = sampler(reference, weights, DType.F32, COMPARED)) {
      double[] x = sampler.run(new Job(COMPARED, SEED, null, null, null), step -> {});
      drawn = new float[x.length];
      for (int i = 0; i < x.length; i++) {
        drawn[i] = (float) x[i];
      }
    }
    Shape rows = Shape.of(table.length / DenoiseStep.COLUMNS, DenoiseStep.COLUMNS);
    entries.add(new SafetensorsEntry("sampler", DType.F64, rows, MemorySegment.ofArray(table)));
    entries.add(floats("noise", shape, noise(drawn.length / COMPARED)));
    entries.add(floats("drawn", shape, drawn));
    Safetensors.write(file, Map.of("model", model().name()), entries);
  }

  private static SafetensorsEntry floats(String name, Shape shape, float[] values) {
    return new SafetensorsEntry(name, DType.F32, shape, MemorySegment.ofArray(values));
  }

  private static float[] noise(int size) {
    Philox philox = new Philox(SEED);
    float[] noise = new float[COMPARED * size];
    for (int i = 0; i < noise.length; i++) {
      noise[i] = (float) philox.normal(Philox.Stream.SAMPLER, i / size, i % size);
    }
    return noise;
  }

  private SamplerSteps table() {
    return SamplerSteps.ddim(model().path(steps), 0);
  }

  private DenoisingSampler sampler(Device device, Parameters weights, DType type, int count) {
    DenoisingSampler.Settings settings =
        new DenoisingSampler.Settings("ddim", table(), 1, Thresholding.STATIC);
    return new DenoisingSampler(device, model(), weights, settings, type, count);
  }

  @Override
  float[] outputs(Device device, Parameters on, DType type) {
    return results.predict(device, on, noisy(device), type);
  }

  @Override
  Runnable open(Use use, Device device, Parameters on, DType type, Owned owned) {
    DenoisingSampler sampler = owned.add(sampler(device, on, type, use.count()));
    return () -> sampler.sample(use.count(), SEED, 1, done -> {});
  }
}
