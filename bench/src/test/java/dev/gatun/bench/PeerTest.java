package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import dev.gatun.engine.DType;
import dev.gatun.engine.Device;
import dev.gatun.engine.Devices;
import dev.gatun.engine.Tensor;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.Parameters;
import dev.gatun.models.train.Trainer;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PeerTest {
  private static final String SERVICES = "META-INF/services/dev.gatun.bench.Peer";

  @TempDir Path folder;

  private static boolean built() {
    return PeerTest.class.getResource("DjlPeer.class") != null;
  }

  @Test
  void aBuildWithoutPeersSaysHowToGetThem() {
    assumeTrue(!built(), "this build has the profile peers");
    for (String suite : List.of("train", "sample")) {
      Cli.run("bench", suite, "--peer", "djl")
          .fails(2, "--peer djl: this build has no peers", "mvn -B -Ppeers -DskipTests package");
    }
  }

  /**
   * Without 'clean' the service file of an earlier build may lie where its class no longer does.
   */
  @Test
  void leftoversOfABuildWithPeersAreNoPeers() throws IOException {
    assumeTrue(!built(), "this build has the profile peers");
    Path file = folder.resolve(SERVICES);
    Files.createDirectories(file.getParent());
    Files.writeString(file, "dev.gatun.bench.DjlPeer\n");
    Thread thread = Thread.currentThread();
    ClassLoader before = thread.getContextClassLoader();
    try (var loader =
        new java.net.URLClassLoader(new java.net.URL[] {folder.toUri().toURL()}, before)) {
      thread.setContextClassLoader(loader);
      try (InputStream in = loader.getResourceAsStream(SERVICES)) {
        assertNotNull(in);
      }
      UsageException e = assertThrows(UsageException.class, () -> Peer.find("djl"));
      assertEquals(
          "--peer djl: this build has no peers; build it with 'mvn -B -Ppeers -DskipTests package'",
          e.getMessage());
    } finally {
      thread.setContextClassLoader(before);
    }
  }

  @Test
  void aBuildWithPeersKnowsThem() {
    assumeTrue(built(), "this build has no peers");
    assertEquals("djl", Peer.find("djl").name());
    Cli.run("bench", "train", "--peer", "other").fails(2, "'other'", "djl");
    Cli.run("bench", "conv", "--peer", "djl").fails(2, "train", "sample");
    Cli.run("bench", "train", "--peer", "djl", "--model", "other")
        .fails(2, "'other'", "gated-pixelcnn", "unet", "vae");
    Cli.run("bench", "sample", "--peer", "djl", "--model", "vae")
        .fails(2, "--model vae is for bench train");
  }

  @Test
  void aModelIsChosenForAComparisonOnly() {
    Cli.run("bench", "train", "--model", "unet").fails(2, "--model is for --peer djl");
    Cli.run("bench", "gpu", "--model", "unet").fails(2, "--model is for --peer djl");
  }

  /**
   * Holds the peer's VAE to ours.
   *
   * @param first what the peer's first step sees
   * @param there the peer's weights
   */
  private static void requireSameVae(
      Device device, Parameters here, Peer.Seen first, Parameters there) throws IOException {
    Dataset data = PeerVaeBench.data();
    try (Trainer ours = PeerVaeBench.trainer(device, here, data, DType.F32);
        Peer.Autoencoder network =
            Peer.find("djl").open(VaeSetup.CONFIG, VaeSetup.TRAINING, there)) {
      PeerVaeBench.requireSame(VaeSetup.check(), device, here, first, ours, network);
    }
  }

  @Test
  void aPeersAutoencoderComputesTheSame() throws IOException {
    assumeTrue(built(), "this build has no peers");
    try (Device device = Devices.open("cpu");
        Parameters weights = VaeSetup.weights(device)) {
      requireSameVae(device, weights, VaeResults.batch(device, PeerVaeBench.data(), 0), weights);
    }
  }

  @Test
  void anAutoencoderThatIsGivenOtherNoiseIsNoticed() throws IOException {
    assumeTrue(built(), "this build has no peers");
    try (Device device = Devices.open("cpu");
        Parameters weights = VaeSetup.weights(device)) {
      Peer.Seen second = VaeResults.batch(device, PeerVaeBench.data(), 1);
      Peer.Seen first = VaeResults.batch(device, PeerVaeBench.data(), 0);
      Peer.Seen mixed = new Peer.Seen(first.images(), second.eps());
      IllegalStateException e =
          assertThrows(
              IllegalStateException.class, () -> requireSameVae(device, weights, mixed, weights));
      assertTrue(e.getMessage().contains("the peer computes something else"), e.getMessage());
    }
  }

  @Test
  void anAutoencoderWithoutABiasIsNoticed() throws IOException {
    assumeTrue(built(), "this build has no peers");
    try (Device device = Devices.open("cpu");
        Parameters here = VaeSetup.weights(device);
        Parameters there = VaeSetup.weights(device)) {
      Tensor bias = there.get("decoder.half.bias");
      bias.write(new float[bias.shape().elements()]);
      Peer.Seen first = VaeResults.batch(device, PeerVaeBench.data(), 0);
      IllegalStateException e =
          assertThrows(
              IllegalStateException.class, () -> requireSameVae(device, here, first, there));
      assertTrue(e.getMessage().contains("a pixel's mean or log-scale"), e.getMessage());
    }
  }
}
