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

  /** The preset for grey images; no warm-up: the first step is larger than what rounding makes. */
  private static final Models.Setup SETUP =
      Models.setup(
          "vae",
          Models.Preset.SMALL,
          new Model.ImageShape(28, 28, 1),
          DType.F32,
          SEED,
          Map.of("warmupSteps", "0"));

  static final Vae MODEL = (Vae) SETUP.model();

  static final Vae.Gaussian CONFIG = (Vae.Gaussian) MODEL.config();

  static final TrainConfig TRAINING = SETUP.training();
  static final int BATCH = TRAINING.batch();

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
