package dev.gatun.bench;

import ai.djl.engine.Engine;
import ai.djl.engine.EngineException;
import ai.djl.pytorch.jni.JniUtils;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.diffusion.UNet;
import dev.gatun.models.pixelcnn.GatedPixelCnn;
import dev.gatun.models.train.TrainConfig;
import dev.gatun.models.vae.Vae;

/**
 * PyTorch, through DJL. It runs from its jars alone; DJL unpacks 430 MB of libraries, once, into
 * {@code ~/.djl.ai} or where the system property {@code DJL_CACHE_DIR} says.
 */
public final class DjlPeer implements Peer {
  /** For the service loader. */
  public DjlPeer() {}

  @Override
  public String name() {
    return "djl";
  }

  @Override
  public Network open(GatedPixelCnn.Config config, TrainConfig training, Parameters weights) {
    return new DjlPixelCnn(engine(), config, training, weights);
  }

  @Override
  public Denoiser open(UNet.Config config, TrainConfig training, Parameters weights) {
    return new DjlUNet(engine(), config, training, weights);
  }

  @Override
  public Autoencoder open(Vae.Gaussian config, TrainConfig training, Parameters weights) {
    return new DjlVae(engine(), config, training, weights);
  }

  static String description(Engine engine) {
    return "PyTorch "
        + engine.getVersion()
        + " through DJL "
        + Engine.getDjlVersion()
        + ", f32, "
        + JniUtils.getNumThreads()
        + " threads";
  }

  private static Engine engine() {
    // before the engine starts: no downloads, no calls home
    System.setProperty("offline", "true");
    System.setProperty("OPT_OUT_TRACKING", "true");
    if (System.getProperty("ai.djl.pytorch.num_threads") == null) {
      int threads = Runtime.getRuntime().availableProcessors();
      System.setProperty("ai.djl.pytorch.num_threads", Integer.toString(threads));
    }
    try {
      return Engine.getEngine("PyTorch");
    } catch (EngineException | UnsatisfiedLinkError e) {
      throw new UsageException("--peer djl: PyTorch does not start: " + e.getMessage(), e);
    }
  }
}
