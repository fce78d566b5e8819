package dev.gatun.bench;

import dev.gatun.engine.train.Parameters;
import dev.gatun.models.pixelcnn.GatedPixelCnn;
import dev.gatun.models.train.TrainConfig;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.ServiceConfigurationError;
import java.util.ServiceLoader;

/**
 * Another framework that computes the same network. There is one where the Maven profile {@code
 * peers} was built; found by {@link ServiceLoader}.
 */
interface Peer {
  /** As after {@code --peer}. */
  String name();

  /** A gated PixelCNN with copies of the given weights; the caller closes it. */
  Network open(GatedPixelCnn.Config config, TrainConfig training, Parameters weights);

  /**
   * The peer of a name.
   *
   * @throws UsageException if this build has none of that name
   */
  static Peer find(String name) {
    List<String> names = new ArrayList<>();
    try {
      for (Iterator<Peer> all = ServiceLoader.load(Peer.class).iterator(); all.hasNext(); ) {
        Peer peer = all.next();
        if (peer.name().equals(name)) {
          return peer;
        }
        names.add(peer.name());
      }
    } catch (ServiceConfigurationError | LinkageError e) {
      // what a build with the profile left behind for one without it: the same as no peers
    }
    if (names.isEmpty()) {
      throw new UsageException(
          "--peer "
              + name
              + ": this build has no peers; build it with 'mvn -B -Ppeers -DskipTests package'");
    }
    throw new UsageException("unknown peer '" + name + "': expected " + String.join(", ", names));
  }

  /**
   * Weights and an optimizer of the peer's. Images are u8 [N,H,W,1]; weights and gradients are in
   * Gatun's layouts, by Gatun's names.
   */
  interface Network extends AutoCloseable {
    /** Versions, threads and whatever else its speed depends on. */
    String description();

    /** The negative log-likelihood of each pixel, [N*H*W]. */
    float[] nats(byte[] images, int count);

    /** Of the mean of {@link #nats}. */
    Map<String, float[]> gradients(byte[] images, int count);

    /** One training step; returns the mean of {@link #nats} before it. */
    double step(byte[] images, int count);

    /** What the optimizer keeps an average of. */
    Map<String, float[]> averagedWeights();

    /** Computes all logits and drops them. */
    void forward(byte[] images, int count);

    @Override
    void close();
  }
}
