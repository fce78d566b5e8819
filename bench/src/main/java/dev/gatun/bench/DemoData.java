package dev.gatun.bench;

import dev.gatun.engine.io.AtomicFile;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** The images that Gatun carries: Fashion-MNIST's t10k files, with their licence. */
final class DemoData {
  private static final List<String> FILES =
      List.of("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz", "LICENSE.txt");

  private DemoData() {}

  /** Writes the files into a folder, which is created if need be. */
  static Path unpack(Path folder) throws IOException {
    Files.createDirectories(folder);
    for (String name : FILES) {
      try (InputStream in = DemoData.class.getResourceAsStream("data/" + name)) {
        if (in == null) {
          throw new FileNotFoundException("data/" + name + " is not on the class path");
        }
        AtomicFile.write(folder.resolve(name), in.readAllBytes());
      }
    }
    return folder;
  }
}
