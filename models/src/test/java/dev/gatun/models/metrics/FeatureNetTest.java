package dev.gatun.models.metrics;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.gatun.engine.WithDevice;
import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.train.ParameterSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A tiny {@link FeatureNet}, trained by {@link Classifier}. */
class FeatureNetTest extends WithDevice {
  private static final int PIXELS = 8 * 8;

  @TempDir private Path folder;
  private final List<String> log = new ArrayList<>();
  private int steps;

  /**
   * Noise with a bright square: in the upper left, upper right or lower left, which are classes.
   */
  private static Dataset squares(int count, long seed) {
    return squares(count, seed, 0);
  }

  private static Dataset squares(int count, long seed, int shift) {
    Random random = new Random(seed);
    byte[] pixels = new byte[count * PIXELS];
    int[] labels = new int[count];
    for (int i = 0; i < count; i++) {
      labels[i] = random.nextInt(3);
      for (int p = 0; p < PIXELS; p++) {
        boolean inside =
            p / 8 / 4 == (labels[i] == 2 ? 1 : 0) && p % 8 / 4 == (labels[i] == 1 ? 1 : 0);
        pixels[i * PIXELS + p] = (byte) (random.nextInt(100) + (inside ? 100 : 40));
      }
      labels[i] = (labels[i] + shift) % 3;
    }
    return Dataset.of("squares", 8, 8, 1, pixels, labels, 3, List.of());
  }

  private static Classifier.Settings settings(int steps, long seed) {
    FeatureNet.Config net = new FeatureNet.Config(8, 8, 1, 3, 8, 1, 8, 4);
    return new Classifier.Settings(net, 16, steps, 1e-2, 0.8, seed);
  }

  private Classifier open(Dataset training, Classifier.Settings settings) throws IOException {
    return Classifier.open(
        device, training, squares(100, 77), settings, folder, log::add, step -> steps = step);
  }

  private List<Path> files() throws IOException {
    try (Stream<Path> all = Files.list(folder)) {
      return all.toList();
    }
  }

  @Test
  void itLearnsTheClassesAndIsKept() throws IOException {
    Dataset training = squares(300, 1);
    Dataset images = squares(150, 5); // more than a batch
    Features features;
    String hash;
    double accuracy;
    try (Classifier classifier = open(training, settings(30, 0))) {
      accuracy = classifier.testAccuracy();
      assertTrue(accuracy >= 0.97, "accuracy " + accuracy);
      features = classifier.features(images);
      hash = classifier.hash();
      assertTrue(hash.matches("[0-9a-f]{12}"), hash);
      assertEquals(30, steps);
      assertEquals(150, features.count());
      assertEquals(8, features.size());
      // an image's features do not depend on the others of its batch
      Features one = classifier.features(images.images(149), 1);
      assertArrayEquals(features.rows(149).values(), one.values());
    }
    assertEquals(2, log.size(), log.toString());
    assertEquals("training the classifier of squares: 30 steps of 16 images", log.getFirst());
    assertTrue(log.getLast().contains(hash), log.getLast());
    log.clear();
    try (Classifier again = open(squares(300, 1), settings(30, 0))) {
      assertEquals(List.of(), log, "it is not trained again");
      assertEquals(hash, again.hash());
      assertEquals(accuracy, again.testAccuracy());
      assertArrayEquals(features.values(), again.features(images).values());
    }
    assertEquals(1, files().size(), files().toString());
  }

  @Test
  @Tag("cpu")
  void otherDataOrSettingsMakeAnotherOne() throws IOException {
    String hash;
    try (Classifier classifier = open(squares(40, 1), settings(2, 0))) {
      hash = classifier.hash();
    }
    try (Classifier classifier = open(squares(40, 2), settings(2, 0))) {
      assertNotEquals(hash, classifier.hash());
    }
    try (Classifier classifier = open(squares(40, 1), settings(2, 1))) {
      assertNotEquals(hash, classifier.hash());
    }
    try (Classifier classifier = open(squares(40, 1, 1), settings(2, 0))) { // other labels
      assertNotEquals(hash, classifier.hash());
    }
    assertEquals(4, files().size(), files().toString());
    assertEquals(8, log.size(), log.toString());
  }

  /** One byte of a weight that is not what was written; and a file that ends too soon. */
  @Test
  @Tag("cpu")
  void aDamagedFileIsReportedAndReplaced() throws IOException {
    Dataset training = squares(40, 1);
    String hash;
    try (Classifier classifier = open(training, settings(2, 0))) {
      hash = classifier.hash();
    }
    Path file = files().getFirst();
    byte[] bytes = Files.readAllBytes(file);
    for (int damage = 0; damage < 2; damage++) {
      log.clear();
      byte[] damaged = damage == 0 ? bytes.clone() : Arrays.copyOf(bytes, 1000);
      if (damage == 0) {
        damaged[bytes.length - 100] ^= 1;
      }
      Files.write(file, damaged);
      try (Classifier classifier = open(training, settings(2, 0))) {
        assertEquals(hash, classifier.hash());
      }
      assertEquals(3, log.size(), log.toString());
      assertTrue(log.getFirst().startsWith(file.toString()), log.getFirst());
      assertTrue(log.getFirst().endsWith("; the classifier is trained again"), log.getFirst());
      assertEquals(1, log.getFirst().lines().count());
      assertArrayEquals(bytes, Files.readAllBytes(file));
    }
  }

  @Test
  @Tag("cpu")
  void whatDoesNotFitIsRefusedInOneLine() throws IOException {
    Dataset unlabelled = Dataset.of("bare", 8, 8, 1, new byte[64 * PIXELS], null, 0, List.of());
    IllegalArgumentException e =
        assertThrows(IllegalArgumentException.class, () -> Classifier.Settings.of(unlabelled));
    assertEquals(
        "figures need a classifier, and that needs labels; bare has none: use data with labels, or"
            + " folders of images named after their classes",
        e.getMessage());
    assertThrows(IllegalArgumentException.class, () -> open(unlabelled, settings(2, 0)));
    e =
        assertThrows(
            IllegalArgumentException.class,
            () -> new FeatureNet.Config(30, 28, 1, 10, 32, 1, 64, 8));
    assertEquals("feature-net: height and width must be multiples of 4, not 30x28", e.getMessage());
    try (Classifier classifier = open(squares(40, 1), settings(1, 0))) {
      e =
          assertThrows(
              IllegalArgumentException.class, () -> classifier.features(new byte[PIXELS + 1], 1));
      assertEquals("65 bytes are not 1 images of 8x8x1", e.getMessage());
    }
  }

  /** 28x28 grey and 32x32 RGB: the sizes that figures are taken at. */
  @Test
  @Tag("cpu")
  void theSizeOfTheNetwork() {
    for (int colours : new int[] {1, 3}) {
      int side = colours == 1 ? 28 : 32;
      byte[] pixels = new byte[side * side * colours];
      Dataset one = Dataset.of("one", side, side, colours, pixels, new int[] {9}, 10, List.of());
      FeatureNet net = new FeatureNet(Classifier.Settings.of(one).net());
      long count = 0;
      for (ParameterSpec spec : net.parameters()) {
        count += spec.shape().elements();
      }
      long first = 9 * (colours + 1) * 32 + 32;
      long blocks = 0;
      for (int c : new int[] {32, 64}) {
        blocks += 2 * c + 9 * c * 2 * c + 2 * c; // norm1, conv1
        blocks += 4 * c + 9 * 2 * c * 2 * c + 2 * c; // norm2, conv2
        blocks += c * 2 * c + 2 * c; // shortcut
      }
      long whole = 2 * 128 + side / 4 * (side / 4) * 128 * 64 + 64 + 2 * 64;
      assertEquals(first + blocks + whole + 64 * 10 + 10, count);
    }
  }
}
