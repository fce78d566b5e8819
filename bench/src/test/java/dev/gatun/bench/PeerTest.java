package dev.gatun.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

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
        .fails(2, "'other'", "gated-pixelcnn", "unet");
  }

  @Test
  void aModelIsChosenForAComparisonOnly() {
    Cli.run("bench", "train", "--model", "unet").fails(2, "--model is for --peer djl");
    Cli.run("bench", "gpu", "--model", "unet").fails(2, "--model is for --peer djl");
  }
}
