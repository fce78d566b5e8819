package dev.gatun.models.metrics;

import dev.gatun.engine.data.Dataset;
import dev.gatun.engine.io.SafetensorsEntry;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;

/** SHA-256 of what a classifier is made of, in hexadecimal digits. */
final class Sha256 {
  private Sha256() {}

  static String of(String text) {
    return hex(newDigest(), text);
  }

  /** Of images and labels, in their order, and their extents; not of names. */
  static String of(Dataset data) {
    MessageDigest digest = newDigest();
    byte[] image = new byte[data.imageBytes() + 1];
    for (int i = 0; i < data.count(); i++) {
      data.image(i, image, 0);
      image[image.length - 1] = data.hasLabels() ? (byte) data.label(i) : 0;
      digest.update(image);
    }
    return hex(
        digest,
        List.of(data.count(), data.height(), data.width(), data.channels(), data.classes())
            .toString());
  }

  /** Of tensors: names, shapes, dtypes and values. */
  static String of(List<SafetensorsEntry> tensors) {
    MessageDigest digest = newDigest();
    StringBuilder header = new StringBuilder();
    for (SafetensorsEntry tensor : tensors) {
      header.append(tensor.name()).append(tensor.shape()).append(tensor.dtype()).append(' ');
      digest.update(tensor.data().asByteBuffer());
    }
    return hex(digest, header.toString());
  }

  private static String hex(MessageDigest digest, String last) {
    digest.update(last.getBytes(StandardCharsets.UTF_8));
    return HexFormat.of().formatHex(digest.digest());
  }

  private static MessageDigest newDigest() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e); // every Java platform has it
    }
  }
}
