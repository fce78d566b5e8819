package dev.gatun.bench;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.train.ParameterSpec;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.Model;
import dev.gatun.models.Models;
import dev.gatun.models.train.TrainConfig;
import dev.gatun.models.vae.Vae;
import java.util.List;
import java.util.Map;

/** The variational autoencoder that is compared with a peer's, and how it is trained. */
final class VaeSetup {
  static final int SEED = 0;
  static final int BATCH = 64;

  /** The preset for grey images of 28x28. */
  static final Vae MODEL =
      (Vae)
          Models.setup(
                  "vae",
                  Models.Preset.SMALL,
                  new Model.ImageShape(28, 28, 1),
                  DType.F32,
                  SEED,
                  Map.of())
              .model();

  static final Vae.Gaussian CONFIG = (Vae.Gaussian) MODEL.config();

  /** The preset's without warm-up, so that the first step is larger than what rounding makes. */
  static final TrainConfig TRAINING =
      new TrainConfig(BATCH, 1e-3, 0, 1, 0.9, 0.999, 1e3, 0.999, false, DType.F32, SEED);

  private VaeSetup() {}

  /**
   * Weights of which none is zero, as those of a trained network are.
   *
   * @return to be closed by the caller
   */
  static Parameters weights(Device device) {
    return UNetSetup.weights(device, MODEL.parameters());
  }

  /** What a peer is held to: see {@link PeerCheck}. All layers are in a row. */
  static PeerCheck check() {
    List<ParameterSpec> specs = MODEL.parameters();
    long chain = specs.stream().filter(s -> s.shape().rank() == 3).count();
    Model.ImageShape shape = MODEL.imageShape();
    return new PeerCheck(Math.toIntExact(chain), specs, BATCH * shape.height() * shape.width());
  }
}
