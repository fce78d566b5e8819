package dev.gatun.bench;

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;

/** Small generated datasets. */
final class TestData {
  private TestData() {}

  /** IDX images of one size that have something to learn in them, and labels of four classes. */
  static Path idx(Path folder, int count, int height, int width) throws IOException {
    Files.createDirectories(folder);
    Random random = new Random(7);
    ByteArrayOutputStream images = new ByteArrayOutputStream();
    ByteArrayOutputStream labels = new ByteArrayOutputStream();
    DataOutputStream imageData = new DataOutputStream(images);
    DataOutputStream labelData = new DataOutputStream(labels);
    for (int header : new int[] {0x803, count, height, width}) {
      imageData.writeInt(header);
    }
    labelData.writeInt(0x801);
    labelData.writeInt(count);
    for (int i = 0; i < count; i++) {
      labelData.writeByte(i % 4);
      int base = random.nextInt(100);
      for (int p = 0; p < height * width; p++) {
        imageData.writeByte(base + p % width * 8 + random.nextInt(4));
      }
    }
    Files.write(folder.resolve("train-images-idx3-ubyte"), images.toByteArray());
    Files.write(folder.resolve("train-labels-idx1-ubyte"), labels.toByteArray());
    return folder;
  }

  /** CIFAR-10 records: RGB, 32x32. */
  static Path cifar(Path folder, int count) throws IOException {
    Files.createDirectories(folder);
    byte[] records = new byte[count * 3073];
    new Random(7).nextBytes(records);
    for (int i = 0; i < count; i++) {
      records[i * 3073] = (byte) (i % 10);
    }
    Files.write(folder.resolve("train.bin"), records);
    return folder;
  }
}
