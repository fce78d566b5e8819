package dev.gatun.bench;

import ai.djl.engine.Engine;
import ai.djl.engine.EngineException;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.pixelcnn.GatedPixelCnn;
import dev.gatun.models.train.TrainConfig;

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
    // before the engine starts: no downloads, no calls home
    System.setProperty("offline", "true");
    System.setProperty("OPT_OUT_TRACKING", "true");
    if (System.getProperty("ai.djl.pytorch.num_threads") == null) {
      int threads = Runtime.getRuntime().availableProcessors();
      System.setProperty("ai.djl.pytorch.num_threads", Integer.toString(threads));
    }
    Engine engine;
    try {
      engine = Engine.getEngine("PyTorch");
    } catch (EngineException | UnsatisfiedLinkError e) {
      throw new UsageException("--peer djl: PyTorch does not start: " + e.getMessage(), e);
    }
    return new DjlPixelCnn(engine, config, training, weights);
  }
}
