package dev.gatun.ffi;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.File;
import java.nio.file.Path;
import java.util.List;

/** What tests of the CUDA driver share. */
final class CudaTestSupport {
  private CudaTestSupport() {}

  /** Skips the test where the emulator was not built; in CI that is a failure. */
  static void requireEmulator() {
    String refused = CudaLibrary.refuses(CudaLibrary.Kind.EMULATED);
    if (refused == null) {
      return;
    }
    if ("true".equals(System.getenv("CI"))) {
      fail(refused);
    }
    assumeTrue(false, refused);
  }

  static void assertOneLine(String message) {
    assertTrue(message.lines().count() == 1, message);
  }

  /** The files in a folder, by name. */
  static List<String> namesIn(Path folder) {
    String[] names = new File(folder.toString()).list();
    return names == null ? List.of() : List.of(names);
  }
}
