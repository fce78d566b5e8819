package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Philox;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Models;
import dev.gatun.models.diffusion.Ddpm;
import dev.gatun.models.diffusion.UNet;
import dev.gatun.models.train.TrainConfig;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** The denoising U-Net that is compared with a peer's, and how it is trained and sampled from. */
final class UNetSetup {
  static final int BATCH = 64;
  static final int SEED = 0;
  static final int SAMPLER_STEPS = 50;

  /** The preset for grey images of 28x28, with the plain error of the noise as its loss. */
  static final Ddpm MODEL =
      (Ddpm)
          Models.setup(
                  "ddpm",
                  Models.Preset.SMALL,
                  new Model.ImageShape(28, 28, 1),
                  DType.F32,
                  SEED,
                  Map.of("prediction", "noise", "schedule", "linear", "minSnr", "0"))
              .model();

  static final UNet.Config CONFIG = MODEL.config().unet();

  static final TrainConfig TRAINING =
      new TrainConfig(BATCH, 2e-4, 0, 1, 0.9, 0.999, 1, 0.999, false, DType.F32, SEED);

  private UNetSetup() {}

  /**
   * Weights of which none is zero, as those of a trained network are: the network's own initial
   * ones say nothing, and no gradient gets past them.
   *
   * @return to be closed by the caller
   */
  static Parameters weights(Device device) {
    return weights(device, MODEL.parameters());
  }

  /** So too, of any U-Net. */
  static Parameters weights(Device device, List<ParameterSpec> specs) {
    Parameters weights = new Parameters(device, specs);
    Philox philox = new Philox(1);
    int subsequence = 0;
    for (ParameterSpec spec : weights.specs()) {
      boolean norm = spec.name().contains("norm") && spec.name().endsWith(".weight");
      double size =
          spec.shape().rank() == 3
              ? Math.sqrt(1.0 / (spec.shape().dim(0) * spec.shape().dim(1)))
              : 0.1;
      float[] values = new float[spec.shape().elements()];
      for (int i = 0; i < values.length; i++) {
        values[i] =
            (float) ((norm ? 1 : 0) + size * philox.normal(Philox.Stream.TEST, subsequence, i));
      }
      weights.get(spec.name()).write(values);
      subsequence++;
    }
    return weights;
  }

  /**
   * What is added to all keys adds the same to all of a query's scores, which their softmax does
   * not see.
   */
  static Map<String, String> vanishing(Parameters weights) {
    return weights.specs().stream()
        .map(ParameterSpec::name)
        .filter(n -> n.endsWith(".to_k.bias"))
        .collect(Collectors.toMap(n -> n, n -> n.replace(".bias", ".weight")));
  }

  /** What a peer is held to: see {@link PeerCheck}. */
  static PeerCheck check() {
    List<ParameterSpec> specs = new UNet(CONFIG).parameters();
    // a short-cut, a time's scale and a key lie beside what else makes the same feature
    long chain =
        specs.stream()
            .map(ParameterSpec::name)
            .filter(n -> n.endsWith(".weight"))
            .filter(n -> !n.matches(".*(conv_shortcut|time_emb_proj|to_k)\\..*"))
            .count();
    return new PeerCheck(Math.toIntExact(chain), specs, BATCH * CONFIG.height() * CONFIG.width());
  }
}
