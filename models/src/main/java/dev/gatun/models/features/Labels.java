package dev.gatun.models.features;

import dev.gatun.engine.data.Dataset;
import dev.gatun.models.metrics.Features;
import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/** Images with labels: some of them, and as plain arrays. */
final class Labels {
  private Labels() {}

  /** Throws {@link IllegalArgumentException} in one line if there are no labels to learn. */
  static void require(Dataset data) {
    if (!data.hasLabels() || data.classes() < 2 || data.classes() > 256) {
      throw new IllegalArgumentException(
          data.name()
              + (data.hasLabels()
                  ? " has labels of " + data.classes() + " classes, and 2 to 256 can be told apart"
                  : " has no labels")
              + ": use data with labels, or folders of images named after their classes");
    }
  }

  /** The class of each image. */
  static int[] of(Dataset data) {
    int[] labels = new int[data.count()];
    for (int i = 0; i < labels.length; i++) {
      labels[i] = data.label(i);
    }
    return labels;
  }

  /** The classes of some. */
  static int[] pick(int[] labels, int[] indices) {
    int[] chosen = new int[indices.length];
    for (int i = 0; i < chosen.length; i++) {
      chosen[i] = labels[indices[i]];
    }
    return chosen;
  }

  /** Pixels as features: [N,H*W*C] f32, from 0 to 1. */
  static Features pixels(Dataset data) {
    int size = data.imageBytes();
    float[] values = new float[Math.multiplyExact(data.count(), size)];
    byte[] image = new byte[size];
    for (int n = 0; n < data.count(); n++) {
      data.image(n, image, 0);
      for (int i = 0; i < size; i++) {
        values[n * size + i] = (image[i] & 0xFF) / 255f;
      }
    }
    return new Features(data.count(), size, values);
  }

  /**
   * As many images of each class, or one more of the first classes where {@code wanted} does not
   * divide. Which follows from the seed and the images, not from the order they are in; more images
   * include the fewer.
   *
   * @return their numbers in the set
   * @throws IllegalArgumentException in one line if a class has too few
   */
  static int[] balanced(Dataset data, int wanted, long seed) {
    require(data);
    int classes = data.classes();
    if (wanted < classes) {
      throw new IllegalArgumentException(
          wanted + " labels are too few for the " + classes + " classes of " + data.name());
    }
    record Keyed(int image, long key) {}
    List<List<Keyed>> ofClass = new ArrayList<>();
    for (int k = 0; k < classes; k++) {
      ofClass.add(new ArrayList<>());
    }
    MessageDigest sha = sha256();
    byte[] image = new byte[data.imageBytes()];
    for (int i = 0; i < data.count(); i++) {
      data.image(i, image, 0);
      sha.update(ByteBuffer.allocate(Long.BYTES).putLong(seed).array());
      long key = ByteBuffer.wrap(sha.digest(image)).getLong();
      ofClass.get(data.label(i)).add(new Keyed(i, key));
    }
    int[] chosen = new int[wanted];
    int at = 0;
    for (int k = 0; k < classes; k++) {
      int share = wanted / classes + (k < wanted % classes ? 1 : 0);
      List<Keyed> images = ofClass.get(k);
      if (images.size() < share) {
        throw new IllegalArgumentException(
            wanted
                + " labels in equal shares need "
                + share
                + " images of class "
                + k
                + "; "
                + data.name()
                + " has "
                + images.size()
                + ": ask for fewer, or for all");
      }
      images.sort(Comparator.comparingLong(Keyed::key));
      for (Keyed one : images.subList(0, share)) {
        chosen[at++] = one.image();
      }
    }
    return chosen;
  }

  /** The class of the largest logit; the first of equal ones. */
  static int argMax(double[] logits) {
    int best = 0;
    for (int k = 1; k < logits.length; k++) {
      best = logits[k] > logits[best] ? k : best;
    }
    return best;
  }

  private static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e); // every Java has it
    }
  }
}
