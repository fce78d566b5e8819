package dev.gatun.bench;

import dev.gatun.engine.train.Parameters;
import dev.gatun.models.diffusion.UNet;
import dev.gatun.models.pixelcnn.GatedPixelCnn;
import dev.gatun.models.train.TrainConfig;
import dev.gatun.models.vae.Vae;
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

  /** A denoising U-Net with copies of the given weights; the caller closes it. */
  Denoiser open(UNet.Config config, TrainConfig training, Parameters weights);

  /**
   * A convolutional variational autoencoder of discretized logistic pixels, trained by the evidence
   * lower bound as it is, with copies of the given weights; the caller closes it.
   *
   * @throws IllegalArgumentException if it is another kind
   */
  Autoencoder open(Vae.Gaussian config, TrainConfig training, Parameters weights);

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
   * Weights and an optimizer of the peer's. Weights and gradients are in Gatun's layouts, by
   * Gatun's names.
   */
  interface Trained extends AutoCloseable {
    /** Versions, threads and whatever else its speed depends on. */
    String description();

    /** What the optimizer keeps an average of. */
    Map<String, float[]> averagedWeights();

    @Override
    void close();
  }

  /** An autoregressive network. Images are u8 [N,H,W,1]. */
  interface Network extends Trained {
    /** The negative log-likelihood of each pixel, [N*H*W]. */
    float[] nats(byte[] images, int count);

    /** Of the mean of {@link #nats}. */
    Map<String, float[]> gradients(byte[] images, int count);

    /** One training step; returns the mean of {@link #nats} before it. */
    double step(byte[] images, int count);

    /** Computes all logits and drops them. */
    void forward(byte[] images, int count);
  }

  /**
   * What a denoising network is trained on.
   *
   * @param x noisy images, [N,H,W,C]
   * @param times [N]
   * @param target what the network is to say, like x
   */
  record Noisy(float[] x, float[] times, float[] target) {}

  /** A denoising network. */
  interface Denoiser extends Trained {
    /** What it says of x [N,H,W,C] at times [N]. */
    float[] predict(float[] x, float[] times);

    /** Of the mean squared error. */
    Map<String, float[]> gradients(Noisy batch);

    /** One training step; returns the mean squared error before it. */
    double step(Noisy batch);

    /**
     * Samples without noise of its own, denoised images kept to [-1,1].
     *
     * @param noise to begin with, [N,H,W,C]
     * @param table as {@link dev.gatun.models.diffusion.SamplerSteps#table} has it
     * @return like the noise
     */
    float[] sample(float[] noise, double[] table);
  }

  /**
   * What a variational autoencoder is trained on.
   *
   * @param images u8, [N,H,W,C]
   * @param eps standard normal numbers that latents are drawn with, [N,D]
   */
  record Seen(byte[] images, float[] eps) {}

  /** A variational autoencoder. */
  interface Autoencoder extends Trained {
    /** What the decoder says of latents drawn so: C means, then C log-scales, [N,H,W,2C]. */
    float[] predict(Seen batch);

    /** Of the mean over the images of the negative evidence lower bound in nats. */
    Map<String, float[]> gradients(Seen batch);

    /** One training step; returns that mean before it. */
    double step(Seen batch);
  }
}
